"""After a node has died: how long until all of its clients are back on another, with what they missed.

Two nodes share a stream log. All sockets are on the first, which is killed with -9; then every user
is sent an event, and all come back to the second node at once with the position they had. A socket
counts as caught up when it has its answer and the event it missed.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aio_pika
from websockets.sync.client import connect

from benchmarks.broker import remove
from benchmarks.children import PROJECT, ChildError
from benchmarks.figures import Figure, Spread
from benchmarks.load import Plan, open_clients
from benchmarks.subject import SECRET, Options
from bridge.app import catalogue_of, topology_of
from bridge.settings import Settings
from devel.rabbitmq import find_or_start

SOCKETS, SOCKETS_QUICK = 5_000, 500
START_SECONDS_MAX = 30.0
OPEN_SECONDS_MAX = 120.0
LOGGED_SECONDS_MAX = 60.0
PUBLISHED_AT_ONCE = 200
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Node:
    """One `bridge serve` process."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        """Start it; `log` is where it writes."""
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "serve"],
                cwd=PROJECT,
                env={**os.environ, **environment},
                stderr=stderr,
                start_new_session=True,
            )
        self.port = int(self._event("app.serving")["public_port"])
        self._event("log.caught_up")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """Kill -9."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def cpu_seconds(self) -> float:
        """How much CPU it has used, user and system (proc(5))."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def resident_bytes(self) -> int:
        """How much memory it has resident."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def _event(self, name: str) -> dict[str, Any]:
        """Wait for a line of its log. Raises ChildError."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self._process.poll() is None:
            for line in self._log.read_bytes().splitlines():
                entry: dict[str, Any] = json.loads(line)
                if entry.get("event") == name:
                    return entry
            time.sleep(0.05)
        raise ChildError(f"a node did not log {name}: {self._log.read_text()[-500:]}")


def run(options: Options) -> list[Figure]:
    """Measure a reconnect storm. Raises ChildError, OpenFailedError, or DevelError without a broker."""
    prefix = f"bench-{secrets.token_hex(3)}"
    count = SOCKETS_QUICK if options.quick else SOCKETS
    with find_or_start(options.scratch / "rabbitmq") as broker:
        environment = {
            "RABBITMQ_URL": broker.url,
            "JWT_SECRET": SECRET,
            "BRIDGE_AMQP__PREFIX": prefix,
            "BRIDGE_AMQP__EXCHANGE": f"{prefix}.events",
            "BRIDGE_EVENT_LOG__KIND": "stream",
            "BRIDGE_WS__HOST": "127.0.0.1",
            "BRIDGE_WS__PORT": "0",
            "BRIDGE_ADMIN__PORT": "0",
            "BRIDGE_WS__ATTEMPTS_PER_MINUTE_MAX": "10000000",
        }
        whole = Settings.model_validate(
            {
                "amqp": {"url": broker.url, "prefix": prefix, "exchange": f"{prefix}.events"},
                "auth": {"secret": SECRET},
            }
        )
        topology = topology_of(whole, catalogue_of(whole))
        try:
            with (
                Node(environment, options.scratch / "first.log") as first,
                Node(environment, options.scratch / "second.log") as second,
            ):
                return _measure(first, second, broker.url, f"{prefix}.events", count)
        finally:
            asyncio.run(remove(broker.url, topology))


def _measure(first: Node, second: Node, url: str, exchange: str, count: int) -> list[Figure]:
    plan = Plan(host="127.0.0.1", port=first.port, sockets=count, path="/ws", secret=SECRET)
    clients = open_clients(plan, OPEN_SECONDS_MAX)
    position = _position(plan)
    first.kill()
    for client in clients:
        client.sock.close()
    asyncio.run(_publish(url, exchange, [f"load-{index}" for index in range(count)]))
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


async def _publish(url: str, exchange_name: str, users: Sequence[str]) -> None:
    """Send every user one event, confirmed."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        exchange = await channel.get_exchange(exchange_name, ensure=False)
        for start in range(0, len(users), PUBLISHED_AT_ONCE):
            await asyncio.gather(
                *(
                    exchange.publish(
                        aio_pika.Message(_body(user), message_id=f"missed-{user}"), "order.completed"
                    )
                    for user in users[start : start + PUBLISHED_AT_ONCE]
                )
            )


def _body(user: str) -> bytes:
    return json.dumps(
        {"userId": user, "timestamp": datetime.now(UTC).isoformat(), "orderId": f"order-of-{user}"}
    ).encode()
