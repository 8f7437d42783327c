"""What an idle socket takes: growth of the server's resident set, divided by the sockets.

Every socket of the bridge is identified and in four rooms: its user's, `all`, one of its own and one that
is shared; its outbox is there and empty. Those of the peers are in the one room of the fan-out. A few
sockets come first, so that what is loaded or compiled once is not counted. The resident set is read after
a collection where the runtime has one to ask for; freed memory that the allocator has kept is counted, as
an operator would. What the kernel holds for a socket is not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.children import Child
from benchmarks.contest import installed, wait_for_sockets
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.load import Plan
from benchmarks.machine import resident_bytes_of
from benchmarks.peers.table import ENTRANTS, WEB_STOMP, Entrant
from benchmarks.subject import START_SECONDS_MAX, Options, opened, plan, settings, start_bridge, start_load

SOCKETS, SOCKETS_QUICK = 5_000, 1_000
SOCKETS_FIRST = 200
SOCKETS_WEB_STOMP = 500  # A queue and several processes each: thousands take minutes.
ROOMS = ("bench:room", "device:{index}")
RUNS = 2
KILOBYTES_MAX = 7.0
BYTES_PER_KILOBYTE = 1_000

Measure = Callable[[], float]


def run(options: Options) -> list[Figure]:
    """Measure memory. Raises ChildError."""
    sockets = SOCKETS_QUICK if options.quick or options.guard else SOCKETS
    others: dict[str, Measure] = {
        "bare asyncio transport": partial(
            _measure, lambda: Child.of_module("benchmarks.servers.bare", {}), _plan, sockets
        )
    }
    for entrant in installed(ENTRANTS, options):
        count = min(sockets, SOCKETS_WEB_STOMP) if entrant is WEB_STOMP else sockets
        name = entrant.peer.name if count == sockets else f"{entrant.peer.name}, {count:,} sockets"
        others[name] = partial(_measure, entrant.peer.start, partial(_plan_of, entrant), count)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in others}
    for _ in range(1 if options.quick or options.guard else RUNS):
        ours.append(_measure(lambda: start_bridge(settings()), _plan, sockets))
        for name, measure in others.items():
            theirs[name].append(measure())
    return [_figure(sockets, ours, name, values) for name, values in theirs.items()]


def _figure(sockets: int, ours: list[float], name: str, theirs: list[float]) -> Figure:
    return Figure(
        f"resident memory at {sockets:,} idle sockets",
        "KB/socket",
        Spread.of(ours),
        Limit(name, Spread.of(theirs)),
        ratios(ours, theirs),
        Bar(KILOBYTES_MAX, "value") if name.startswith("bare") else None,
    )


def _measure(start: Callable[[], Child], plan_for: Callable[[int, int, str], Plan], sockets: int) -> float:
    """Return kilobytes (of 1,000 bytes) per socket of a fresh server."""
    with start() as server:
        ready = server.answer(START_SECONDS_MAX)
        port, pids = ready["port"], ready["pids"]
        with start_load(plan_for(port, SOCKETS_FIRST, "first-{index}")) as first:
            opened(first)
            wait_for_sockets(server, SOCKETS_FIRST)
            before = resident_bytes_of(pids)
            with start_load(plan_for(port, sockets, "load-{index}")) as load:
                opened(load)
                wait_for_sockets(server, SOCKETS_FIRST + sockets)
                after = resident_bytes_of(pids)
                counts = load.ask(START_SECONDS_MAX, frames=0, seconds=0.0)
                assert counts["gone"] == 0, f"{counts['gone']} sockets were closed"
    return float(after - before) / sockets / BYTES_PER_KILOBYTE


def _plan(port: int, sockets: int, user: str) -> Plan:
    return plan(port, sockets, user=user, rooms=ROOMS)


def _plan_of(entrant: Entrant, port: int, sockets: int, _user: str) -> Plan:
    return entrant.plan(port, sockets)
