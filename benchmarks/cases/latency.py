"""From publish to socket, at half of the highest rate: how long an event takes to get to its user.

One process publishes events, each to one of a thousand users, and holds the sockets of all of them; so
one monotonic clock tells both times. The bridge is a process of its own with all of its parts, the
broker is a real one. The highest rate is the one at which events arrive while so many are under way
that whoever is in between always has some to work on, and no more than it can keep up with. Then
events leave in a steady stream at half of that rate, and through the bridge also at a quarter. A time
counts from just before the publish; nobody waits for an answer before the next.

In turns with it, the same events go at the same rate through a quorum queue back to the process that
published them, which acks what it reads: what the broker and this machine take by themselves. And through
the gateway in Node of `queue`, which validates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from benchmarks.amqp import PREFETCH
from benchmarks.amqp.bus import Bus, bus
from benchmarks.amqp.frames import USER
from benchmarks.cases.queue import NODE
from benchmarks.children import Answer, Child
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.load import OPEN_SECONDS_MAX
from benchmarks.subject import START_SECONDS_MAX, Options, plan

USERS = 1_000
IN_FLIGHT_MAX = 2_000
EVENTS_AT_ONCE, EVENTS_AT_ONCE_QUICK = 40_000, 8_000
ROUND_SECONDS, ROUND_SECONDS_QUICK = 4.0, 1.0
# Of each way. Every 256 MB, some 450,000 events, the broker changes its write-ahead log, and whoever flies
# then is slower: that must not be anybody's median.
ROUNDS, ROUNDS_QUICK = 5, 2
FLY_SECONDS_MAX = 180.0
WARM_UP_EVENTS = 4_000
P99_MILLISECONDS_MAX = 10.0


class Gateway:
    """What is between the two ends, and the driver of both."""

    def __init__(self, server: Child, driver: Child) -> None:
        """Both are ready."""
        self._server = server
        self._driver = driver

    def fly(self, way: str, events: int, **how: float) -> Answer:
        """Send events on a way; each must arrive once. The answer has the gateway's CPU beside the times."""
        self._server.ask(START_SECONDS_MAX, do="attach")
        before = self._cpu()
        flown = self._driver.ask(FLY_SECONDS_MAX, do="fly", way=way, events=events, **how)
        assert (flown["events"], flown["twice"]) == (events, 0), f"of {events} events came {flown}"
        cpu_seconds = self._cpu() - before
        self._server.ask(START_SECONDS_MAX, do="detach")  # The queue is for the one whose turn it is.
        return flown | {"cpu_us": cpu_seconds / events * 1e6, "rate": events / flown["wall"]}

    def _cpu(self) -> float:
        return float(sum(self._server.ask(START_SECONDS_MAX, do="cpu").values()))


@dataclass(slots=True)
class Way:
    """One of the ways, and what each round of it came to."""

    name: str
    gateway: Gateway
    way: str = "through"
    rounds: list[Answer] = field(default_factory=list)

    def fly(self, events: int, **how: float) -> Answer:
        """Send events on it."""
        return self.gateway.fly(self.way, events, **how)

    def of(self, what: str) -> list[float]:
        """Return one field of all rounds."""
        return [one[what] for one in self.rounds]


def run(options: Options, *, event_log: str = "memory") -> list[Figure]:
    """Measure latency with either log. Raises ChildError, or DevelError without a broker."""
    with bus(options) as chosen, ExitStack() as stack:
        ours = _gateway(stack, chosen, chosen.gateway(event_log=event_log), past=True)
        ways = [Way("the bridge", ours), Way("quorum queue and back", ours, "past")]
        if missing := NODE.available():
            options.notes.append(f"Node is left out: {missing}")
        else:
            node = NODE.start(url=chosen.url, queue=chosen.queue, prefetch=PREFETCH)
            ways.append(Way(NODE.name, _gateway(stack, chosen, node)))
        return _measure(ways, options, f"{event_log} log")


def _gateway(stack: ExitStack, chosen: Bus, child: Child, *, past: bool = False) -> Gateway:
    """Wait for a gateway, and open a socket to it for every user."""
    server = stack.enter_context(child)
    port = server.answer(START_SECONDS_MAX)["port"]
    driver = stack.enter_context(chosen.driver(plan(port, USERS, user=USER), past=past))
    driver.answer(OPEN_SECONDS_MAX)
    return Gateway(server, driver)


def _measure(ways: Sequence[Way], options: Options, log_name: str) -> list[Figure]:
    rounds = ROUNDS_QUICK if options.quick else ROUNDS
    at_once = EVENTS_AT_ONCE_QUICK if options.quick else EVENTS_AT_ONCE
    for way in ways:
        way.fly(WARM_UP_EVENTS, in_flight_max=IN_FLIGHT_MAX)
    highest = Way("the bridge", ways[0].gateway)
    highest.rounds += [highest.fly(at_once, in_flight_max=IN_FLIGHT_MAX) for _ in range(rounds)]
    rate = median(highest.of("rate")) / 2
    events = int(rate * (ROUND_SECONDS_QUICK if options.quick else ROUND_SECONDS))
    for way in ways:
        way.fly(events, rate=rate)  # The broker still tidies up after the highest rate.
    through, calm = ways[0], Way("the bridge", ways[0].gateway)
    for turn in range(rounds):
        for way in ways if turn % 2 == 0 else reversed(ways):
            way.rounds.append(way.fly(events, rate=rate))
        calm.rounds.append(calm.fly(events // 2, rate=rate / 2))
    options.notes.append(
        f"The one that publishes and receives used {max(highest.of('busy')):.0%} of a core at the highest "
        f"rate and {max(through.of('busy')):.0%} at half of it, where no event left later than "
        f"{max(through.of('blind_ms_max')):.1f} ms after its time."
    )
    return [
        *_figures(highest, ways, log_name, rate),
        Figure(
            f"publish to socket at a quarter, p99, {log_name}",
            "ms",
            Spread.of(calm.of("p99")),
            details={"events_per_second": rate / 2, "bridge_cpu_us_per_event": calm.of("cpu_us")},
        ),
    ]


def _figures(highest: Way, ways: Sequence[Way], log_name: str, rate: float) -> list[Figure]:
    through, *others = ways

    def figure(what: str, other: Way, bar: Bar | None = None) -> Figure:
        ours, theirs = through.of(what), other.of(what)
        return Figure(
            f"publish to socket at half of that, {what}, {log_name}",
            "ms",
            Spread.of(ours),
            Limit(other.name, Spread.of(theirs)),
            ratios(ours, theirs),
            bar,
            {
                "events_per_second": rate,
                "arrived_per_second": through.of("rate"),
                "bridge_cpu_us_per_event": through.of("cpu_us"),
                **({"other_cpu_us_per_event": other.of("cpu_us")} if other.way == through.way else {}),
            },
        )

    past, *peers = others
    return [
        Figure(
            f"highest rate that keeps up, {log_name}",
            "events/s",
            Spread.of(highest.of("rate")),
            details={
                "under_way": IN_FLIGHT_MAX,
                "users": USERS,
                "p50_ms": highest.of("p50"),
                "bridge_cpu_us_per_event": highest.of("cpu_us"),
            },
        ),
        figure("p50", past),
        figure("p99", past, Bar(P99_MILLISECONDS_MAX, "value")),
        *(figure("p99", peer) for peer in peers),
        figure("max", past),
    ]
