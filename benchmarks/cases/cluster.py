"""What an event costs a cluster: the node that takes it in, and each that only reads the log.

Two nodes share a stream log. Events are published for users who are nowhere, so nothing is sent, but
for the last: what is measured is decoding, validating and logging on the one, and passing over on
the other. A process of its own publishes; whoever waits for the last event sees all before it logged.
"""

from __future__ import annotations

import time
from statistics import median

from benchmarks.amqp.drains import Filler
from benchmarks.amqp.frames import USER
from benchmarks.figures import Figure, Spread
from benchmarks.load import open_clients
from benchmarks.nodes import Pair, pair
from benchmarks.subject import START_SECONDS_MAX, Options, plan

EVENTS, EVENTS_QUICK = 20_000, 2_000
ROUNDS = 5
LOGGED_SECONDS_MAX = 60.0


def run(options: Options) -> list[Figure]:
    """Measure CPU per event. Raises ChildError, OpenFailedError, or DevelError without a broker."""
    events = EVENTS_QUICK if options.quick else EVENTS
    # As many users as events: only the last of a round is for the one who waits.
    with pair(options) as nodes, nodes.bus.publisher(users=events) as publisher:
        publisher.answer(START_SECONDS_MAX)
        fill = Filler(publisher)
        rounds = [_round(nodes, fill, events) for _ in range(ROUNDS)]
    options.notes.append(
        f"The publisher's events were confirmed at {median(fill.rates):,.0f}/s, while both nodes worked; "
        "CPU is counted, whose share per event does not depend on it."
    )
    taking, reading, rates = zip(*rounds, strict=True)
    details = {"events": events, "rounds": ROUNDS}
    return [
        Figure("CPU per event, node that takes in", "µs", Spread.of(taking), details=details),
        Figure("CPU per event, node that reads the log", "µs", Spread.of(reading), details=details),
        Figure("events published and logged", "/s", Spread.of(rates), details=details),
    ]


def _round(nodes: Pair, fill: Filler, events: int) -> tuple[float, float, float]:
    """Return the CPU per event of the busier and of the other node in µs, and the rate."""
    both = (nodes.first, nodes.second)
    before = [node.cpu_seconds() for node in both]
    began = time.monotonic()
    client = open_clients(plan(nodes.second.port, 1, user=USER.format(index=events - 1)))[0]
    fill(events)
    client.sock.settimeout(LOGGED_SECONDS_MAX)
    assert client.sock.recv(1), "the node closed the socket"
    client.sock.close()
    seconds = time.monotonic() - began
    used = sorted(node.cpu_seconds() - earlier for node, earlier in zip(both, before, strict=True))
    return used[1] / events * 1e6, used[0] / events * 1e6, events / seconds
