"""How the cases start a bridge and its load: settings, addresses, secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.children import Child
from benchmarks.load import OPEN_SECONDS_MAX, Plan

HOST = "127.0.0.1"
SECRET = "6f1f3d1c6a0b4b86a6a1a52f2c9d7f37"  # noqa: S105 - guards nothing but this run
NO_BROKER = "amqp://127.0.0.1:1/"  # Never connected to.
PING_INTERVAL_SECONDS = (
    600.0  # Longer than any case: keep-alive is not what is measured, and no client answers.
)
START_SECONDS_MAX = 40.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the person at the terminal has chosen, and the folder for what need not stay.

    `quick` is for a glance: fewer rounds, fewer sockets. `guard` is for `make bench-check`: also no
    peers. A case adds to `notes` what a reader of its figures has to know.
    """

    results: Path
    scratch: Path
    quick: bool = False
    profile: bool = False
    guard: bool = False
    notes: list[str] = field(default_factory=list)

    def rounds(self, whole: int, quick: int, guard: int | None = None) -> int:
        """Choose how many rounds a case plays."""
        if self.guard:
            return whole if guard is None else guard
        return quick if self.quick else whole


def settings(url: str = NO_BROKER, exchange: str = "bench", prefix: str = "bench") -> dict[str, Any]:
    """Return the bridge's settings: the defaults, but for ports, quiet, and limits that load would meet."""
    return {
        "amqp": {"url": url, "exchange": exchange, "prefix": prefix},
        "auth": {"secret": SECRET},
        "ws": {
            "host": HOST,
            "port": 0,
            "attempts_per_minute_max": 1_000_000,
            "ping_interval_seconds": PING_INTERVAL_SECONDS,
        },
        "admin": {"host": HOST, "port": 0},
        "shutdown": {"drain_seconds_max": 2.0},
    }


def start_bridge(chosen: dict[str, Any], *, with_broker: bool = False) -> Child:
    """Start the bridge under test; its first answer has its `port`."""
    return Child.of_module("benchmarks.servers.bridge", {"settings": chosen, "with_broker": with_broker})


def plan(
    port: int,
    sockets: int,
    *,
    user: str = "load-{index}",
    rooms: Sequence[str] = (),
    deflate: bool = False,
    watched: bool = False,
    read_bytes_per_second: int | None = None,
) -> Plan:
    """Return a plan of sockets that each ask for these rooms (`{index}` is the socket's number)."""
    wanted = ",".join(rooms)
    return Plan(
        host=HOST,
        port=port,
        sockets=sockets,
        path=f"/ws?rooms={wanted}" if wanted else "/ws",
        secret=SECRET,
        user=user,
        rooms=("bench:*", "device:*") if wanted else (),
        deflate=deflate,
        watched=watched,
        read_bytes_per_second=read_bytes_per_second,
    )


def start_load(chosen: Plan) -> Child:
    """Start a load generator. Its first answer comes when all sockets are open: await it with `opened`."""
    return Child.of_module("benchmarks.load", chosen.as_json())


def opened(load: Child) -> dict[str, Any]:
    """Wait until all sockets of a load are open. Raises ChildError."""
    return load.answer(OPEN_SECONDS_MAX + 5.0)
