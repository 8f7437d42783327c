"""After a node has died: how long until all of its clients are back on another, with what they missed.

Two nodes share a stream log. All sockets are on the first, which is killed with -9; then every user
is sent an event, and all come back to the second node at once with the position they had. A socket
counts as caught up when it has its answer and the event it missed.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

from websockets.sync.client import connect

from benchmarks.figures import Figure, Spread
from benchmarks.load import Plan, open_clients
from benchmarks.nodes import Pair, pair
from benchmarks.orders import publish_orders
from benchmarks.subject import SECRET, Options

SOCKETS, SOCKETS_QUICK = 5_000, 500
OPEN_SECONDS_MAX = 120.0
LOGGED_SECONDS_MAX = 60.0


def run(options: Options) -> list[Figure]:
    """Measure a reconnect storm. Raises ChildError, OpenFailedError, or DevelError without a broker."""
    with pair(options) as nodes:
        return _measure(nodes, SOCKETS_QUICK if options.quick else SOCKETS)


def _measure(nodes: Pair, count: int) -> list[Figure]:
    first, second = nodes.first, nodes.second
    plan = Plan(host="127.0.0.1", port=first.port, sockets=count, path="/ws", secret=SECRET)
    clients = open_clients(plan, OPEN_SECONDS_MAX)
    position = _position(plan)
    first.kill()
    for client in clients:
        client.sock.close()
    asyncio.run(publish_orders(nodes.url, nodes.exchange, [f"load-{index}" for index in range(count)]))
    query = f"/ws?epoch={position['epoch']}&offset={position['offset']}"
    back = replace(plan, port=second.port, path=query, greetings=2)
    _wait_until_logged(back, count)
    cpu_before, memory_before = second.cpu_seconds(), second.resident_bytes()
    began = time.monotonic()
    clients = open_clients(back, OPEN_SECONDS_MAX)
    seconds = time.monotonic() - began
    cpu, memory = second.cpu_seconds() - cpu_before, second.resident_bytes() - memory_before
    for client in clients:
        client.sock.close()
    details = {"sockets": count, "events_missed_by_each": 1}
    return [
        _figure(f"{count:,} clients back and caught up", "s", seconds, details),
        _figure("CPU of the surviving node", "s", cpu, details),
        _figure("CPU of the surviving node per client", "µs", cpu / count * 1e6, details),
        _figure("memory of the surviving node per client", "KiB", memory / count / 1024, details),
    ]


def _figure(name: str, unit: str, value: float, details: dict[str, Any]) -> Figure:
    return Figure(name, unit, Spread.of([value]), details=details)


def _position(plan: Plan) -> dict[str, Any]:
    """Return the position that a socket which connects now is given."""
    request = plan.request(0)
    token = next(line for line in request.split(b"\r\n") if line.startswith(b"Authorization: "))
    headers = {"Authorization": token.decode().removeprefix("Authorization: ")}
    with connect(f"ws://{plan.host}:{plan.port}/ws", additional_headers=headers) as socket:
        position: dict[str, Any] = json.loads(socket.recv(timeout=10))["data"]["position"]
        return position


def _wait_until_logged(plan: Plan, count: int) -> None:
    """Wait until the last user's event has come to the node: then so have all before it."""
    last = replace(plan, sockets=1, user=f"load-{count - 1}")
    for client in open_clients(last, LOGGED_SECONDS_MAX):
        client.sock.close()
