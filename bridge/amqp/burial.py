"""Buries dead letters over a channel of its own, opened when there is the first."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from bridge.amqp.channels import channel_on
from bridge.amqp.link import Connection
from bridge.amqp.publisher import Publisher
from bridge.amqp.topology import Names
from bridge.core.delivery import Delivery
from bridge.core.errors import DeadLettersFullError, Refused


class Burial:
    """The dead letters of one consumer's attachment. An asynchronous context, which closes the channel."""

    def __init__(self, names: Names, connection: Connection) -> None:
        """Open nothing yet: most consumers never bury."""
        self._names = names
        self._connection = connection
        self._stack = AsyncExitStack()
        self._publisher: Publisher | None = None  # Set while the channel is open.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def bury(self, delivery: Delivery, domain: str, refused: Refused) -> None:
        """Keep the untouched delivery with its reason; as `Publisher.bury`."""
        if self._publisher is None:
            channel = await self._stack.enter_async_context(channel_on(self._connection, confirms=True))
            self._publisher = Publisher(self._names, channel)
        try:
            await self._publisher.bury(delivery, domain, refused)
        except DeadLettersFullError:
            # A channel that was refused once can go on refusing by itself after the limit was raised.
            self._publisher = None
            await self._stack.aclose()
            raise
