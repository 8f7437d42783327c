"""What an idle socket takes: growth of the server's resident set, divided by the sockets.

Every socket is identified and in four rooms: its user's, `all`, one of its own and one that is
shared; its outbox is there and empty. A few sockets come first, so that what is loaded or compiled
once is not counted. The resident set is read after `gc.collect()`; freed memory that the allocator
has kept is counted, as an operator would. What the kernel holds for a socket is not in it.
"""

from __future__ import annotations

from benchmarks.children import Child
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.load import Plan
from benchmarks.subject import START_SECONDS_MAX, Options, opened, plan, settings, start_bridge, start_load

SOCKETS, SOCKETS_QUICK = 5_000, 1_000
SOCKETS_FIRST = 200
ROOMS = ("bench:room", "device:{index}")
RUNS = 2
KILOBYTES_MAX = 8.0


def run(options: Options) -> list[Figure]:
    """Measure memory. Raises ChildError."""
    sockets = SOCKETS_QUICK if options.quick else SOCKETS
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(1 if options.quick else RUNS):
        with start_bridge(settings()) as server:
            ours.append(_kilobytes_per_socket(server, sockets))
        with Child.of_module("benchmarks.servers.bare", {}) as server:
            bare.append(_kilobytes_per_socket(server, sockets))
    return [
        Figure(
            f"resident memory at {sockets:,} idle sockets",
            "KiB/socket",
            Spread.of(ours),
            Limit("bare asyncio transport", Spread.of(bare)),
            ratios(ours, bare),
            Bar(KILOBYTES_MAX, "value"),
        )
    ]


def _kilobytes_per_socket(server: Child, sockets: int) -> float:
    port = server.answer(START_SECONDS_MAX)["port"]
    with start_load(_plan(port, SOCKETS_FIRST, "first-{index}")) as first:
        opened(first)
        before = server.ask(START_SECONDS_MAX, do="memory")
        with start_load(_plan(port, sockets, "load-{index}")) as load:
            opened(load)
            after = server.ask(START_SECONDS_MAX, do="memory")
            counts = load.ask(START_SECONDS_MAX, frames=0, seconds=0.0)
            assert counts["gone"] == 0, f"{counts['gone']} sockets were closed"
    return float(after["resident_bytes"] - before["resident_bytes"]) / sockets / 1024


def _plan(port: int, sockets: int, user: str) -> Plan:
    return plan(port, sockets, user=user, rooms=ROOMS)
