"""What microservices, and operators, do with a broker."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractIncomingMessage
from aiormq import spec
from pamqp import encode
from yarl import URL

from bridge.amqp.channels import channel_on
from bridge.amqp.link import Channel, Connection, Reader
from bridge.amqp.topology import Names
from tests.proxy import Proxy

BOTH_READERS = pytest.mark.parametrize("reader", get_args(Reader))
"""Runs each test once with every way of reading deliveries: what is promised is the same."""


@dataclass(frozen=True)
class Bus:
    """A broker, seen from outside the bridge. Queues are named without the prefix."""

    connection: Connection
    channel: Channel  # With confirms; returned messages raise.
    names: Names

    def queue(self, name: str) -> str:
        """Return the full name of a queue."""
        return f"{self.names.prefix}.{name}"

    async def publish(self, routing_key: str, body: bytes = b"{}", **properties: Any) -> None:  # noqa: ANN401
        """Publish as a microservice does: to the exchange, whether any queue takes it or not."""
        exchange = await self.channel.get_exchange(self.names.exchange, ensure=False)
        await exchange.publish(Message(body, **properties), routing_key, mandatory=False)

    async def put(self, name: str, *bodies: bytes) -> None:
        """Put messages into a queue, in order."""
        target = self.channel.default_exchange
        await asyncio.gather(*(target.publish(Message(body), self.queue(name)) for body in bodies))

    async def put_raw(self, name: str, body: bytes, **properties: Any) -> None:  # noqa: ANN401
        """Put a message into a queue whose properties, given as bytes, go on the wire as they are."""
        underlay = await self.channel.get_underlay_channel()
        with _bytes_as_they_are():
            await underlay.basic_publish(
                body, routing_key=self.queue(name), properties=spec.Basic.Properties(**properties)
            )

    async def take(self, name: str, *, seconds_max: float = 10.0) -> AbstractIncomingMessage:
        """Take the next message out of a queue, once there is one."""
        taken: asyncio.Future[AbstractIncomingMessage] = asyncio.get_running_loop().create_future()

        async def on_message(message: AbstractIncomingMessage) -> None:
            taken.set_result(message)

        async with channel_on(self.connection, confirms=False) as channel:
            await channel.set_qos(prefetch_count=1)
            # Not basic.get: a quorum queue with a single active consumer does not know it.
            source = await channel.get_queue(self.queue(name), ensure=False)
            tag = await source.consume(on_message)
            async with asyncio.timeout(seconds_max):
                message = await taken
            await source.cancel(tag)  # First, or the ack makes room for the next.
            await message.ack()
        return message

    async def waiting(self, name: str) -> int:
        """Return how many messages are ready in a queue."""
        declared = await self.channel.declare_queue(self.queue(name), passive=True)
        return declared.declaration_result.message_count or 0

    async def consumers(self, name: str) -> int:
        """Return how many consumers a queue has."""
        declared = await self.channel.declare_queue(self.queue(name), passive=True)
        return declared.declaration_result.consumer_count or 0


@contextmanager
def _bytes_as_they_are() -> Iterator[None]:
    """Have pamqp write what is bytes already without looking at it."""
    methods = dict(encode.METHODS)

    def raw_or(method: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        return lambda value: value if isinstance(value, bytes) else method(value)

    encode.METHODS.update({name: raw_or(method) for name, method in methods.items()})
    try:
        yield
    finally:
        encode.METHODS.update(methods)


@asynccontextmanager
async def proxied(url: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Proxy, str]]:
    """Yield a proxy before the broker, and the URL that leads through it; with `tls`, over that."""
    address = URL(url)
    assert address.host is not None
    assert address.port is not None
    async with Proxy(address.host, address.port, tls=tls) as proxy:
        through = address.with_host("127.0.0.1").with_port(proxy.port)
        yield proxy, str(through.with_scheme("amqps") if tls else through)
