"""`bridge serve` processes, as a cluster that a case can measure from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.amqp.bus import Bus, bus
from benchmarks.children import PROJECT, ChildError
from benchmarks.subject import HOST, SECRET, Options

START_SECONDS_MAX = 30.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Node:
    """One `bridge serve` process."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        """Start it; `log` is where it writes."""
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "serve"],
                cwd=PROJECT,
                env={**os.environ, **environment},
                stderr=stderr,
                start_new_session=True,
            )
        self.port = int(self._event("app.serving")["public_port"])
        self._event("log.caught_up")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """Kill -9."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def cpu_seconds(self) -> float:
        """How much CPU it has used, user and system (proc(5))."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def resident_bytes(self) -> int:
        """How much memory it has resident."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def _event(self, name: str) -> dict[str, Any]:
        """Wait for a line of its log. Raises ChildError."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self._process.poll() is None:
            for line in self._log.read_bytes().splitlines():
                entry: dict[str, Any] = json.loads(line)
                if entry.get("event") == name:
                    return entry
            time.sleep(0.05)
        raise ChildError(f"a node did not log {name}: {self._log.read_text()[-500:]}")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two nodes with one stream log, and the bus that they are on."""

    first: Node
    second: Node
    bus: Bus


@contextmanager
def pair(options: Options) -> Iterator[Pair]:
    """Start a broker and two nodes; leave nothing behind. Raises ChildError or DevelError."""
    with bus(options) as chosen:
        environment = {
            "RABBITMQ_URL": chosen.url,
            "JWT_SECRET": SECRET,
            "BRIDGE_AMQP__PREFIX": chosen.prefix,
            "BRIDGE_AMQP__EXCHANGE": chosen.exchange,
            "BRIDGE_EVENT_LOG__KIND": "stream",
            "BRIDGE_WS__HOST": HOST,
            "BRIDGE_WS__PORT": "0",
            "BRIDGE_ADMIN__PORT": "0",
            "BRIDGE_WS__ATTEMPTS_PER_MINUTE_MAX": "10000000",
        }
        with (
            Node(environment, options.scratch / "first.log") as first,
            Node(environment, options.scratch / "second.log") as second,
        ):
            yield Pair(first, second, chosen)
