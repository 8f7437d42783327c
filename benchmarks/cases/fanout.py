"""One event to everybody in a room of 1,000: CPU of the server process per delivered message.

In each round all do the same in turns, and every frame of one has arrived before the next begins:

    one       an event is appended to the log, and so sent to the room; then the next
    bare      `os.write` of the same bytes to the same sockets in a loop, past all Python layers
    again     another bridge, whose sockets are shared out to two load generators
    peers     each with sockets of its own, sent the same message
    ten       ten events are appended at once: each socket has ten frames waiting
    bare ten  `os.write` of ten joined frames
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.contest import (
    BARE,
    ROUND_SECONDS_MAX,
    Contestant,
    compared,
    enter,
    enter_bridge,
    generators_note,
    installed,
    play_rounds,
    prepare_bridge,
)
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.peers.table import ENTRANTS, SOCKET_IO, WEB_STOMP, WEBSOCKETS, WS
from benchmarks.subject import Options

SOCKETS = 1_000
MESSAGE_BYTES = 256
BATCHES = 20
BATCH_EVENTS = 10
ROUNDS, ROUNDS_QUICK, ROUNDS_GUARD = 15, 5, 9
BATCH_RATIO_MIN = 5.0
CPU_RATIOS_MAX = {
    BARE: 1.15,
    WS.peer.name: 1.0,
    SOCKET_IO.peer.name: 1 / 2,
    WEBSOCKETS.peer.name: 1 / 2,
    WEB_STOMP.peer.name: 1 / 6,
}


def run(options: Options) -> list[Figure]:
    """Measure fan-out. Raises ChildError."""
    rounds = options.rounds(ROUNDS, ROUNDS_QUICK, ROUNDS_GUARD)
    with ExitStack() as stack:
        one = enter_bridge(stack, SOCKETS)
        message = prepare_bridge(one, MESSAGE_BYTES)
        peers = [enter(stack, entrant, SOCKETS) for entrant in installed(ENTRANTS, options)]
        for peer in peers:
            peer.prepare(message=message)
        others = peers if options.guard else [*peers, _again(stack)]
        bare = one.twin(name=BARE, do="bare")
        ten, bare_ten = one.twin(name="ten waiting"), bare.twin(name=f"{BARE}, joined")
        play_rounds([one, bare, *others], rounds, BATCHES, message_bytes=MESSAGE_BYTES)
        play_rounds([ten, bare_ten], rounds, BATCHES, events=BATCH_EVENTS, message_bytes=MESSAGE_BYTES)
        if options.profile:
            _profile(one, options)
    options.notes.append(generators_note([one, bare, *others, ten, bare_ten]))
    return [*_one(one, [bare, *others]), *_ten(ten, bare_ten, one)]


def _again(stack: ExitStack) -> Contestant:
    """Start another bridge: what it takes must not depend on how many generators count its messages."""
    again = enter_bridge(stack, SOCKETS, name="the bridge, two load generators", generators=2)
    prepare_bridge(again, MESSAGE_BYTES)
    return again


def _one(ours: Contestant, others: Sequence[Contestant]) -> list[Figure]:
    name = f"fan-out to {SOCKETS:,} sockets, {MESSAGE_BYTES} B"
    bounds = {other.name: CPU_RATIOS_MAX.get(other.name) for other in others}
    return [
        compared(name, ours, other, Bar(bound, "ratio") if (bound := bounds[other.name]) else None)
        for other in others
    ]


def _ten(ten: Contestant, bare_ten: Contestant, one: Contestant) -> list[Figure]:
    rate_one, rate_ten = ([1e6 / micros for micros in side.micros] for side in (one, ten))
    return [
        compared(f"the same, {BATCH_EVENTS} events waiting for each socket", ten, bare_ten),
        Figure(
            f"{BATCH_EVENTS} events waiting, against one at a time",
            "messages/s of CPU",
            Spread.of(rate_ten),
            Limit("one at a time", Spread.of(rate_one)),
            ratios(rate_ten, rate_one),
            Bar(BATCH_RATIO_MIN, "ratio", at_least=True),
        ),
    ]


def _profile(one: Contestant, options: Options) -> None:
    one.audience.expect(BATCHES)
    report = one.server.ask(ROUND_SECONDS_MAX, do="profile", batches=BATCHES, events=1)["report"]
    one.audience.arrived(BATCHES)
    options.results.mkdir(exist_ok=True)
    (options.results / "fanout-profile.txt").write_text(str(report), encoding="utf-8")
