"""Reading the dead-letter queue: look without taking, replay, purge."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from bridge.amqp.channels import channel_on
from bridge.amqp.properties import ANONYMOUS, HEADER_PREFIX
from bridge.amqp.publisher import PASSED_ON, ROUTING_HEADERS, Publisher
from bridge.amqp.topology import Names
from bridge.cancellation import obey_cancellation

ID_CHARACTERS = 12
GET_SECONDS_MAX = 10.0
NOT_THE_PUBLISHERS = (HEADER_PREFIX, "x-death", "x-first-death", "x-last-death", "x-delivery-count")
"""How the headers begin that the bridge and the broker have added."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `id` is made from what it is, so it is the same at every look.

    `reason` is the bridge's, or the broker's own (`delivery_limit`) for what came back too often.
    """

    id: str
    reason: str
    field: str
    message: str
    domain: str
    routing_key: str
    message_id: str | None
    dead_at: str
    body: bytes
    original: AbstractIncomingMessage


class Letters:
    """The dead letters of one look, to be iterated over once. `total` is how many were in the queue."""

    def __init__(self, waiting: asyncio.Queue[AbstractIncomingMessage], count: int, total: int) -> None:
        """Expect `count` letters to come into `waiting`."""
        self._waiting = waiting
        self._count = count
        self.total = total

    async def __aiter__(self) -> AsyncIterator[DeadLetter]:
        for _ in range(self._count):
            try:
                async with asyncio.timeout(GET_SECONDS_MAX):
                    message = await self._waiting.get()
            except TimeoutError:
                return  # Somebody else was quicker.
            yield _letter(message)
            obey_cancellation()  # Lost, perhaps, while the letter was published or acked.


@asynccontextmanager
async def browse(connection: AbstractConnection, names: Names, *, letters_max: int) -> AsyncIterator[Letters]:
    """Look at up to `letters_max` dead letters, oldest first; at none that comes in meanwhile.

    Those that are not acked meanwhile return to the queue when the context is left.
    """
    async with channel_on(connection, confirms=False) as channel:
        queue = await channel.declare_queue(names.dead, passive=True)
        # What is replayed may be refused again: without an end to this look, for ever.
        total = queue.declaration_result.message_count or 0
        count = min(letters_max, total)
        waiting: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        if count:
            # Not basic.get: what that has taken returns to a quorum queue in any order.
            await channel.set_qos(prefetch_count=count)
            await queue.consume(waiting.put)
        yield Letters(waiting, count, total)


async def replay(
    connection: AbstractConnection,
    names: Names,
    publisher: Publisher,
    *,
    wanted: Callable[[DeadLetter], bool],
    letters_max: int,
) -> list[DeadLetter]:
    """Give dead letters back to the bridge under their original routing key; return which.

    Each is removed from the dead-letter queue only after the broker has confirmed it.

    Raises:
        PublishFailedError: one could not be published; it and the rest stay where they are.
    """
    replayed = []
    async with browse(connection, names, letters_max=letters_max) as letters:
        async for letter in letters:
            if wanted(letter):
                await publisher.publish(names.inbound, letter.routing_key, letter.body, _properties(letter))
                await letter.original.ack()
                replayed.append(letter)
    return replayed


async def purge(
    connection: AbstractConnection, names: Names, *, wanted: Callable[[DeadLetter], bool], letters_max: int
) -> list[DeadLetter]:
    """Remove dead letters for good; return which."""
    removed = []
    async with browse(connection, names, letters_max=letters_max) as letters:
        async for letter in letters:
            if wanted(letter):
                await letter.original.ack()
                removed.append(letter)
    return removed


def _letter(message: AbstractIncomingMessage) -> DeadLetter:
    headers = dict(message.headers)
    deaths = headers.get("x-death")
    # The newest comes first; older ones are from queues that the publisher used on the way to us.
    death: dict[str, Any] = {}
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict):
        death = deaths[0]
    keys = death.get("routing-keys")
    if not isinstance(keys, list) or not keys:
        keys = [message.routing_key or ""]
    domain = str(headers.get(f"{HEADER_PREFIX}domain") or str(death.get("queue", "")).rpartition(".")[2])
    routing_key = str(headers.get(f"{HEADER_PREFIX}routing-key") or keys[0])
    reason = str(headers.get(f"{HEADER_PREFIX}reason") or death.get("reason") or "unknown")
    text = str(headers.get(f"{HEADER_PREFIX}message") or _BROKER_REASONS.get(reason, ""))
    dead_at = headers.get(f"{HEADER_PREFIX}dead-at") or death.get("time") or ""
    message_id = None if ANONYMOUS in headers else message.message_id
    what = "\0".join((message_id or "", routing_key, str(dead_at), "")).encode() + message.body
    return DeadLetter(
        id=hashlib.sha256(what).hexdigest()[:ID_CHARACTERS],
        reason=reason,
        field=str(headers.get(f"{HEADER_PREFIX}field") or ""),
        message=text,
        domain=domain,
        routing_key=routing_key,
        message_id=message_id,
        dead_at=str(dead_at),
        body=message.body,
        original=message,
    )


_BROKER_REASONS = {
    "delivery_limit": "it came back to the queue too often: processing it failed each time, see the logs",
    "expired": "it was in the queue for longer than the queue allows",
    "maxlen": "the queue was full",
    "rejected": "a consumer rejected it",
}


def _properties(letter: DeadLetter) -> dict[str, Any]:
    original = letter.original
    headers = {
        key: value
        for key, value in original.headers.items()
        if key not in ROUTING_HEADERS and not key.startswith(NOT_THE_PUBLISHERS)
    }
    return {
        "headers": headers,
        "message_id": letter.message_id,
        "content_type": original.content_type,
        "content_encoding": original.content_encoding,
        "timestamp": original.timestamp,
        **{name: value for name in PASSED_ON if (value := getattr(original, name)) is not None},
    }
