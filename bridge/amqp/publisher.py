"""Confirmed publishing: dead letters, replays, and what an operator publishes by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from struct import error as StructError  # noqa: N812 - it is an exception
from typing import Any

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError, PublishError
from pamqp import encode

from bridge.amqp.faults import ConnectionLostError, honest
from bridge.amqp.properties import ANONYMOUS, HEADER_PREFIX
from bridge.amqp.topology import Names
from bridge.core.delivery import Delivery
from bridge.core.errors import DeadLettersFullError, Refused

PASSED_ON = ("app_id", "correlation_id", "priority", "reply_to", "type")
"""Properties that a dead letter keeps although nobody here reads them, by their names in aio-pika.

Not `user_id`, which the broker takes only from that user, nor `expiration`, which would end the letter.
"""
CONFIRM_SECONDS_MAX = 10.0
# Through these RabbitMQ routes copies of a message to further queues
# (https://www.rabbitmq.com/docs/sender-selected): ours are to go where we send them.
ROUTING_HEADERS = ("CC", "BCC")
HEADERS_BYTES_MAX = 120_000  # RabbitMQ's frame_max is 131,072, with the other properties beside them.


Publish = Callable[[str, str, bytes, Mapping[str, Any]], Awaitable[None]]
"""Publishes with confirmation: exchange, routing key, body, properties; as `publish_confirmed`."""


class PublishFailedError(Exception):
    """The broker did not confirm a message; it may or may not have it."""


class RefusedByBrokerError(PublishFailedError):
    """The broker said that it does not take a message; the channel goes on."""


async def publish_confirmed(
    channel: AbstractChannel, exchange: str, routing_key: str, body: bytes, properties: Mapping[str, Any]
) -> None:
    """Publish one persistent message and wait until the broker has it.

    `channel` has confirms, and returned messages raise there. `exchange` empty means the default
    exchange. `properties` are those of `aio_pika.Message`.

    Raises:
        PublishFailedError: not routable, refused, or not confirmed in time.
    """
    message = Message(body, delivery_mode=DeliveryMode.PERSISTENT, **properties)
    try:
        with honest():
            async with asyncio.timeout(CONFIRM_SECONDS_MAX):
                target = (
                    await channel.get_exchange(exchange, ensure=False)
                    if exchange
                    else channel.default_exchange
                )
                await target.publish(message, routing_key, mandatory=True)
    except PublishError as exc:
        where = exchange or "the default exchange"
        raise PublishFailedError(f"no queue takes {routing_key!r} from {where}") from exc
    except DeliveryError as exc:
        raise RefusedByBrokerError("the broker refused the message: a queue is full") from exc
    except TimeoutError as exc:
        raise RefusedByBrokerError(f"no confirmation within {CONFIRM_SECONDS_MAX:g} s") from exc
    except (*CONNECTION_EXCEPTIONS, ConnectionLostError) as exc:
        raise PublishFailedError(f"the connection broke: {exc}") from exc


def publisher_on(channel: AbstractChannel) -> Publish:
    """Return what publishes over a channel which has confirms; as `publish_confirmed`."""
    return partial(publish_confirmed, channel)


class Publisher:
    """Publishes with confirmation over one channel."""

    def __init__(self, names: Names, channel: AbstractChannel) -> None:
        """`channel` has confirms, and returned messages raise there."""
        self._names = names
        self._channel = channel

    async def publish(
        self, exchange: str, routing_key: str, body: bytes, properties: Mapping[str, Any]
    ) -> None:
        """Publish one message; as `publish_confirmed`."""
        if not properties.get("message_id"):
            properties = {**properties, "headers": {**properties.get("headers", {}), ANONYMOUS: True}}
        await publish_confirmed(self._channel, exchange, routing_key, body, properties)

    async def publish_event(self, delivery: Delivery) -> None:
        """Publish to the publishers' exchange, as a service does; as `publish_confirmed`."""
        properties = {"message_id": delivery.message_id, "content_type": "application/json"}
        await self.publish(self._names.exchange, delivery.routing_key, delivery.body, properties)

    async def bury(self, delivery: Delivery, domain: str, refused: Refused) -> None:
        """Put a delivery, untouched, into the dead-letter queue with the reason beside it.

        Raises:
            DeadLettersFullError: there is no room.
            PublishFailedError: it is not safe there; do not ack the delivery.
        """
        theirs = {
            key: value
            for key, value in delivery.headers.items()
            if not key.startswith(HEADER_PREFIX) and key not in ROUTING_HEADERS
        }
        ours: dict[str, Any] = {
            f"{HEADER_PREFIX}reason": refused.reason.value,
            f"{HEADER_PREFIX}field": refused.field,
            f"{HEADER_PREFIX}message": refused.message,
            f"{HEADER_PREFIX}domain": domain,
            f"{HEADER_PREFIX}routing-key": delivery.routing_key,
            f"{HEADER_PREFIX}dead-at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        headers = theirs | ours
        properties = {
            "headers": headers,
            "message_id": delivery.message_id,
            "content_type": delivery.content_type,
            "content_encoding": delivery.content_encoding,
            "timestamp": delivery.timestamp,
            **delivery.others,
        }
        if not _fits(headers):
            # One that cannot be written whole is kept without what cannot: the body is what counts.
            properties["headers"] = ours | {f"{HEADER_PREFIX}headers-dropped": True}
        try:
            await self.publish("", self._names.dead, delivery.body, properties)
        except RefusedByBrokerError as exc:
            raise DeadLettersFullError(
                f"the queue {self._names.dead} takes no letters ({exc}): "
                "replay or purge some, or raise its limit"
            ) from exc


def _fits(headers: Mapping[str, Any]) -> bool:
    """Tell whether headers can be written at all, and fit the one frame that properties must fit."""
    try:
        return len(encode.field_table(dict(headers))) <= HEADERS_BYTES_MAX
    except (TypeError, ValueError, OverflowError, RecursionError, StructError):
        return False
