"""From a queue to the sockets: what a gateway spends on an event that one user is to get.

Every user has one socket. In each round the same number of events, to each user in turn, is published,
confirmed, and then taken from the same queue and sent, by each of these in turns, in a process of its
own with sockets of its own; the load generator must have counted every frame:

    memory    the bridge: reads, decodes, validates, routes, logs, keeps for replay, sends
    stream    the same through the stream log: published to it, confirmed, read back, sent
    Node      amqplib and ws: parses, looks the user up, stringifies, sends; no more than that

CPU is counted as for reading alone (see `ingest`). Rounds alternate in direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.amqp import PREFETCH
from benchmarks.amqp.bus import Bus, bus
from benchmarks.amqp.drains import (
    ANSWER_SECONDS_MAX,
    WARM_UP_EVENTS,
    Filler,
    Side,
    busy_note,
    drain,
    in_turns,
)
from benchmarks.amqp.frames import USER
from benchmarks.children import Child
from benchmarks.figures import Bar, Figure, Limit, ratios
from benchmarks.peers import node_peer
from benchmarks.subject import START_SECONDS_MAX, Options, opened, plan, start_load

USERS = 1_000
EVENTS, EVENTS_QUICK = 20_000, 4_000
ROUNDS, ROUNDS_QUICK = 5, 2
NODE_RATIO_MAX = 1.0
STREAM_RATIO_MAX = 1.6

NODE = node_peer("Node: amqplib and ws, no validation", "amqp_gateway.cjs", "amqplib", "ws")


@dataclass(slots=True)
class Crowd:
    """The users of one side: their load generator, and what it has counted."""

    load: Child
    frames: int = 0
    seconds: float = 0.0  # Of drains.
    cpu_seconds: float = 0.0

    def begin(self) -> None:
        """Take over what came before the first event."""
        self.frames, self.cpu_seconds = self._count()

    def drain(self, side: Side, events: int) -> dict[str, float]:
        """Have the side send so many events; each must come to its socket, and nothing else."""
        self.load.tell(frames=self.frames + events, seconds=ANSWER_SECONDS_MAX)
        taken = drain(side, events)
        self.load.answer(ANSWER_SECONDS_MAX)
        frames, _ = self._count()
        assert frames - self.frames == events, f"{side.name}: {frames - self.frames} of {events} frames came"
        self.frames = frames
        self.seconds += taken["wall"]
        return taken

    def busy(self) -> float:
        """Return what share of a core its load generator used during the drains."""
        return (self._count()[1] - self.cpu_seconds) / self.seconds

    def _count(self) -> tuple[int, float]:
        counts = self.load.ask(ANSWER_SECONDS_MAX, frames=0, seconds=0.0)
        assert counts["gone"] == 0, f"{counts['gone']} sockets were closed"
        return int(counts["frames"]), float(counts["cpu_seconds"])


def run(options: Options) -> list[Figure]:
    """Measure from queue to socket. Raises ChildError, or DevelError without a broker."""
    events = EVENTS_QUICK if options.quick else EVENTS
    with bus(options) as chosen, ExitStack() as stack:
        publisher = stack.enter_context(chosen.publisher(USERS))
        publisher.answer(START_SECONDS_MAX)
        fill = Filler(publisher)
        crowds: dict[str, Crowd] = {}
        sides = [_joined(stack, name, child, crowds) for name, child in _gateways(chosen, options)]
        for side in sides:
            fill(WARM_UP_EVENTS)
            crowds[side.name].drain(side, WARM_UP_EVENTS)
            crowds[side.name].begin()
            crowds[side.name].seconds = 0.0

        def play(side: Side) -> None:
            fill(events)
            side.note(crowds[side.name].drain(side, events))

        in_turns(sides, ROUNDS_QUICK if options.quick else ROUNDS, play)
        shares = ", ".join(f"{crowd.busy():.0%}" for crowd in crowds.values())
    options.notes.append(f"{fill.note()} {busy_note(sides)} Their load generators: {shares} of a core.")
    return _figures(sides)


def _gateways(chosen: Bus, options: Options) -> list[tuple[str, Child]]:
    gateways = [(f"{log} log", chosen.gateway(event_log=log)) for log in ("memory", "stream")]
    if missing := NODE.available():
        options.notes.append(f"Node is left out: {missing}")
    else:
        started = NODE.start(url=chosen.url, queue=chosen.queue, prefetch=PREFETCH)
        gateways.append((NODE.name, started))
    return gateways


def _joined(stack: ExitStack, name: str, child: Child, crowds: dict[str, Crowd]) -> Side:
    """Wait for a gateway and open a socket to it for every user."""
    port = stack.enter_context(child).answer(START_SECONDS_MAX)["port"]
    load = stack.enter_context(start_load(plan(port, USERS, user=USER)))
    opened(load)
    crowds[name] = Crowd(load)
    crowds[name].begin()
    return Side(name, child)


def _figures(sides: Sequence[Side]) -> list[Figure]:
    memory, stream, *others = sides
    known = {"users": USERS, "prefetch": PREFETCH}

    def figure(side: Side, other: Side | None, ratio_max: float) -> Figure:
        return Figure(
            f"queue to the sockets of {USERS:,} users, {side.name}",
            "µs CPU/event",
            side.spread,
            Limit(other.name, other.spread) if other else None,
            ratios(side.micros, other.micros) if other else None,
            Bar(ratio_max, "ratio"),
            {"bridge": side.details(), "other": other.details() if other else None, **known},
        )

    return [
        figure(memory, others[0] if others else None, NODE_RATIO_MAX),
        figure(stream, memory, STREAM_RATIO_MAX),
    ]
