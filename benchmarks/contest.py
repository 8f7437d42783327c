"""Servers side by side: each does the same in turn, and the kernel says what CPU that took.

CPU is read from outside, of all the server's processes and threads, from before it is told to send
until every frame has arrived: what it does late, or in another thread, is counted too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

from benchmarks.children import Answer, Child, ChildError
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.machine import cpu_of
from benchmarks.peers.table import Entrant
from benchmarks.subject import START_SECONDS_MAX, Options, opened, plan, settings, start_bridge, start_load

OURS = "the bridge"
BARE = "os.write loop"
ROOM = "bench:room"
ROUND_SECONDS_MAX = 60.0
SETTLE_SECONDS_MAX = 20.0
POLL_SECONDS = 0.02
# For one socket, before the next part waits for all to arrive: the kernel's buffers hold it.
WAITING_BYTES_MAX = 32_768


@dataclass(frozen=True, slots=True)
class Sample:
    """What one server took for one round."""

    messages: int
    user_seconds: float
    system_seconds: float
    wall_seconds: float
    generator_seconds: float  # CPU of the load generators meanwhile.

    @property
    def micros(self) -> float:
        """CPU µs per message."""
        return (self.user_seconds + self.system_seconds) / self.messages * 1e6


class Audience:
    """The sockets of one server, in one load generator or several."""

    def __init__(self, name: str, loads: Sequence[Child]) -> None:
        """Wait until all have opened their sockets. `name` is the server's, for messages."""
        answers = [opened(load) for load in loads]
        self.sockets = sum(int(answer["sockets"]) for answer in answers)
        self.deflating = sum(int(answer["deflate"]) for answer in answers)
        self.generator_seconds = 0.0  # CPU of the generators so far, while frames were awaited.
        self._name = name
        self._shares = [int(answer["sockets"]) for answer in answers]
        self._loads = loads
        self._counts = [load.ask(ROUND_SECONDS_MAX, frames=0, seconds=0.0) for load in loads]

    def expect(self, messages: int) -> None:
        """Have the generators say when every socket has got so many further messages."""
        for load, share, count in zip(self._loads, self._shares, self._counts, strict=True):
            load.tell(frames=count["frames"] + messages * share, seconds=ROUND_SECONDS_MAX)

    def arrived(self, messages: int) -> float:
        """Wait for what is expected; return when the last came. AssertionError if it was not all, or more."""
        answers = [load.answer(ROUND_SECONDS_MAX + 5.0) for load in self._loads]
        for answer, share, count in zip(answers, self._shares, self._counts, strict=True):
            arrived = answer["frames"] - count["frames"]
            assert arrived == messages * share, (
                f"{arrived} of {messages * share} frames came from {self._name}, "
                f"which has closed {answer['gone']} of {share} sockets"
            )
            self.generator_seconds += answer["cpu_seconds"] - count["cpu_seconds"]
        self._counts = answers
        return max(float(answer["last_frame_at"]) for answer in answers)

    def total(self, of: str) -> int:
        """Return the sum of a count at the end of the last round: `bytes`, `compressed` or `gone`."""
        return sum(int(count[of]) for count in self._counts)


