"""A room of 10,000 with a hundred slow readers: do the others wait, and what does it cost?

Two bridges with as many sockets each, in turns. In the room of one, a hundred clients on bad lines take 1 KB
a second, through the smallest receive buffer there is, of a stream that is five times as fast. Their
outboxes, 20 frames long here, are full from the start and overflow again and again; they drop the oldest.
Delay is from the append of an event to its arrival at each of the other sockets. Sending one event to all
takes a while, and the last socket waits for the whole of it: what counts is that it is the same with slow
readers and without.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.children import Child
from benchmarks.contest import ROOM, ROUND_SECONDS_MAX
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.machine import cpu_of
from benchmarks.subject import START_SECONDS_MAX, Options, opened, plan, settings, start_bridge, start_load

SOCKETS, SOCKETS_QUICK = 10_000, 1_000
SLOW = 100
SLOW_BYTES_PER_SECOND = 1_000
MESSAGE_BYTES = 1_024
EVENTS, INTERVAL_SECONDS = 20, 0.2
SLOW_ROOM = "bench:slow"
OUTBOX_FRAMES_MAX = 20
FILL_EVENTS = 500  # More than the kernel and an outbox hold for a socket.
ROUNDS, ROUNDS_QUICK = 6, 3
RATIO_MAX = 1.15  # "The same", as for growth.


@dataclass(slots=True)
class Room:
    """A bridge with everybody in one room, and what its rounds came to."""

    name: str
    server: Child
    pids: list[int]
    fast: Child
    fast_sockets: int
    frames: int = 0  # What the fast sockets have got so far.
    micros: list[float] = field(default_factory=list)  # CPU per event and socket of the room.
    delays: list[dict[str, float]] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)  # Cores that the load generator has used.

    def play(self, sockets: int) -> None:
        """Stream events for a while; note the CPU and the delays. Every fast socket must get every event."""
        begun = self.fast.ask(ROUND_SECONDS_MAX, frames=0, seconds=0.0)
        self.fast.tell(frames=begun["frames"] + EVENTS * self.fast_sockets, seconds=ROUND_SECONDS_MAX)
        before = cpu_of(self.pids)
        sent = self.server.ask(
            ROUND_SECONDS_MAX, do="stream", batches=EVENTS, interval_seconds=INTERVAL_SECONDS
        )
        ended = self.fast.answer(ROUND_SECONDS_MAX + 5.0)
        taken = cpu_of(self.pids).since(before)
        delays = self.fast.ask(ROUND_SECONDS_MAX, frames=0, seconds=0.0, sent_at=sent["sent_at"])
        assert delays["missed"] == 0, f"{delays['missed']} events did not come in {self.name}"
        self.micros.append(sum(taken) / (EVENTS * sockets) * 1e6)
        self.delays.append(delays)
        seconds = ended["last_frame_at"] - sent["sent_at"][0]
        self.busy.append((ended["cpu_seconds"] - begun["cpu_seconds"]) / seconds)

    def millis(self, which: str) -> list[float]:
        """Return a percentile of the delays in ms, one for each round."""
        return [delays[which] * 1e3 for delays in self.delays]

    def forget(self) -> None:
        """Leave the warm-up out."""
        self.micros.clear()
        self.delays.clear()
        self.busy.clear()


def run(options: Options) -> list[Figure]:
    """Measure with and without slow readers. Raises ChildError."""
    sockets = SOCKETS_QUICK if options.quick else SOCKETS
    with ExitStack() as stack:
        alone = _enter(stack, "without them", sockets)
        mixed = _enter(stack, "with them", sockets - SLOW, slow=SLOW)
        rooms = [alone, mixed]
        for room in rooms:
            room.play(sockets)  # Warm up.
            room.forget()
        before = mixed.server.ask(START_SECONDS_MAX, do="overflow")
        for turn in range(options.rounds(ROUNDS, ROUNDS_QUICK)):
            for room in rooms if turn % 2 == 0 else reversed(rooms):
                room.play(sockets)
        overflow = mixed.server.ask(START_SECONDS_MAX, do="overflow")
    dropped = overflow["dropped"] - before["dropped"]
    assert dropped > 0, "the slow readers were not slow enough: nothing was dropped"
    options.notes.append(
        f"the load generator used {max(*alone.busy, *mixed.busy):.2f} of a core at most; "
        f"the {SLOW} slow readers had {dropped:,} frames dropped, "
        f"and of their sockets {sum(overflow['closed'].values())} closed"
    )
    name = f"a room of {sockets:,} with {SLOW} slow readers"
    return [
        _figure(f"{name}: p99 delay of the others", "ms", mixed, alone, lambda room: room.millis("p99")),
        _figure(f"{name}: p50 delay of the others", "ms", mixed, alone, lambda room: room.millis("p50")),
        _figure(f"{name}: CPU", "µs CPU/event/socket", mixed, alone, lambda room: room.micros),
    ]


def _enter(stack: ExitStack, name: str, fast: int, *, slow: int = 0) -> Room:
    chosen = settings()
    chosen["ws"]["outbox_frames_max"] = OUTBOX_FRAMES_MAX
    server = stack.enter_context(start_bridge(chosen))
    ready = server.answer(START_SECONDS_MAX)
    port = ready["port"]
    load = stack.enter_context(start_load(plan(port, fast, rooms=[ROOM], watched=True)))
    opened(load)
    if slow:
        opened(
            stack.enter_context(
                start_load(
                    plan(
                        port,
                        slow,
                        user="slow-{index}",
                        rooms=[ROOM, SLOW_ROOM],
                        read_bytes_per_second=SLOW_BYTES_PER_SECOND,
                    )
                )
            )
        )
    prepared = server.ask(START_SECONDS_MAX, do="prepare", room=ROOM, message_bytes=MESSAGE_BYTES)
    assert prepared["sockets"] == fast + slow
    server.ask(START_SECONDS_MAX, do="fill", room=SLOW_ROOM, events=FILL_EVENTS)
    return Room(name, server, ready["pids"], load, fast)


def _figure(name: str, unit: str, mixed: Room, alone: Room, of: Callable[[Room], list[float]]) -> Figure:
    with_them, without = of(mixed), of(alone)
    return Figure(
        name,
        unit,
        Spread.of(with_them),
        Limit(alone.name, Spread.of(without)),
        ratios(with_them, without),
        Bar(RATIO_MAX, "ratio"),
    )
