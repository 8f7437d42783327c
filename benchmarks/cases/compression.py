"""permessage-deflate: what it takes to compress an event for a room, beside sending it as it is.

Two bridges with as many sockets each; those of one offer compression, as browsers do. The text compresses
to about half. Peers that compress for each socket anew are beside it for scale.
"""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.contest import (
    OURS,
    Contestant,
    compared,
    enter,
    enter_bridge,
    generators_note,
    installed,
    play_rounds,
    prepare_bridge,
)
from benchmarks.figures import Bar, Figure
from benchmarks.peers.table import WEBSOCKETS, WS
from benchmarks.subject import Options

SOCKETS = 1_000
MESSAGE_BYTES = (1_024, 4_096)
BATCHES = 20
ROUNDS, ROUNDS_QUICK, ROUNDS_GUARD = 15, 4, 9
CPU_RATIO_MAX = 1.5


def run(options: Options) -> list[Figure]:
    """Measure compression. Raises ChildError."""
    rounds = options.rounds(ROUNDS, ROUNDS_QUICK, ROUNDS_GUARD)
    figures: list[Figure] = []
    with ExitStack() as stack:
        plain = enter_bridge(stack, SOCKETS, name=f"{OURS}, as it is")
        deflating = enter_bridge(stack, SOCKETS, deflate=True)
        assert deflating.audience.deflating == SOCKETS, "the bridge does not take up permessage-deflate"
        peers = [
            enter(stack, entrant, SOCKETS, deflate=True) for entrant in installed([WS, WEBSOCKETS], options)
        ]
        for message_bytes in MESSAGE_BYTES[:1] if options.guard else MESSAGE_BYTES:
            message = prepare_bridge(plain, message_bytes)
            prepare_bridge(deflating, message_bytes)
            for peer in peers:
                peer.prepare(message=message)
            contest = [contestant.twin() for contestant in (plain, deflating, *peers)]
            before = _compressed(contest)
            play_rounds(contest, rounds, BATCHES, message_bytes=message_bytes)
            _check_compressed(contest, before, (rounds + 1) * BATCHES * SOCKETS)
            figures.extend(_figures(message_bytes, contest))
            options.notes.append(generators_note(contest))
    return figures


def _compressed(contest: list[Contestant]) -> list[int]:
    return [contestant.audience.total("compressed") for contestant in contest]


def _check_compressed(contest: list[Contestant], before: list[int], messages: int) -> None:
    """All but the first must have sent nothing but compressed messages."""
    plain, *others = [now - then for now, then in zip(_compressed(contest), before, strict=True)]
    assert plain == 0, f"{plain} messages were compressed for sockets that had not asked for it"
    for contestant, compressed in zip(contest[1:], others, strict=True):
        assert compressed == messages, f"{contestant.name} compressed {compressed} of {messages} messages"


def _figures(message_bytes: int, contest: list[Contestant]) -> list[Figure]:
    plain, deflating, *peers = contest
    name = f"compressed fan-out to {SOCKETS:,} sockets, {message_bytes:,} B"
    return [
        compared(name, deflating, plain, Bar(CPU_RATIO_MAX, "ratio")),
        *(compared(name, deflating, peer) for peer in peers),
    ]
