"""Channels that close whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.amqp.faults import honest
from bridge.amqp.link import CLOSE_SECONDS_MAX, CONNECT_SECONDS_MAX, RETRYABLE, Channel, Connection


@asynccontextmanager
async def channel_on(connection: Connection, *, confirms: bool) -> AsyncIterator[Channel]:
    """Open a channel for the length of the context; with `confirms`, publishing awaits the broker.

    Trouble while closing hides nothing, a cancellation in flight least of all.

    Raises:
        AMQPError, TimeoutError, ConnectionLostError: the channel could not be opened.
    """
    channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
    with honest():
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            await channel.initialize()
        try:
            yield channel
        finally:
            with contextlib.suppress(*RETRYABLE), honest():
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    if not channel.is_closed:
                        await channel.close()
