"""`make run`: a broker, the bridge, and what to try next. Ctrl-C stops what it started, and only that."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Self

from devel.errors import DevelError
from devel.folder import RunFolder
from devel.ports import LOOPBACK, free_ports, is_free
from devel.process import KeptProcess
from devel.rabbitmq import PROJECT, find_or_start

BRIDGE = (sys.executable, "-m", "bridge")
PUBLIC_PORT, OPERATOR_PORT = 8080, 8081
SAMPLE_USER = "u1"
READY_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 2.0
POLL_SECONDS = 0.05
TOKEN_SECONDS_MAX = 30.0
# Above the bridge's own deadline for its sockets and deliveries.
STOP_SECONDS_MAX = 40.0


class Interrupts:
    """While entered: the first SIGINT or SIGTERM raises KeyboardInterrupt, later ones set `hurry`."""

    def __init__(self) -> None:
        self.hurry = threading.Event()
        self._stopping = False  # Set by the first signal, or when we stop for another reason.
        self._former: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def stopping(self) -> None:
        """From now on no signal interrupts what is being cleaned up."""
        self._stopping = True

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self._stopping:
            self.hurry.set()
            return
        self._stopping = True
        raise KeyboardInterrupt


def main(folder: Path = PROJECT / ".run", bridge: Sequence[str] = BRIDGE) -> int:
    """Run until Ctrl-C, and return the exit status.

    Args:
        folder: what is kept between runs.
        bridge: the bridge's command line without the subcommand.
    """
    interrupts = Interrupts()
    try:
        with interrupts, RunFolder(folder) as owned:
            return _run(owned, bridge, interrupts)
    except KeyboardInterrupt:
        _say("Stopped.")
        return 0
    except DevelError as error:
        print(error.message, file=sys.stderr)
        return 1


def _run(folder: RunFolder, bridge: Sequence[str], interrupts: Interrupts) -> int:
    with find_or_start(folder.path / "rabbitmq", hurry=interrupts.hurry) as broker:
        _say(f"RabbitMQ: {broker.origin}.\nStarting the bridge …")
        settings = _settings(folder, broker.url)
        environment = os.environ | settings
        process = KeptProcess(
            [*bridge, "serve"], environment=environment, folder=PROJECT, grace_seconds=STOP_SECONDS_MAX
        )
        try:
            _await_ready(process, int(settings["BRIDGE_ADMIN__PORT"]))
            folder.write_env(settings)
            _say(_banner(settings, _token(bridge, environment)))
            process.wait()
            raise DevelError(
                f"The bridge ended by itself, with status {process.status}; its last lines say why."
            )
        finally:
            interrupts.stopping()
            if process.running:
                _say("\nStopping … (Ctrl-C again: at once)")
            process.stop(interrupts.hurry)


def _settings(folder: RunFolder, url: str) -> dict[str, str]:
    """Return the bridge's settings as environment variables. What the developer has set is kept."""
    public = os.environ.get("BRIDGE_WS__PORT") or str(_port(PUBLIC_PORT))
    operator = os.environ.get("BRIDGE_ADMIN__PORT") or str(_port(OPERATOR_PORT))
    return {
        "BRIDGE_MODE": "development",
        "RABBITMQ_URL": url,
        "JWT_SECRET": os.environ.get("JWT_SECRET") or folder.secret(),
        # In development mode pages of any origin may connect: not from other machines as well, unless wanted.
        "BRIDGE_WS__HOST": os.environ.get("BRIDGE_WS__HOST") or LOOPBACK,
        "BRIDGE_WS__PORT": public,
        "BRIDGE_ADMIN__PORT": operator,
        "BRIDGE_ADMIN__TOKEN": os.environ.get("BRIDGE_ADMIN__TOKEN") or folder.admin_token(),
    }


def _port(wanted: int) -> int:
    """Return the port, or a free one if something listens there already."""
    if is_free(wanted, host=""):  # On any interface: the bridge's public port is.
        return wanted
    (other,) = free_ports(1)
    _say(f"Port {wanted} is taken: using {other}.")
    return other


def _await_ready(process: KeptProcess, operator_port: int) -> None:
    """Return when the bridge says that it is ready. Raises DevelError if it ends, or takes too long."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    answer = "nothing"
    while time.monotonic() < deadline:
        if process.wait(POLL_SECONDS):
            raise DevelError(f"The bridge did not start (status {process.status}). What it printed says why.")
        status, body = _get(operator_port, "/readyz")
        if status == http.HTTPStatus.OK:
            return
        answer = body or answer
    raise DevelError(f"The bridge was not ready within {READY_SECONDS_MAX:g} s. Its /readyz says: {answer}")


def _get(port: int, path: str) -> tuple[int, str]:
    """Return status and body, or 0 and nothing if nobody answers."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWER_SECONDS_MAX)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def _token(bridge: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return a token for the sample user, from the bridge's own command."""
    done = subprocess.run(
        [*bridge, "token", "--user", SAMPLE_USER],
        env=environment,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TOKEN_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise DevelError(f"No token could be made:\n{done.stderr}")
    return done.stdout.strip()


def _banner(settings: Mapping[str, str], token: str) -> str:
    socket = f"ws://{LOOPBACK}:{settings['BRIDGE_WS__PORT']}/ws"
    operator = f"http://{LOOPBACK}:{settings['BRIDGE_ADMIN__PORT']}"
    rule = "─" * 78
    return f"""
{rule}
  The bridge is ready.

  socket     {socket}
  operators  {operator}/readyz
             {operator}/metrics
  console    {operator}/console/#token={settings["BRIDGE_ADMIN__TOKEN"]}
  a token for the user {SAMPLE_USER}:
{token}

  Try, in a second terminal here:

    make demo

  or watch the socket with one of

    .venv/bin/websockets '{socket}?token={token}'
    npx wscat -c {socket} -H 'Authorization: Bearer {token}'

  and send that user an event:

    (set -a; . .run/env; .venv/bin/python -m bridge publish quota.updated --example --user {SAMPLE_USER})

  or publish one in the console, under Publish, and see it under Live tail.

  Ctrl-C stops everything that was started here.
{rule}
"""


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
