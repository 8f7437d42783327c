"""The stream as a feed: read at the pace of one reader, from the position where it stopped.

The tail of the node says which life of the stream this is; a feed without an attached tail waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from bridge.amqp.bulk import source_on
from bridge.amqp.channels import channel_on
from bridge.amqp.faults import SourceLostError
from bridge.amqp.link import CLOSE_SECONDS_MAX, RETRYABLE, Connection, Reader, connect
from bridge.amqp.publisher import publisher_on
from bridge.amqp.stream import MARK_HEADER, OFFSET_HEADER, OWN_RECORDS_MAX, StreamLog
from bridge.core.codec import BATCH_ENTRIES_MAX, DamagedError, decode_batch
from bridge.core.delivery import Delivery
from bridge.core.entry import Logged, Position
from bridge.core.errors import LogUnavailableError
from bridge.core.feed import Page

PREFETCH = 100  # Messages in hand; with their size this bounds the memory.


class StreamFeed:
    """Follows the stream over a connection of its own, one for each time that it is followed."""

    def __init__(self, url: str, name: str, stream: StreamLog, reader: Reader) -> None:
        """`name` is shown by the broker's management page. Opens nothing yet."""
        self._url = url
        self._name = name
        self._stream = stream
        self._reader: Reader = reader

    def done(self, position: Position) -> None:
        """Do nothing: the stream's retention alone removes."""

    async def follow(self, after: Position | None) -> AsyncGenerator[Page]:
        """Yield what stands in the stream after the position, and what comes; see `Feed`."""
        await self._stream.caught_up()
        try:
            connection = await connect(self._url, self._name, self._reader)
            try:
                async with contextlib.aclosing(self._pages(connection, after)) as pages:
                    async for page in pages:
                        yield page
            finally:
                with contextlib.suppress(*RETRYABLE):
                    async with asyncio.timeout(CLOSE_SECONDS_MAX):
                        await connection.close()
        except RETRYABLE as fault:
            raise LogUnavailableError(f"the stream: {type(fault).__name__}: {fault}") from fault

    async def _pages(self, connection: Connection, after: Position | None) -> AsyncGenerator[Page]:
        epoch = self._stream.epoch
        expected = None  # The stream offset of the next message; None before the first of a life.
        if after is not None and after.epoch == epoch:
            expected = (after.offset + 1) // BATCH_ENTRIES_MAX
        lost = expected is not None and expected > self._stream.next_offset
        if lost:
            # The broker has lost the newest part, and what comes now has old offsets: read all again.
            # Who is told of the same event twice has to know it.
            expected = after = None
        async with (
            channel_on(connection, confirms=True) as marking,
            channel_on(connection, confirms=False) as channel,
        ):
            source = source_on(
                connection,
                channel,
                self._stream.queue_name,
                prefetch=PREFETCH,
                arguments={OFFSET_HEADER: "first" if expected is None else expected},
            )
            await source.start()
            # What the tail sees now was written into the stream that this consumer is attached to, too.
            await self._stream.catch_up(publisher_on(marking))
            after_offset = after.offset if after is not None and after.epoch == epoch else -1
            while batch := await source.read():
                if self._stream.epoch != epoch:
                    raise LogUnavailableError("the stream has begun a new life")
                page, expected = _page(epoch, batch, expected, after_offset)
                if page is not None:
                    yield page._replace(gap=page.gap or lost)
                    lost = False
                await source.ack(batch[-1])


def _page(
    epoch: str, batch: Sequence[Delivery], expected: int | None, after_offset: int
) -> tuple[Page | None, int | None]:
    """Make a run of messages into a page; return it, if there is any, and the next offset expected."""
    entries: list[Logged] = []
    gap = False
    fresh = False
    for delivery in batch:
        at = delivery.headers.get(OFFSET_HEADER)
        if not isinstance(at, int):
            raise SourceLostError(f"the queue is no stream: a delivery has no {OFFSET_HEADER}")
        if expected is not None and at < expected:
            continue  # RabbitMQ begins at the chunk that holds an offset.
        gap = gap or (expected is not None and at > expected + OWN_RECORDS_MAX)
        expected, fresh = at + 1, True
        entries += [logged for logged in _entries(delivery, at) if logged.offset > after_offset]
    if not fresh or expected is None:
        return None, expected
    return Page(epoch, entries, expected * BATCH_ENTRIES_MAX - 1, gap), expected


def _entries(delivery: Delivery, at: int) -> list[Logged]:
    if MARK_HEADER in delivery.headers:
        return []
    try:
        entries = decode_batch(delivery.body)
    except DamagedError:
        return []  # The tail, which reads it as well, has logged and counted it.
    logged_at = delivery.timestamp.timestamp() if delivery.timestamp else 0.0
    return [Logged(offset, entry, logged_at) for offset, entry in enumerate(entries, at * BATCH_ENTRIES_MAX)]
