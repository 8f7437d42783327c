"""Rounds in which several processes drain the same queue in turns. A round fills it for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.amqp.window import DRAIN_SECONDS_MAX
from benchmarks.children import Answer, Child
from benchmarks.figures import Spread

ANSWER_SECONDS_MAX = DRAIN_SECONDS_MAX + 10.0
WARM_UP_EVENTS = 2_000


@dataclass(slots=True)
class Side:
    """One process that drains, and what its rounds took."""

    name: str
    child: Child
    micros: list[float] = field(default_factory=list)  # CPU per event, one for each round.
    rates: list[float] = field(default_factory=list)  # Events per second of wall time.
    busy: list[float] = field(default_factory=list)  # CPU time by wall time: near 1 it was the limit itself.
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    events: int = 0

    def note(self, taken: Answer) -> None:
        """Add a round."""
        events, cpu = taken["events"], taken["user"] + taken["system"]
        self.micros.append(cpu / events * 1e6)
        self.rates.append(events / taken["wall"])
        self.busy.append(cpu / taken["wall"])
        self.user_seconds += taken["user"]
        self.system_seconds += taken["system"]
        self.events += events

    @property
    def spread(self) -> Spread:
        """CPU per event, in µs."""
        return Spread.of(self.micros)

    @property
    def per_second(self) -> list[float]:
        """Events per second of CPU, one for each round."""
        return [1e6 / micros for micros in self.micros]

    def details(self) -> dict[str, float]:
        """Return user and system apart, in µs per event over all rounds, and the wall time's side of it."""
        return {
            "user_us": self.user_seconds / self.events * 1e6,
            "system_us": self.system_seconds / self.events * 1e6,
            "events_per_second": median(self.rates),
            "busy": median(self.busy),
        }


class Filler:
    """The process that fills the queue, and how quick it was."""

    def __init__(self, publisher: Child) -> None:
        """It is ready."""
        self._publisher = publisher
        self.rates: list[float] = []

    def __call__(self, events: int) -> None:
        """Fill the queue; every event is confirmed."""
        filled = self._publisher.ask(ANSWER_SECONDS_MAX, do="fill", events=events)
        assert filled["events"] == events, f"{filled['events']} of {events} events were confirmed"
        self.rates.append(events / filled["wall"])

    def note(self) -> str:
        """Say how it is known that this process held nobody up."""
        return (
            "The publisher has ended before a clock starts: every event is confirmed, at "
            f"{median(self.rates):,.0f} events/s, before a process attaches to the queue."
        )


def busy_note(sides: Sequence[Side]) -> str:
    """Say of each side what share of a core it used while it drained."""
    shares = ", ".join(f"{side.name} {median(side.busy):.0%}" for side in sides)
    return f"Each was its own limit if it used a whole core: {shares}."


def drain(side: Side, events: int) -> Answer:
    """Have a side take so many events, which are in the queue; every one must come."""
    taken = side.child.ask(ANSWER_SECONDS_MAX, do="drain", events=events)
    assert taken["events"] == events, f"{side.name} took {taken['events']} of {events} events"
    return taken


def in_turns(sides: Sequence[Side], rounds: int, play: Callable[[Side], None]) -> None:
    """Play every round in the other direction than the one before, so that a drift falls on all sides."""
    for turn in range(rounds):
        order: Iterable[Side] = sides if turn % 2 == 0 else reversed(sides)
        for side in order:
            play(side)
