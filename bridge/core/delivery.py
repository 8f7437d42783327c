"""A message as it came from a queue, before anybody has judged it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, field


class Delivery(Struct, gc=False):
    """One AMQP delivery (AMQP 0-9-1 class basic), reduced to what ingest needs.

    `tag` is the delivery tag on its channel, 0 when it did not come from a channel.
    `received_at` is in seconds since the Unix epoch. `others` are the properties that mean nothing
    here, by the names of aio-pika; they are only kept for a dead letter.
    """

    routing_key: str
    body: bytes
    received_at: float
    tag: int = 0
    redelivered: bool = False
    message_id: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    timestamp: datetime | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)


class Envelope(Struct, gc=False):
    """The event inside a delivery, before its class is known.

    `name` is what the event is called: the routing key. `declared_types` are the names the
    publisher wrote inside, to be checked against it. `traceparent` is in version 00, or empty.
    """

    name: str
    payload: dict[str, Any]
    event_id: str
    declared_types: tuple[tuple[str, object], ...]
    traceparent: str
