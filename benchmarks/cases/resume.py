"""After a node has died: how long until all of its clients are back on another, with what they missed.

Two nodes share a stream log. All sockets are on the first, which is killed with -9; then every user
is sent an event, and all come back to the second node at once with the position they had. A socket
counts as caught up when it has its answer and the event it missed; anything more or less is lost.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from websockets.sync.client import connect

from benchmarks.amqp.drains import Filler
from benchmarks.amqp.frames import USER
from benchmarks.figures import Bar, Figure, Spread
from benchmarks.load import HANDSHAKES_MAX, READ_BYTES, Client, Plan, open_clients
from benchmarks.machine import Cpu
from benchmarks.nodes import Pair, pair
from benchmarks.subject import START_SECONDS_MAX, Options, plan

SOCKETS, SOCKETS_QUICK = 5_000, 500
OPEN_SECONDS_MAX = 120.0
LOGGED_SECONDS_MAX = 60.0
FRAMES_EACH = 2  # The answer, and the event that was missed.


def run(options: Options, *, sockets: int = SOCKETS) -> list[Figure]:
    """Measure a reconnect storm. Raises ChildError, OpenFailedError, or DevelError without a broker."""
    count = SOCKETS_QUICK if options.quick else sockets
    with pair(options) as nodes, nodes.bus.publisher(users=count) as publisher:
        publisher.answer(START_SECONDS_MAX)
        return _measure(nodes, Filler(publisher), count, options)


def _measure(nodes: Pair, fill: Filler, count: int, options: Options) -> list[Figure]:
    first, second = nodes.first, nodes.second
    before = plan(first.port, count, user=USER)
    clients = open_clients(before, OPEN_SECONDS_MAX)
    position = _position(before)
    first.kill()
    for client in clients:
        client.sock.close()
    fill(count)
    path = f"/ws?epoch={position['epoch']}&offset={position['offset']}"
    back = replace(before, port=second.port, path=path, greetings=FRAMES_EACH)
    _wait_until_logged(back)
    cpu_before, memory_before, own_before = second.cpu_seconds(), second.resident_bytes(), Cpu.now()
    began = time.monotonic()
    clients = open_clients(back, OPEN_SECONDS_MAX)
    seconds = time.monotonic() - began
    own = Cpu.now().since(own_before)
    cpu, memory = second.cpu_seconds() - cpu_before, second.resident_bytes() - memory_before
    options.notes.append(
        f"{count:,} clients: the node used {cpu / seconds:.0%} of a core, the process that opens the sockets "
        f"{sum(own) / seconds:.0%}; with {HANDSHAKES_MAX} handshakes under way at any time."
    )
    details = {"sockets": count, "events_missed_by_each": 1}
    lost = _lost(clients)
    for client in clients:
        client.sock.close()
    return [
        _figure(f"{count:,} clients back and caught up", "s", seconds, details),
        Figure("clients with an event too few or too many", "", Spread.of([lost]), bar=Bar(0, "value")),
        _figure("CPU of the surviving node", "s", cpu, details),
        _figure("CPU of the surviving node per client", "µs", cpu / count * 1e6, details),
        _figure("memory of the surviving node per client", "KiB", memory / count / 1024, details),
    ]


def _figure(name: str, unit: str, value: float, details: dict[str, Any]) -> Figure:
    return Figure(name, unit, Spread.of([value]), details=details)


def _lost(clients: Sequence[Client]) -> int:
    """Return how many clients have not got exactly what was theirs, after another look at their sockets."""
    buffer = bytearray(READ_BYTES)
    return sum(not client.read(buffer) or client.frames != FRAMES_EACH for client in clients)


def _position(plan: Plan) -> dict[str, Any]:
    """Return the position that a socket which connects now is given."""
    request = plan.request(0)
    token = next(line for line in request.split(b"\r\n") if line.startswith(b"Authorization: "))
    headers = {"Authorization": token.decode().removeprefix("Authorization: ")}
    with connect(f"ws://{plan.host}:{plan.port}/ws", additional_headers=headers) as socket:
        position: dict[str, Any] = json.loads(socket.recv(timeout=10))["data"]["position"]
        return position


def _wait_until_logged(back: Plan) -> None:
    """Wait until the last user's event has come to the node: then so have all before it."""
    last = replace(back, sockets=1, user=USER.format(index=back.sockets - 1))
    for client in open_clients(last, LOGGED_SECONDS_MAX):
        client.sock.close()
