"""A microservice that never gives up: numbered events, each published until it is confirmed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

RETRY_SECONDS = 0.2
ATTEMPT_SECONDS_MAX = 5.0
BATCH_EVENTS_MAX = 20


class NumberedPublisher:
    """Publishes order.completed events to users in turn, each with a number and a message id.

    A batch that is not wholly confirmed is published again whole, with the same ids, as an outbox
    relay would: the bridge has to see through the duplicates.
    """

    def __init__(self, url: str, exchange: str, users: Sequence[str]) -> None:
        """Publish nothing yet."""
        self._url = url
        self._exchange_name = exchange
        self._users = users
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._number = 0
        self.published: list[tuple[int, str]] = []  # Confirmed, as (number, user).

    async def run(self, *, events: int, per_second: float) -> None:
        """Publish so many events at this rate; return when every one is confirmed."""
        started, first = time.monotonic(), self._number
        try:
            while (done := self._number - first) < events:
                await asyncio.sleep(max(0.0, done / per_second - (time.monotonic() - started)))
                due = int((time.monotonic() - started) * per_second) - done + 1
                await self._publish_surely(
                    range(self._number, self._number + min(due, BATCH_EVENTS_MAX, events - done))
                )
        finally:
            await self._drop()

    async def _publish_surely(self, numbers: range) -> None:
        while True:
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS_MAX):
                    exchange = await self._connected()
                    await asyncio.gather(*(self._publish(exchange, number) for number in numbers))
            except (*CONNECTION_EXCEPTIONS, TimeoutError):
                await self._drop()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._number = numbers.stop
                self.published += [(number, self._user(number)) for number in numbers]
                return

    async def _publish(self, exchange: AbstractExchange, number: int) -> None:
        body = {
            "userId": self._user(number),
            "timestamp": datetime.now(UTC).isoformat(),
            "orderId": str(number),
        }
        message = aio_pika.Message(
            json.dumps(body).encode(),
            message_id=f"m{number}",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await exchange.publish(message, "order.completed", mandatory=True)

    def _user(self, number: int) -> str:
        return self._users[number % len(self._users)]

    async def _connected(self) -> AbstractExchange:
        if self._exchange is None:
            self._connection = await aio_pika.connect(self._url)
            channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            self._exchange = await channel.get_exchange(self._exchange_name, ensure=False)
        return self._exchange

    async def _drop(self) -> None:
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            try:
                async with asyncio.timeout(1):
                    await connection.close()
            except (*CONNECTION_EXCEPTIONS, TimeoutError):
                return
