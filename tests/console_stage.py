"""What the console's page is tested on: a cluster of real bridges, people with sockets, and publishers."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jwt
from websockets.asyncio.client import ClientConnection, connect as connect_socket

from bridge.amqp.burial import Burial
from bridge.amqp.link import connect
from bridge.amqp.topology import Names
from bridge.core.catalogue import Catalogue
from bridge.core.delivery import Delivery
from bridge.core.errors import Refused
from bridge.core.examples import published
from bridge.core.schema import sent_types
from consumers import domains
from tests.amqp.bus import Bus
from tests.chaos.cluster import SECRET, Cluster
from tests.servers import Prefix, SharedBroker

TOKEN = "8c1f0a77b2d94e5c9f7e6d0b3a5c4128"
NODES = 2
LIFE_USERS = 24
LIFE_SECONDS = 0.25  # Between two handfuls of events.


def now() -> str:
    """Return the time as publishers write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Stage:
    """Two nodes in development mode, and what happens around them."""

    def __init__(self, cluster: Cluster, bus: Bus) -> None:
        """Both are somebody else's to end."""
        self.cluster = cluster
        self.bus = bus

    @property
    def console(self) -> str:
        """Where the first node's console is."""
        return f"http://127.0.0.1:{self.cluster.nodes[0].admin_port}/console/"

    async def publish(self, event: str, body: Mapping[str, object] | bytes) -> str:
        """Publish as a microservice does; return the message id."""
        message_id = uuid4().hex
        raw = body if isinstance(body, bytes) else json.dumps({"timestamp": now(), **body}).encode()
        await self.bus.publish(event, raw, message_id=message_id)
        return message_id

    async def bury(self, event: str, body: Mapping[str, object], refused: Refused) -> None:
        """Have a dead letter as an older bridge would have left it, which did not know this event yet."""
        delivery = Delivery(event, json.dumps(body).encode(), time.time(), message_id=uuid4().hex)
        async with Burial(self.bus.names, self.bus.connection) as burial:
            await burial.bury(delivery, event.partition(".")[0], refused)

    @asynccontextmanager
    async def socket(
        self, user: str, *, node: int, rooms: tuple[str, ...] = ()
    ) -> AsyncIterator[ClientConnection]:
        """Yield a user's socket on a node, which has said hello."""
        claims = {"sub": user, "exp": time.time() + 3_600, "rooms": rooms, "jti": uuid4().hex}
        token = jwt.encode(claims, SECRET, algorithm="HS256")
        async with connect_socket(self.cluster.nodes[node].url, max_size=None) as socket:
            await socket.send(json.dumps({"op": "hello", "token": token, "rooms": rooms}))
            connected = json.loads(await socket.recv())
            assert connected["type"] == "connected", connected
            yield socket

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Have people come, and events of all domains rise and fall, for as long as the context is open."""
        async with AsyncExitStack() as stack:
            for number in range(LIFE_USERS):
                rooms = (f"device:d{number}",)
                socket = await stack.enter_async_context(
                    self.socket(f"u{number}", node=number % NODES, rooms=rooms)
                )
                reading = asyncio.create_task(_read(socket))
                stack.callback(reading.cancel)
            publishing = asyncio.create_task(self._publish_all())
            stack.callback(publishing.cancel)
            yield

    async def _publish_all(self) -> None:
        drawn = random.Random(7)  # noqa: S311 - which events a picture shows is no secret
        examples: list[tuple[str, dict[str, Any]]] = [
            (kind.name, published(kind))
            for kind in sent_types(Catalogue(domains()))
            if "userId" in published(kind)
        ]
        weights = [drawn.choice((1, 1, 2, 4, 8)) for _ in examples]
        began = time.monotonic()
        while True:
            events = 5 + 4 * math.sin((time.monotonic() - began) / 12) + drawn.random() * 2
            for name, example in drawn.choices(examples, weights, k=int(events)):
                user = drawn.randrange(LIFE_USERS)
                body = {**example, "timestamp": now(), "userId": f"u{user}"}
                await self.publish(name, body | ({"deviceId": f"d{user}"} if "deviceId" in example else {}))
            await asyncio.sleep(LIFE_SECONDS)


async def _read(socket: ClientConnection) -> None:
    async for _ in socket:
        pass


@asynccontextmanager
async def on_stage(broker: SharedBroker) -> AsyncIterator[Stage]:
    """Start the nodes; end them in the end."""
    prefix = Prefix()
    settings = {
        "BRIDGE_MODE": "development",
        "BRIDGE_ADMIN__TOKEN": TOKEN,
        "BRIDGE_ACCESS__REMEMBER_SECONDS": "600",
    }
    cluster = Cluster(broker.url, prefix, settings=settings)
    async with AsyncExitStack() as stack:
        if broker.given:
            stack.push_async_callback(prefix.delete_all, broker.url)
        stack.push_async_callback(cluster.stop)
        await asyncio.gather(*(cluster.add() for _ in range(NODES)))
        connection = await connect(broker.url, "stage")
        stack.push_async_callback(connection.close)
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        yield Stage(cluster, Bus(connection, channel, Names(cluster.exchange, prefix)))
