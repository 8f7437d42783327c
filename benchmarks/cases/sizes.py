"""Fan-out over rooms of 1 to 10,000 sockets and messages of 216 B to 16 KiB, with and without compression.

The bridge beside the bare write loop and Node `ws`; the other peers are beside it where fan-out is usual,
at 1,000 sockets (see `fanout`). An event of the bridge has about 150 B around its data, so 216 B stand for
64 B of data; everybody is given the same message. A room of one or ten is sent a few thousand events. What
it takes a server to be asked for them, 32 KiB at a time, is in everybody's figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.contest import (
    BARE,
    Contestant,
    compared,
    enter,
    enter_bridge,
    generators_note,
    installed,
    play_rounds,
    prepare_bridge,
)
from benchmarks.figures import Figure
from benchmarks.peers.table import WS
from benchmarks.subject import Options

SOCKETS, SOCKETS_QUICK = (1, 10, 1_000, 10_000), (1, 1_000)
MESSAGE_BYTES = (216, 256, 1_024, 16_384)
MESSAGES = 20_000  # To each server in each round.
BATCHES_MAX, BATCHES_MIN = 2_000, 2
ROUNDS, ROUNDS_QUICK = 5, 3


def run(options: Options) -> list[Figure]:
    """Measure fan-out over sizes. Raises ChildError."""
    figures: list[Figure] = []
    everybody: list[Contestant] = []
    for sockets in SOCKETS_QUICK if options.quick else SOCKETS:
        with ExitStack() as stack:
            plain = enter_bridge(stack, sockets)
            deflating = enter_bridge(stack, sockets, name="the bridge, compressing", deflate=True)
            assert deflating.audience.deflating == sockets, "the bridge does not take up permessage-deflate"
            peers = [enter(stack, entrant, sockets) for entrant in installed([WS], options)]
            for message_bytes in MESSAGE_BYTES:
                contest = _play([plain, deflating, *peers], message_bytes, options)
                figures.extend(_figures(f"{sockets:,} × {message_bytes:,} B", contest))
                everybody.extend(contest)
    options.notes.append(generators_note(everybody))
    return figures


def _play(entered: Sequence[Contestant], message_bytes: int, options: Options) -> list[Contestant]:
    """Have all play with messages of one size; return the plain bridge, the bare loop, then the others."""
    plain, deflating, *peers = (contestant.twin() for contestant in entered)
    message = prepare_bridge(plain, message_bytes)
    prepare_bridge(deflating, message_bytes)
    for peer in peers:
        peer.prepare(message=message)
    contest = [plain, plain.twin(name=BARE, do="bare"), deflating, *peers]
    batches = min(BATCHES_MAX, max(BATCHES_MIN, MESSAGES // plain.audience.sockets))
    play_rounds(contest, options.rounds(ROUNDS, ROUNDS_QUICK), batches, message_bytes=message_bytes)
    return contest


def _figures(name: str, contest: Sequence[Contestant]) -> list[Figure]:
    plain, bare, deflating, *peers = contest
    return [
        *(compared(name, plain, other) for other in (bare, *peers)),
        compared(f"{name}, compressed", deflating, plain),
    ]
