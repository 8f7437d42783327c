"""Publish an event for the bridge with aio-pika: confirmed, once, and never lost without a word.

pip install aio-pika
RABBITMQ_URL=amqp://guest:guest@127.0.0.1:5672/ python publish.py u1
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractExchange
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError

URL = os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/")
EXCHANGE = os.environ.get("EXCHANGE", "cloudphone.events")
ATTEMPTS_MAX = 4
CONFIRM_SECONDS_MAX = 5.0
RETRY_SECONDS = 1.0


async def publish(
    exchange: AbstractExchange, name: str, event: Mapping[str, object], message_id: str | None = None
) -> str:
    """Publish an event under its name, such as quota.updated; return its id once RabbitMQ has confirmed it.

    Every attempt has the same id, so that the bridge logs the event once. If your process may end in
    between, keep event and id in an outbox table.

    Raises:
        aio_pika.exceptions.DeliveryError: no queue takes it. Is the exchange the one of the bridge?
        one of aio_pika.exceptions.CONNECTION_EXCEPTIONS, or TimeoutError: RabbitMQ did not confirm it.
    """
    message = aio_pika.Message(
        json.dumps(dict(event)).encode(),
        content_type="application/json",
        message_id=message_id or uuid4().hex,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            async with asyncio.timeout(CONFIRM_SECONDS_MAX):
                await exchange.publish(message, name, mandatory=True)
            break
        except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
            if attempt == ATTEMPTS_MAX or isinstance(error, DeliveryError):
                raise
            await asyncio.sleep(RETRY_SECONDS)
    return str(message.message_id)


async def main() -> None:
    """Publish that a user's quota has changed."""
    user = sys.argv[1] if len(sys.argv) > 1 else "u1"
    async with await aio_pika.connect_robust(URL, reconnect_interval=RETRY_SECONDS) as connection:
        # With confirms, a return of what no queue takes is an error, not silence.
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(EXCHANGE)
        event = {
            "userId": user,
            "timestamp": datetime.now(UTC).isoformat(),
            "quotaId": "quota-7f3a",
            "limits": {"devices": 10},
            "usage": {"devices": 4},
        }
        print(f"published quota.updated, message_id {await publish(exchange, 'quota.updated', event)}")


if __name__ == "__main__":
    asyncio.run(main())
