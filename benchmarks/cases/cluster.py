"""What an event costs a cluster: the node that takes it in, and each that only reads the log.

Two nodes share a stream log. Events are published for users who are nowhere, so nothing is sent:
what is measured is decoding, validating and logging on the one, and passing over on the other.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks.figures import Figure, Spread
from benchmarks.load import Plan, open_clients
from benchmarks.nodes import Pair, pair
from benchmarks.orders import publish_orders
from benchmarks.subject import SECRET, Options

EVENTS, EVENTS_QUICK = 10_000, 1_000
ROUNDS = 3
LOGGED_SECONDS_MAX = 60.0


def run(options: Options) -> list[Figure]:
    """Measure CPU per event. Raises ChildError, OpenFailedError, or DevelError without a broker."""
    with pair(options) as nodes:
        events = EVENTS_QUICK if options.quick else EVENTS
        rounds = [_round(nodes, events) for _ in range(ROUNDS)]
    taking, reading, rates = zip(*rounds, strict=True)
    details = {"events": events, "rounds": ROUNDS}
    return [
        Figure("CPU per event, node that takes in", "µs", Spread.of(taking), details=details),
        Figure("CPU per event, node that reads the log", "µs", Spread.of(reading), details=details),
        Figure("events published and logged", "/s", Spread.of(rates), details=details),
    ]


def _round(nodes: Pair, events: int) -> tuple[float, float, float]:
    """Return the CPU per event of the busier and of the other node in µs, and the rate."""
    before = [node.cpu_seconds() for node in (nodes.first, nodes.second)]
    began = time.monotonic()
    watcher = Plan(
        host="127.0.0.1", port=nodes.second.port, sockets=1, path="/ws", secret=SECRET, user="watcher"
    )
    client = open_clients(watcher)[0]
    asyncio.run(publish_orders(nodes.url, nodes.exchange, [*(["nobody"] * events), "watcher"]))
    client.sock.settimeout(LOGGED_SECONDS_MAX)
    assert client.sock.recv(1), "the node closed the socket"  # The last event: all before it are logged.
    client.sock.close()
    seconds = time.monotonic() - began
    used = sorted(
        node.cpu_seconds() - earlier
        for node, earlier in zip((nodes.first, nodes.second), before, strict=True)
    )
    return used[1] / events * 1e6, used[0] / events * 1e6, events / seconds
