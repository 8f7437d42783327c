"""Publishes events as a microservice would."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import aio_pika

PUBLISHED_AT_ONCE = 200


async def publish_orders(url: str, exchange_name: str, users: Sequence[str]) -> None:
    """Send one order.completed to each of these users, confirmed; a user may be named often."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        exchange = await channel.get_exchange(exchange_name, ensure=False)
        for start in range(0, len(users), PUBLISHED_AT_ONCE):
            await asyncio.gather(
                *(
                    exchange.publish(
                        aio_pika.Message(_body(user), message_id=secrets.token_hex(8)), "order.completed"
                    )
                    for user in users[start : start + PUBLISHED_AT_ONCE]
                )
            )


def _body(user: str) -> bytes:
    return json.dumps(
        {"userId": user, "timestamp": datetime.now(UTC).isoformat(), "orderId": secrets.token_hex(8)}
    ).encode()