@dataclass(slots=True)
class Contestant:
    """One way to get messages to the sockets of one server, with the rounds it has played."""

    name: str
    server: Child
    pids: Sequence[int]
    audience: Audience
    do: str = "fanout"
    samples: list[Sample] = field(default_factory=list)

    def twin(self, *, name: str = "", do: str = "") -> Self:
        """Return another way to serve the same sockets, or the same way with rounds of its own."""
        return type(self)(name or self.name, self.server, self.pids, self.audience, do or self.do)

    def prepare(self, **message: object) -> Answer:
        """Tell the server what it is going to send."""
        return self.server.ask(START_SECONDS_MAX, do="prepare", **message)

    def play(self, batches: int, events: int, message_bytes: int) -> Sample:
        """Send `batches` runs of `events` messages to every socket, and wait until all have arrived."""
        generator_before = self.audience.generator_seconds
        began, before = time.monotonic(), cpu_of(self.pids)
        ended = began
        for part in parts(batches, max(1, WAITING_BYTES_MAX // (events * message_bytes))):
            self.audience.expect(part * events)
            self.server.ask(ROUND_SECONDS_MAX, do=self.do, batches=part, events=events)
            ended = self.audience.arrived(part * events)
        taken = cpu_of(self.pids).since(before)
        return Sample(
            messages=batches * events * self.audience.sockets,
            user_seconds=taken.user,
            system_seconds=taken.system,
            wall_seconds=ended - began,
            generator_seconds=self.audience.generator_seconds - generator_before,
        )

    @property
    def micros(self) -> list[float]:
        """CPU µs per message, one for each round."""
        return [sample.micros for sample in self.samples]

    @property
    def generator_busy(self) -> float:
        """Cores that the load generators used while this one sent: below 1 they had time to spare."""
        return sum(sample.generator_seconds for sample in self.samples) / self._wall_seconds

    def details(self) -> dict[str, float]:
        """Return user, system and wall apart, in µs per message over all rounds."""
        messages = sum(sample.messages for sample in self.samples)
        return {
            "user_us": sum(sample.user_seconds for sample in self.samples) / messages * 1e6,
            "system_us": sum(sample.system_seconds for sample in self.samples) / messages * 1e6,
            "wall_us": self._wall_seconds / messages * 1e6,
            "load_generator_busy": self.generator_busy,
        }

    @property
    def _wall_seconds(self) -> float:
        return sum(sample.wall_seconds for sample in self.samples)


def parts(whole: int, part_max: int) -> Iterator[int]:
    """Split a number into parts of at most `part_max`."""
    while whole > 0:
        yield min(whole, part_max)
        whole -= part_max


def play_rounds(
    contestants: Sequence[Contestant], rounds: int, batches: int, *, events: int = 1, message_bytes: int
) -> None:
    """Have all play in turns, after a warm-up: A B C, C B A, …, so that a drift falls on all alike."""
    for contestant in contestants:
        contestant.play(batches, events, message_bytes)
    for turn in range(rounds):
        for contestant in contestants if turn % 2 == 0 else reversed(contestants):
            contestant.samples.append(contestant.play(batches, events, message_bytes))


def compared(name: str, ours: Contestant, theirs: Contestant, bar: Bar | None = None) -> Figure:
    """Return CPU per message of one beside another's, round by round."""
    return Figure(
        name,
        "µs CPU/message",
        Spread.of(ours.micros),
        Limit(theirs.name, Spread.of(theirs.micros)),
        ratios(ours.micros, theirs.micros),
        bar,
        {ours.name: ours.details(), theirs.name: theirs.details()},
    )


def generators_note(contestants: Sequence[Contestant]) -> str:
    """Say how it is known that the load generators were not what was measured."""
    busiest = max(contestants, key=lambda contestant: contestant.generator_busy)
    return (
        f"the load generators used at most {busiest.generator_busy:.2f} of a core while frames came "
        f"(from {busiest.name}); every frame was counted before the next round"
    )


def enter_bridge(
    stack: ExitStack, sockets: int, *, name: str = OURS, generators: int = 1, deflate: bool = False
) -> Contestant:
    """Start a bridge with its sockets, all in ROOM. `prepare` it before it plays. Raises ChildError."""
    server = stack.enter_context(start_bridge(settings()))
    ready = server.answer(START_SECONDS_MAX)
    chosen = plan(ready["port"], sockets // generators, rooms=[ROOM], deflate=deflate)
    loads = [stack.enter_context(start_load(chosen)) for _ in range(generators)]
    return Contestant(name, server, ready["pids"], Audience(name, loads))


def prepare_bridge(contestant: Contestant, message_bytes: int) -> str:
    """Have a bridge make a message of this size for ROOM, and return it."""
    message: str = contestant.prepare(room=ROOM, message_bytes=message_bytes)["message"]
    return message


def enter(
    stack: ExitStack, entrant: Entrant, sockets: int, *, deflate: bool = False, **argument: object
) -> Contestant:
    """Start a peer with its sockets. `prepare` it before it plays. Raises ChildError."""
    name = entrant.peer.name
    server = stack.enter_context(entrant.peer.start(deflate=deflate, **argument))
    ready = server.answer(START_SECONDS_MAX)
    load = stack.enter_context(start_load(entrant.plan(ready["port"], sockets, deflate=deflate)))
    contestant = Contestant(name, server, ready["pids"], Audience(name, [load]))
    wait_for_sockets(server, sockets)
    return contestant


def installed(entrants: Sequence[Entrant], options: Options) -> list[Entrant]:
    """Return those that are installed, and note for the others what is missing. None for the guard."""
    if options.guard:
        return []
    missing = {entrant.peer.name: entrant.peer.available() for entrant in entrants}
    options.notes.extend(
        f"{name} was not measured, for lack of {what}" for name, what in missing.items() if what
    )
    return [entrant for entrant in entrants if not missing[entrant.peer.name]]


def wait_for_sockets(server: Child, sockets: int) -> None:
    """Wait until a server counts so many sockets; one that cannot count says None, and is believed.

    Raises:
        ChildError: it does not come to that in time.
    """
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    counted: Any = None
    while time.monotonic() < deadline:
        counted = server.ask(START_SECONDS_MAX, do="settle")["sockets"]
        if counted in (None, sockets):
            return
        time.sleep(POLL_SECONDS)
    raise ChildError(f"{server.name} counts {counted} sockets where {sockets} are expected")
