"""What a handshake costs with the user check: off, remembered, and asked in PostgreSQL every time.

Three bridges with all of their parts, in turns: one without a database, one that remembers for an hour what
it was told about these users, and one that remembers nothing. The CPU is that of the bridge alone; what
PostgreSQL takes shows in the handshakes per second, since it shares the machine.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from benchmarks.amqp.bus import Bus, bus
from benchmarks.cases.handshake import Greeter
from benchmarks.database import USER_QUERY, database
from benchmarks.figures import Figure, Limit, Spread, ratios
from benchmarks.subject import START_SECONDS_MAX, Options, plan, start_bridge

SOCKETS, SOCKETS_QUICK = 1_000, 300
ROUNDS, ROUNDS_QUICK = 6, 2
UNCHECKED = "no user check"
SIDES: dict[str, float | None] = {
    UNCHECKED: None,
    "user check, remembered": 3_600.0,
    "user check, asked": 0.0,
}
"""How long each side remembers an answer, in seconds; None asks nothing."""


def run(options: Options) -> list[Figure]:
    """Measure handshakes. Raises ChildError, or DevelError without broker or database."""
    sockets = SOCKETS_QUICK if options.quick else SOCKETS
    with ExitStack() as stack:
        url = stack.enter_context(database(options)).url
        chosen = stack.enter_context(bus(options))
        greeters = []
        for name, seconds in SIDES.items():
            server = stack.enter_context(start_bridge(_settings(chosen, url, seconds), with_broker=True))
            ready = server.answer(START_SECONDS_MAX)
            greeters.append(
                Greeter(name, server, ready["pids"], plan(ready["port"], sockets, user="u{index}"))
            )
        for greeter in greeters:
            greeter.open_all()  # Warm up; whoever remembers does from now on.
        for turn in range(options.rounds(ROUNDS, ROUNDS_QUICK)):
            for greeter in greeters if turn % 2 == 0 else reversed(greeters):
                greeter.samples.append(greeter.open_all())
        rounds = 1 + options.rounds(ROUNDS, ROUNDS_QUICK)
        asked = [
            greeter.server.ask(START_SECONDS_MAX, do="answers").get("user asked", 0) for greeter in greeters
        ]
        assert asked == [0, sockets, sockets * rounds], f"PostgreSQL was asked about {asked} users"
    options.notes.append(
        "100 handshakes were under way at a time; the load generator used "
        f"{max(greeter.busy for greeter in greeters):.0%} of a core at most."
    )
    cpu = [_figure("handshake", "µs CPU", greeter, greeters[0]) for greeter in greeters]
    rate = [_figure("handshakes", "/s", greeter, greeters[0]) for greeter in greeters]
    return cpu + rate


def _settings(chosen: Bus, url: str, remembered_seconds: float | None) -> dict[str, Any]:
    if remembered_seconds is None:
        return chosen.settings()
    return chosen.settings() | {
        "database": {"url": url, "answer_seconds_max": remembered_seconds},
        "users": {"query": USER_QUERY},
    }


def _figure(what: str, unit: str, greeter: Greeter, unchecked: Greeter) -> Figure:
    """Return what a handshake takes, or how many there were a second, beside those without the check."""
    values, limits = ((side.rates if unit == "/s" else side.micros) for side in (greeter, unchecked))
    beside = greeter is not unchecked
    return Figure(
        f"{what}, {greeter.name}",
        unit,
        Spread.of(values),
        Limit(unchecked.name, Spread.of(limits)) if beside else None,
        ratios(values, limits) if beside else None,
        details={} if unit == "/s" else {greeter.name: greeter.details()},
    )
