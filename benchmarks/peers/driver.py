"""Servers that speak no lines: started here, fed by their own way in, and ended with the program."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import children_of
from devel.errors import DevelError
from devel.ports import LOOPBACK
from devel.process import KeptProcess

START_SECONDS_MAX = 20.0
POLL_SECONDS = 0.02
STOP_SECONDS_MAX = 2.0
HTTP_SECONDS_MAX = 30.0
COMM_LENGTH_MAX = 15  # proc(5): longer names are cut.
LOG_BYTES_MAX = 1_000


@contextmanager
def running(command: Sequence[str], folder: Path, port: int) -> Iterator[None]:
    """Run a server until the block ends; yield once it listens. Raises DevelError."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = KeptProcess(
            command,
            environment=dict(os.environ),
            folder=folder,
            grace_seconds=STOP_SECONDS_MAX,
            output=output,
        )
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not _listens(port):
            if not process.running or time.monotonic() > deadline:
                tail = log.read_bytes()[-LOG_BYTES_MAX:].decode(errors="replace")
                raise DevelError(f"{command[0]} does not listen on port {port}:\n{tail}")
            time.sleep(POLL_SECONDS)
        yield
    finally:
        process.kill()


def pids_of(program: str) -> list[int]:
    """Return the processes below this one that run a program."""
    return [
        pid
        for pid in children_of(os.getpid())
        if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == program[:COMM_LENGTH_MAX]
    ]


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), HTTP_SECONDS_MAX).close()
    except OSError:
        return False
    return True


class Http:
    """One kept connection to a server's HTTP interface."""

    def __init__(self, port: int) -> None:
        """Connect with the first request."""
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=HTTP_SECONDS_MAX)

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Return status and body of the answer. Raises OSError."""
        self._connection.request(method, path, body or None, dict(headers or {}))
        answer = self._connection.getresponse()
        return answer.status, answer.read()
