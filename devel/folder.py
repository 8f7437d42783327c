"""The folder .run: what `make run` keeps, and what it tells other terminals.

- `lock` is held while a bridge runs here.
- `secret` is the JWT secret, kept so that tokens outlive a restart, and `admin-token` the operators' token.
- `env` has the settings of the running bridge as shell variables; it is there only while the bridge runs.
- `rabbitmq/` has the data and the log of a private RabbitMQ node, kept too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from devel.errors import DevelError

SECRET_BYTES = 32
PRIVATE_MODE = 0o600


class RunFolder:
    """Owns .run while it is entered. Only one process at a time can."""

    def __init__(self, path: Path) -> None:
        """`path` is made when the folder is entered."""
        self.path = path
        self._env = path / "env"
        self._lock: int | None = None  # Open while this process owns the folder.

    def __enter__(self) -> Self:
        """Take the folder. Raises DevelError if another process has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR, PRIVATE_MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            os.close(lock)
            raise DevelError(_already_running(read_env(self._env))) from taken
        self._lock = lock
        self._env.unlink(missing_ok=True)  # Of one that was killed.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the folder back."""
        self._env.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def secret(self) -> str:
        """Return this checkout's JWT secret, made the first time."""
        return self._kept("secret")

    def admin_token(self) -> str:
        """Return this checkout's token for the operators' console, made the first time."""
        return self._kept("admin-token")

    def _kept(self, name: str) -> str:
        path = self.path / name
        with contextlib.suppress(FileNotFoundError):
            return path.read_text().strip()
        secret = secrets.token_hex(SECRET_BYTES)
        _write_private(path, secret + "\n")
        return secret

    def write_env(self, settings: Mapping[str, str]) -> None:
        """Tell other terminals how to reach the running bridge."""
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in settings.items()]
        _write_private(self._env, "".join(lines))


def read_env(path: Path) -> dict[str, str]:
    """Return the settings of the bridge that `make run` runs; none if there is none.

    Args:
        path: `.run/env`.
    """
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines)
    return {name: shlex.split(quoted)[0] for name, _, quoted in pairs}


def _already_running(settings: Mapping[str, str]) -> str:
    port = settings.get("BRIDGE_WS__PORT")
    where = f", at ws://127.0.0.1:{port}/ws" if port else ", and is still starting"
    return (
        f"`make run` runs here already{where}. Use it (`make demo`), or stop it with Ctrl-C in its terminal."
    )


def _write_private(path: Path, text: str) -> None:
    """Write in one step a file that only its owner may read."""
    fresh = path.with_suffix(".new")
    with open(fresh, "w", opener=lambda name, flags: os.open(name, flags, PRIVATE_MODE)) as file:
        file.write(text)
    fresh.replace(path)
