"""Reading a domain's queue: what the bridge spends on an event before it has anywhere to go.

In each round the same number of events is published, confirmed, and then taken from the same quorum
queue by each of these in turns, in a process of its own, with the same prefetch:

    the bridge      reads, decodes, validates, routes, logs in memory and fans out; nobody is connected.
                    Once with each reader; once from events that are wrapped, so that they have to be
                    taken apart; and where it is compiled, its sources as they are beside it
    aio-pika        `queue.consume`: parses the JSON and acks
    amqplib         the same, in Node
    bare            reads the bytes that a broker sent for these events from TCP, and does nothing

The clock of a process, which is its CPU time, starts before it attaches to the queue, with its
connection already there, and stops when it has acked the last event and come to rest. Nothing is
subtracted. Rounds alternate in direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.amqp import PREFETCH
from benchmarks.amqp.bare import tape
from benchmarks.amqp.bus import READERS, Bus, bus
from benchmarks.amqp.client import Client
from benchmarks.amqp.drains import WARM_UP_EVENTS, Filler, Side, busy_note, drain, in_turns
from benchmarks.amqp.frames import BODY_BYTES
from benchmarks.children import Child
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.peers import node_peer
from benchmarks.subject import START_SECONDS_MAX, Options
from bridge import is_compiled

EVENTS, EVENTS_QUICK = 20_000, 4_000
ROUNDS, ROUNDS_QUICK, ROUNDS_GUARD = 5, 2, 4
CPU_MICROS_MAX = 20.0
STOCK_RATIO_MIN = 5.0
AMQPLIB_RATIO_MAX = 1.25

AMQPLIB = node_peer("amqplib, parses and acks", "amqp_consume.cjs", "amqplib")


def run(options: Options) -> list[Figure]:
    """Measure ingest. Raises ChildError, BrokerError, or DevelError without a broker."""
    with bus(options) as chosen, ExitStack() as stack:
        fill = Filler(_started(stack, "publisher", chosen.publisher()).child)
        ours = _bridge(stack, chosen, READERS[0])
        peers = [_started(stack, name, child) for name, child in _peers(chosen, options)]
        if options.guard:
            return _guard(ours, peers, fill)
        bridges = [ours, *(_bridge(stack, chosen, reader) for reader in READERS[1:])]
        sources = (
            [_started(stack, "the bridge, its sources as they are", chosen.gateway(sources=True))]
            if is_compiled()
            else []
        )
        fill_wrapped = Filler(_started(stack, "publisher", chosen.publisher(wrapped=True)).child)
        wrapped = Side(f"{ours.name}, each event wrapped", ours.child)
        events = EVENTS_QUICK if options.quick else EVENTS
        fill(events)
        with Client(chosen.url) as client:
            client.consume(chosen.queue)
            port = stack.enter_context(tape(client.record(events)))
        limit = _started(stack, "bare TCP read", Child.of_module("benchmarks.amqp.bare", {"port": port}))
        sides = [*bridges, wrapped, *sources, *peers, limit]

        def play(side: Side, events: int = events) -> None:
            if side is not limit:
                (fill_wrapped if side is wrapped else fill)(events)
            side.note(drain(side, events))

        for side in (*bridges, wrapped, *sources, *peers):
            (fill_wrapped if side is wrapped else fill)(WARM_UP_EVENTS)
            drain(side, WARM_UP_EVENTS)
        in_turns(sides, ROUNDS_QUICK if options.quick else ROUNDS, play)
    options.notes.append(f"{fill.note()} {busy_note(sides)}")
    first, *rest = _figures(bridges, sources, peers, limit)
    return [first, _of_wrapped(wrapped, ours), *rest]


def _guard(ours: Side, stock: Sequence[Side], fill: Filler) -> list[Figure]:
    """Measure only what it costs, and beside aio-pika, which is installed anyway."""

    def play(side: Side) -> None:
        fill(EVENTS_QUICK)
        side.note(drain(side, EVENTS_QUICK))

    sides = [ours, *stock]
    for side in sides:
        fill(WARM_UP_EVENTS)
        drain(side, WARM_UP_EVENTS)
    in_turns(sides, ROUNDS_GUARD, play)
    return [
        # Without the bar on its value, which is one of the machine as well.
        Figure(_name(ours), "µs CPU/event", ours.spread, details={"bridge": ours.details()}),
        *(_turned_round(ours, side) for side in stock),
    ]


def _peers(chosen: Bus, options: Options) -> list[tuple[str, Child]]:
    argument = {"url": chosen.url, "queue": chosen.queue, "prefetch": PREFETCH}
    peers = [("aio-pika, parses and acks", Child.of_module("benchmarks.amqp.stock", argument))]
    if options.guard:
        return peers
    if missing := AMQPLIB.available():
        options.notes.append(f"amqplib is left out: {missing}")
    else:
        peers.append((AMQPLIB.name, AMQPLIB.start(**argument)))
    return peers


def _bridge(stack: ExitStack, chosen: Bus, reader: str) -> Side:
    return _started(stack, f"the bridge, reader {reader}", chosen.gateway(reader=reader))


def _started(stack: ExitStack, name: str, child: Child) -> Side:
    stack.enter_context(child).answer(START_SECONDS_MAX)
    return Side(name, child)


def _of_wrapped(wrapped: Side, plain: Side) -> Figure:
    """Return what an event costs that has to be taken apart, and is read by its class instead of its form."""
    return Figure(
        "reading a queue, each event wrapped",
        "µs CPU/event",
        wrapped.spread,
        Limit("as it will be sent", plain.spread),
        ratios(wrapped.micros, plain.micros),
        details={"wrapped": wrapped.details()},
    )


def _figures(
    bridges: Sequence[Side], sources: Sequence[Side], peers: Sequence[Side], limit: Side
) -> list[Figure]:
    ours, others = bridges[0], [*bridges[1:], *peers]
    stock = [side for side in others if not side.name.startswith("amqplib")]
    figures = [
        Figure(
            _name(ours),
            "µs CPU/event",
            ours.spread,
            Limit(limit.name, limit.spread),
            ratios(ours.micros, limit.micros),
            Bar(CPU_MICROS_MAX, "value"),
            {"bridge": ours.details(), "limit": limit.details(), "prefetch": PREFETCH},
        )
    ]
    figures += [_turned_round(ours, other) for other in stock]
    return figures + [
        Figure(
            ours.name,
            "µs CPU/event",
            ours.spread,
            Limit(other.name, other.spread),
            ratios(ours.micros, other.micros),
            None if other in sources else Bar(AMQPLIB_RATIO_MAX, "ratio"),
            {"other": other.details()},
        )
        for other in (*sources, *others)
        if other not in stock
    ]


def _name(side: Side) -> str:
    return f"reading a queue, {BODY_BYTES} B, {side.name}"


def _turned_round(ours: Side, other: Side) -> Figure:
    """Return how many times as much is done in the same time of a CPU."""
    return Figure(
        f"{ours.name}, turned round",
        "events/s of CPU",
        Spread.of(ours.per_second),
        Limit(other.name, Spread.of(other.per_second)),
        ratios(ours.per_second, other.per_second),
        Bar(STOCK_RATIO_MIN, "ratio", at_least=True),
        {"other": other.details()},
    )
