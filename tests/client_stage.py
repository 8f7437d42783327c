"""What the browser client is tested against: a real RabbitMQ and two bridges with one log.

The tests in clients/typescript start `python -m tests.client_stage` and talk to it in lines of JSON:
`{"id": 1, "do": "kill", "node": 0}` on its standard input is answered by `{"id": 1, "value": …}` or
`{"id": 1, "error": "…"}`. The first line that it writes is `{"urls": [...]}`. It ends with its input.

| do              | with                                 | value                          |
|-----------------|--------------------------------------|--------------------------------|
| `token`         | `user`, `seconds`, `rooms`           | a token                        |
| `publish`       | `type`, `bodies`                     | how many were confirmed        |
| `examples`      | `user`                               | the types that were published  |
| `schema`        |                                      | what `export jsonschema` prints |
| `kill`, `drain` | `node`, a number                     | nothing, when it is gone       |
| `start`         | `node`                               | nothing, when it is ready      |
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import uuid4

import aio_pika
import jwt

from bridge.core.catalogue import Catalogue
from bridge.core.examples import published
from bridge.core.schema import schema_of, sent_types
from consumers import domains
from tests.chaos.cluster import SECRET, Cluster
from tests.servers import Prefix, SharedBroker, shared_broker

LINE_BYTES_MAX = 2**20
NODES = 2
CATALOGUE = Catalogue(domains())
SETTINGS = {
    "BRIDGE_WS__ALLOWED_ORIGINS": "*",
    "BRIDGE_WS__PING_INTERVAL_SECONDS": "2",  # So that dead links are found while a test waits.
    "BRIDGE_AUTH__LEEWAY_SECONDS": "0",
}

Order: TypeAlias = Mapping[str, Any]


class Stage:
    """Carries out what the tests ask for."""

    def __init__(self, broker: SharedBroker, cluster: Cluster) -> None:
        """Both are somebody else's to end."""
        self._broker = broker
        self._cluster = cluster
        self.orders: dict[str, Callable[[Order], Awaitable[object]]] = {
            "token": self._token,
            "publish": self._publish,
            "examples": self._examples,
            "schema": self._schema,
            "kill": self._kill,
            "drain": self._drain,
            "start": self._start,
        }

    async def _token(self, order: Order) -> str:
        claims = {
            "sub": order["user"],
            "exp": time.time() + order["seconds"],
            "rooms": order.get("rooms", []),
        }
        return jwt.encode(claims, SECRET, algorithm="HS256")

    async def _publish(self, order: Order) -> int:
        await self._send([(order["type"], body) for body in order["bodies"]])
        return len(order["bodies"])

    async def _examples(self, order: Order) -> list[str]:
        """Publish one event of each type that goes to a user."""
        events = [
            (event_type.name, published(event_type, userId=order["user"]))
            for event_type in sent_types(CATALOGUE)
            if "userId" in published(event_type) and not event_type.age_seconds_max
        ]
        await self._send(events)
        return [name for name, _ in events]

    async def _schema(self, _: Order) -> object:
        return schema_of(CATALOGUE)

    async def _kill(self, order: Order) -> None:
        await self._cluster.nodes[order["node"]].kill()

    async def _drain(self, order: Order) -> None:
        await self._cluster.nodes[order["node"]].stop()

    async def _start(self, order: Order) -> None:
        await self._cluster.nodes[order["node"]].start()

    async def _send(self, events: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        """Publish events in order; return when the last is confirmed."""
        now = datetime.now(UTC).isoformat()
        async with await aio_pika.connect(self._broker.url) as connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            exchange = await channel.get_exchange(self._cluster.exchange, ensure=False)
            for name, body in events:
                message = aio_pika.Message(
                    json.dumps({"timestamp": now, **body}).encode(), message_id=uuid4().hex
                )
                await exchange.publish(message, name, mandatory=True)


async def answer(stage: Stage, line: bytes) -> dict[str, object]:
    """Carry out one order. What goes wrong is the answer."""
    order = json.loads(line)
    try:
        return {"id": order["id"], "value": await stage.orders[order["do"]](order)}
    except Exception as exc:  # noqa: BLE001 - the test at the other end is told, and fails
        return {"id": order["id"], "error": f"{type(exc).__name__}: {exc}"}


async def play(broker: SharedBroker) -> None:
    """Start the nodes, and do what is asked until the input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    prefix = Prefix()
    cluster = Cluster(broker.url, prefix, settings=SETTINGS)
    try:
        for _ in range(NODES):
            await cluster.add()
        say({"urls": list(cluster.urls())})
        stage = Stage(broker, cluster)
        async for line in reader:
            say(await answer(stage, line))
    finally:
        await cluster.stop()
        if broker.given:
            await prefix.delete_all(broker.url)


def say(message: Mapping[str, object]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Play on the broker that the other tests would take."""
    with shared_broker() as broker:
        asyncio.run(play(broker))


if __name__ == "__main__":
    main()
