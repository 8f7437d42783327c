"""The bridge's commands as real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECRET = "b7f1c0d2e3a4958677869504132231405f6e7d8c"
COMMAND_SECONDS_MAX = 30.0


@dataclass(frozen=True)
class Finished:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Everything that it said."""
        return self.out + self.err


def environment(url: str, prefix: str, **settings: str) -> dict[str, str]:
    """Return the environment of a bridge that uses this broker and prefix, and free ports on loopback.

    `settings` are further variables; an empty value takes one away.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BRIDGE_") and name not in ("NEXTAUTH_SECRET", "DATABASE_URL")
    }
    variables = {
        **inherited,
        "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT)))),
        "RABBITMQ_URL": url,
        "JWT_SECRET": SECRET,
        "BRIDGE_AMQP__PREFIX": prefix,
        "BRIDGE_AMQP__EXCHANGE": f"{prefix}.events",
        "BRIDGE_WS__HOST": "127.0.0.1",
        "BRIDGE_WS__PORT": "0",
        "BRIDGE_ADMIN__PORT": "0",
        **settings,
    }
    return {name: value for name, value in variables.items() if value}


@asynccontextmanager
async def started(
    *arguments: str, variables: Mapping[str, str], folder: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `bridge …` in a folder for the length of the context; it is killed if it is still there then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bridge",
        *arguments,
        env=variables,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def bridge(*arguments: str, variables: Mapping[str, str], folder: Path, stdin: bytes = b"") -> Finished:
    """Run `bridge …` to its end. It must not show a traceback."""
    async with (
        asyncio.timeout(COMMAND_SECONDS_MAX),
        started(*arguments, variables=variables, folder=folder) as process,
    ):
        out, err = await process.communicate(stdin)
    assert process.returncode is not None
    finished = Finished(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in finished.said, finished.said
    return finished


def printed_by(*command: str, folder: Path, variables: Mapping[str, str], seconds_max: float) -> str:
    """Run any program in a folder to its end, which must be a good one, and return what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=seconds_max,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
