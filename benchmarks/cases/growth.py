"""Growth: CPU per delivered message from 100 to 15,000 sockets, and of an event that nobody here is to get.

One bridge for each number of sockets, all at once, played in turns. What a write costs the kernel goes by
how long ago the last one to the same socket was: what it keeps of the socket is still in the processor's
caches or not, and the client is woken and acknowledges for each message or for many together. So there are
two ways to look.

At a pace, each socket gets an event in the same interval. CPU is what the server's process says that the
sending took: from outside, the waiting would be in it. An event after a pause has a cost of its own,
whatever the number of sockets, of which each message bears its share; so there is a thousand to compare with,
too. Back to back, an event goes out when the one before has: then a hundred sockets get a hundred and fifty
times as many events a second each as 15,000 do, at less for each. The bare write loop over the same sockets
shows in both what is the kernel's part; `make bench-check` holds what is left without it, back to back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.contest import (
    BARE,
    ROUND_SECONDS_MAX,
    Contestant,
    Sample,
    compared,
    enter_bridge,
    generators_note,
    prepare_bridge,
)
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.machine import cpu_of
from benchmarks.subject import Options

FEW, SOME, MORE, MANY, MANY_GUARD = 10, 100, 1_000, 15_000, 3_000
MESSAGE_BYTES = 256
MESSAGES = 30_000  # To each server in each round.
PACE_SECONDS = 0.5  # Between two events to a socket; one to 15,000 takes 0.2 s.
PACED_EVENTS = 4  # In a round.
PACED_ROUNDS, PACED_ROUNDS_QUICK = 5, 3
SILENT_EVENTS = 15_000  # Of 2 µs and more: fewer take less time than what a scheduler disturbs.
ROUNDS, ROUNDS_QUICK, ROUNDS_GUARD = 15, 5, 9
RATIO_MAX = 1.15


def run(options: Options) -> list[Figure]:
    """Measure growth. Raises ChildError."""
    rounds = options.rounds(ROUNDS, ROUNDS_QUICK, ROUNDS_GUARD)
    many = MANY_GUARD if options.quick or options.guard else MANY
    bar = Bar(RATIO_MAX, "ratio")
    paced: list[Figure] = []
    with ExitStack() as stack:
        few, small, large = (
            enter_bridge(stack, sockets, name=f"{sockets:,} sockets") for sockets in (FEW, SOME, many)
        )
        for contestant in (few, small, large):
            prepare_bridge(contestant, MESSAGE_BYTES)
        bare = [side.twin(name=f"{BARE}, {side.name}", do="bare") for side in (small, large)]
        contest = [small, bare[0], large, bare[1]]
        _play(contest, rounds)
        if not options.guard:
            more = enter_bridge(stack, MORE, name=f"{MORE:,} sockets")
            prepare_bridge(more, MESSAGE_BYTES)
            paced = _paced(
                [side.twin() for side in (small, more, large, *bare)],
                options.rounds(PACED_ROUNDS, PACED_ROUNDS_QUICK),
                bar,
            )
        silent = _silence([few, large], rounds)
    options.notes.append(generators_note(contest))
    return [
        *paced,
        compared(f"back to back, {large.name}", large, small, None if options.guard else bar),
        compared("back to back, the write loop", bare[1], bare[0]),
        _ours(f"back to back, bridge / write loop, {large.name}", contest, bar if options.guard else None),
        Figure(
            f"an event for nobody here, at {many:,} sockets",
            "µs CPU/event",
            Spread.of(silent[1]),
            Limit(few.name, Spread.of(silent[0])),
            ratios(silent[1], silent[0]),
            bar,
        ),
    ]


def _ours(name: str, contest: list[Contestant], bar: Bar | None) -> Figure:
    """Return the growth that is not the kernel's: of how many bare write loops a fan-out costs."""
    small, bare_small, large, bare_large = (side.micros for side in contest)
    at_many = [ours / bare for ours, bare in zip(large, bare_large, strict=True)]
    at_few = [ours / bare for ours, bare in zip(small, bare_small, strict=True)]
    limit = Limit(contest[0].name, Spread.of(at_few))
    return Figure(name, "× os.write loop", Spread.of(at_many), limit, ratios(at_many, at_few), bar)


def _play(contest: list[Contestant], rounds: int) -> None:
    """As play_rounds, with as many messages for each, not as many batches."""
    for turn in range(-1, rounds):
        for side in contest if turn % 2 == 0 else reversed(contest):
            sample = side.play(MESSAGES // side.audience.sockets, 1, MESSAGE_BYTES)
            if turn >= 0:  # The first is to warm up.
                side.samples.append(sample)


def _paced(sides: Sequence[Contestant], rounds: int, bar: Bar) -> list[Figure]:
    """Have few, more and many sockets get events in the same interval; few and many by write loops, too."""
    for turn in range(-1, rounds):
        for side in sides if turn % 2 == 0 else reversed(sides):
            sample = _at_a_pace(side)
            if turn >= 0:
                side.samples.append(sample)
    few, more, many, bare_few, bare_many = sides
    figures = [
        compared(f"at a pace, {many.name}", many, few, bar),
        compared(f"at a pace, {many.name}", many, more, bar),
        compared(f"at a pace, {many.name}", many, bare_many),
        compared("at a pace, the write loop", bare_many, bare_few),
    ]
    # User and system time are told apart by sampling, which such short work escapes.
    return [replace(figure, details={}) for figure in figures]


def _at_a_pace(side: Contestant) -> Sample:
    audience = side.audience
    generator_before, began = audience.generator_seconds, time.monotonic()
    audience.expect(1 + PACED_EVENTS)
    taken = side.server.ask(
        ROUND_SECONDS_MAX,
        do="paced",
        way=side.do,
        batches=PACED_EVENTS,
        interval_seconds=PACE_SECONDS,
    )
    ended = audience.arrived(1 + PACED_EVENTS)
    return Sample(
        PACED_EVENTS * audience.sockets,
        user_seconds=taken["user"],
        system_seconds=taken["system"],
        wall_seconds=ended - began,
        generator_seconds=audience.generator_seconds - generator_before,
    )


def _silence(bridges: list[Contestant], rounds: int) -> list[list[float]]:
    """Append events for nobody on each bridge in turns; return CPU µs per event, by bridge and round."""
    found: list[list[float]] = [[] for _ in bridges]
    for turn in range(-1, rounds):
        sides = list(zip(bridges, found, strict=True))
        for bridge, micros in sides if turn % 2 == 0 else reversed(sides):
            before = cpu_of(bridge.pids)
            bridge.server.ask(ROUND_SECONDS_MAX, do="silence", events=SILENT_EVENTS)
            taken = cpu_of(bridge.pids).since(before)
            if turn >= 0:
                micros.append(sum(taken) / SILENT_EVENTS * 1e6)
    return found
