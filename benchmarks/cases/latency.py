"""From publish to socket, at half of the highest rate: how long an event takes to get to its user.

One process publishes events, each to one of a thousand users, and holds the sockets of all of them; so
one monotonic clock tells both times. The bridge is a process of its own with all of its parts, the
broker is a real one. The highest rate is the one at which events arrive while so many are under way
that whoever is in between always has some to work on, and no more than it can keep up with. Then
events leave in a steady stream at half of that rate. A time counts from just before the publish;
nobody waits for an answer before the next.

In turns with it, the same events go at the same rate through a quorum queue back to the process that
published them: what the broker and this machine take by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from benchmarks.amqp.bus import bus
from benchmarks.amqp.frames import USER
from benchmarks.children import Answer, Child
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.load import OPEN_SECONDS_MAX
from benchmarks.subject import START_SECONDS_MAX, Options, plan

USERS = 1_000
IN_FLIGHT_MAX = 2_000
EVENTS_AT_ONCE, EVENTS_AT_ONCE_QUICK = 40_000, 8_000
ROUND_SECONDS, ROUND_SECONDS_QUICK = 5.0, 1.0
ROUNDS, ROUNDS_QUICK = 5, 2
FLY_SECONDS_MAX = 180.0
WARM_UP_EVENTS = 4_000
P99_MILLISECONDS_MAX = 10.0


@dataclass(slots=True)
class Way:
    """One of the two ways, and what each round of it came to."""

    name: str
    rounds: list[Answer] = field(default_factory=list)

    def of(self, what: str) -> list[float]:
        """Return one field of all rounds."""
        return [one[what] for one in self.rounds]


class Bench:
    """A bridge that consumes, and the driver at both of its ends."""

    def __init__(self, server: Child, driver: Child) -> None:
        """Both are ready."""
        self._server = server
        self._driver = driver

    def fly(self, way: str, events: int, **how: float) -> Answer:
        """Send events on a way; each must arrive once. The answer has the bridge's CPU beside the times."""
        before = self._cpu()
        flown = self._driver.ask(FLY_SECONDS_MAX, do="fly", way=way, events=events, **how)
        assert (flown["events"], flown["twice"]) == (events, 0), f"of {events} events came {flown}"
        return flown | {"cpu_us": (self._cpu() - before) / events * 1e6, "rate": events / flown["wall"]}

    def _cpu(self) -> float:
        return float(sum(self._server.ask(START_SECONDS_MAX, do="cpu").values()))


def run(options: Options, *, event_log: str = "memory") -> list[Figure]:
    """Measure latency with either log. Raises ChildError, or DevelError without a broker."""
    with bus(options) as chosen, chosen.gateway(event_log=event_log) as server:
        port = server.answer(START_SECONDS_MAX)["port"]
        with chosen.driver(plan(port, USERS, user=USER)) as driver:
            driver.answer(OPEN_SECONDS_MAX)
            server.ask(START_SECONDS_MAX, do="attach")
            return _measure(Bench(server, driver), options, f"{event_log} log")


def _measure(bench: Bench, options: Options, log_name: str) -> list[Figure]:
    rounds = ROUNDS_QUICK if options.quick else ROUNDS
    at_once = EVENTS_AT_ONCE_QUICK if options.quick else EVENTS_AT_ONCE
    for name in ("through", "past"):
        bench.fly(name, WARM_UP_EVENTS, in_flight_max=IN_FLIGHT_MAX)
    highest = Way("through")
    highest.rounds += [bench.fly("through", at_once, in_flight_max=IN_FLIGHT_MAX) for _ in range(rounds)]
    rate = median(highest.of("rate")) / 2
    through, past = Way("through"), Way("past")
    events = int(rate * (ROUND_SECONDS_QUICK if options.quick else ROUND_SECONDS))
    for way in (through, past):
        bench.fly(way.name, events, rate=rate)  # The broker still tidies up after the highest rate.
    for turn in range(rounds):
        for way in (through, past) if turn % 2 == 0 else (past, through):
            way.rounds.append(bench.fly(way.name, events, rate=rate))
    options.notes.append(
        f"The one that publishes and receives used {max(highest.of('busy')):.0%} of a core at the highest "
        f"rate and {max(through.of('busy')):.0%} at half of it, where no event left later than "
        f"{max(through.of('blind_ms_max')):.1f} ms after its time."
    )
    return _figures(highest, through, past, log_name, rate)


def _figures(highest: Way, through: Way, past: Way, log_name: str, rate: float) -> list[Figure]:
    def figure(what: str, bar: Bar | None = None) -> Figure:
        ours, bare = through.of(what), past.of(what)
        return Figure(
            f"publish to socket at half of that, {what}, {log_name}",
            "ms",
            Spread.of(ours),
            Limit("quorum queue and back", Spread.of(bare)),
            ratios(ours, bare),
            bar,
            {
                "events_per_second": rate,
                "arrived_per_second": through.of("rate"),
                "bridge_cpu_us_per_event": through.of("cpu_us"),
            },
        )

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
        figure("p50"),
        figure("p99", Bar(P99_MILLISECONDS_MAX, "value")),
        figure("max"),
    ]
