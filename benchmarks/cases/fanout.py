"""One event to everybody in a room: CPU of the server process per delivered message.

In each round four things are done in turns, over the same sockets, by the same process, and the
load generator must have counted every frame of one before the next begins:

    one    an event is appended to the log, and so sent to the room; then the next
    bare   `os.write` of the same bytes to the same sockets in a loop, past all Python layers
    ten    ten events are appended at once: each socket has ten frames waiting
    bare   `os.write` of ten joined frames

Rounds alternate in direction, so that a drift of the machine falls on both sides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from benchmarks.children import Answer, Child
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.subject import START_SECONDS_MAX, Options, opened, plan, settings, start_bridge, start_load

SOCKETS = 1_000
MESSAGE_BYTES = 256
ROOM = "bench:room"
BATCHES = 20
BATCH_EVENTS = 10
ROUNDS, ROUNDS_QUICK = 15, 4
ROUND_SECONDS_MAX = 20.0
CPU_RATIO_MAX = 1.4
BATCH_RATIO_MIN = 5.0


@dataclass(slots=True)
class Side:
    """One of the four, with what its rounds took."""

    do: str
    events: int
    micros: list[float] = field(default_factory=list)  # CPU per message, one for each round.
    messages: int = 0
    user_seconds: float = 0.0
    system_seconds: float = 0.0

    def note(self, messages: int, taken: dict[str, float]) -> None:
        """Add a round."""
        self.messages += messages
        self.user_seconds += taken["user"]
        self.system_seconds += taken["system"]
        self.micros.append((taken["user"] + taken["system"]) / messages * 1e6)

    def details(self) -> dict[str, float]:
        """Return user and system apart, in µs per message over all rounds."""
        return {
            "user_us": self.user_seconds / self.messages * 1e6,
            "system_us": self.system_seconds / self.messages * 1e6,
        }


class Bench:
    """A server with its sockets, and the count of what they have got."""

    def __init__(self, server: Child, load: Child) -> None:
        """Both are ready."""
        self._server = server
        self._load = load
        self._frames = self._count(0)["frames"]

    def play(self, side: Side) -> None:
        """Do one side of a round; every frame must arrive."""
        messages = SOCKETS * BATCHES * side.events
        self._load.tell(frames=self._frames + messages, seconds=ROUND_SECONDS_MAX)
        taken = self._server.ask(ROUND_SECONDS_MAX, do=side.do, batches=BATCHES, events=side.events)
        counts = self._load.answer(ROUND_SECONDS_MAX + 5.0)
        arrived = counts["frames"] - self._frames
        assert arrived == messages, f"{arrived} of {messages} frames arrived"
        self._frames = counts["frames"]
        side.note(messages, taken)

    def generator_seconds(self) -> float:
        """Return the CPU time that the load generator has used so far."""
        return float(self._count(0)["cpu_seconds"])

    def profile(self) -> str:
        """Return the profiler's report of some fan-outs."""
        messages = SOCKETS * BATCHES
        self._load.tell(frames=self._frames + messages, seconds=ROUND_SECONDS_MAX)
        report = self._server.ask(ROUND_SECONDS_MAX, do="profile", batches=BATCHES, events=1)["report"]
        self._frames = self._load.answer(ROUND_SECONDS_MAX + 5.0)["frames"]
        return str(report)

    def _count(self, frames: int) -> Answer:
        return self._load.ask(ROUND_SECONDS_MAX, frames=frames, seconds=0.0)


def run(options: Options) -> list[Figure]:
    """Measure fan-out. Raises ChildError."""
    one, bare = Side("fanout", 1), Side("bare", 1)
    ten, bare_ten = Side("fanout", BATCH_EVENTS), Side("bare", BATCH_EVENTS)
    sides = [one, bare, ten, bare_ten]
    with start_bridge(settings()) as server:
        port = server.answer(START_SECONDS_MAX)["port"]
        with start_load(plan(port, SOCKETS, rooms=[ROOM])) as load:
            opened(load)
            prepared = server.ask(START_SECONDS_MAX, do="prepare", room=ROOM, message_bytes=MESSAGE_BYTES)
            assert prepared["sockets"] == SOCKETS
            bench = Bench(server, load)
            for side in sides:
                bench.play(Side(side.do, side.events))  # Warm up.
            generator_seconds, began = bench.generator_seconds(), time.monotonic()
            for turn in range(ROUNDS_QUICK if options.quick else ROUNDS):
                for side in sides if turn % 2 == 0 else reversed(sides):
                    bench.play(side)
            # Below 1 it had time to spare. All sides meet the same one, and only the server's CPU counts.
            busy = (bench.generator_seconds() - generator_seconds) / (time.monotonic() - began)
            if options.profile:
                options.results.mkdir(exist_ok=True)
                (options.results / "fanout-profile.txt").write_text(bench.profile(), encoding="utf-8")
    return _figures(one, bare, ten, bare_ten, busy)


def _figures(one: Side, bare: Side, ten: Side, bare_ten: Side, generator_busy: float) -> list[Figure]:
    rate_one, rate_ten = ([1e6 / micros for micros in side.micros] for side in (one, ten))
    return [
        Figure(
            f"fan-out to {SOCKETS:,} sockets, {MESSAGE_BYTES} B",
            "µs CPU/message",
            Spread.of(one.micros),
            Limit("os.write loop", Spread.of(bare.micros)),
            ratios(one.micros, bare.micros),
            Bar(CPU_RATIO_MAX, "ratio"),
            {"bridge": one.details(), "limit": bare.details(), "load_generator_busy": generator_busy},
        ),
        Figure(
            f"the same, {BATCH_EVENTS} events waiting for each socket",
            "µs CPU/message",
            Spread.of(ten.micros),
            Limit("os.write of joined frames", Spread.of(bare_ten.micros)),
            ratios(ten.micros, bare_ten.micros),
            details={"bridge": ten.details(), "limit": bare_ten.details()},
        ),
        Figure(
            f"{BATCH_EVENTS} events waiting, against one at a time",
            "messages/s of CPU",
            Spread.of(rate_ten),
            Limit("one at a time", Spread.of(rate_one)),
            ratios(rate_ten, rate_one),
            Bar(BATCH_RATIO_MIN, "ratio", at_least=True),
        ),
    ]
