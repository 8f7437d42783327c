"""The stream as a feed: read at the pace of one reader, from the position where it stopped.

The tail of the node says which life of the stream this is; a feed without an attached tail waits for it, but
not for long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from bridge.amqp.bulk import source_on
from bridge.amqp.channels import channel_on
from bridge.amqp.link import CLOSE_SECONDS_MAX, RETRYABLE, Connection, Reader, connect
from bridge.amqp.publisher import publisher_on
from bridge.amqp.stream import MARK_HEADER, OFFSET_HEADER, OWN_RECORDS_MAX, StreamLog, stream_offset
from bridge.core.codec import BATCH_ENTRIES_MAX, DamagedError, decode_batch
from bridge.core.delivery import Delivery
from bridge.core.entry import Logged, Position
from bridge.core.errors import LogUnavailableError, cause_of
from bridge.core.feed import Page

PREFETCH = 100  # Messages in hand; with their size this bounds the memory.
TAIL_SECONDS_MAX = 10.0  # Whoever follows may hold what another node, which sees the log, waits for.


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
        try:
            async with asyncio.timeout(TAIL_SECONDS_MAX):
                await self._stream.caught_up()
        except TimeoutError as exc:
            raise LogUnavailableError("the tail of the log is not up to date") from exc
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
            raise LogUnavailableError(f"the stream: {cause_of(fault)}") from fault

    async def _pages(self, connection: Connection, after: Position | None) -> AsyncGenerator[Page]:
        epoch = self._stream.epoch
        seen = None  # The stream offset of the message read last; None before the first of a life.
        if after is not None and after.epoch == epoch:
            seen = after.offset // BATCH_ENTRIES_MAX
        lost = seen is not None and seen >= self._stream.next_offset
        if lost:
            # The broker has lost the newest part, and what comes now has old offsets: read all again.
            # Who is told of the same event twice has to know it.
            seen = after = None
        async with (
            channel_on(connection, confirms=True) as marking,
            channel_on(connection, confirms=False) as channel,
        ):
            source = source_on(
                connection,
                channel,
                self._stream.queue_name,
                prefetch=PREFETCH,
                arguments={OFFSET_HEADER: "first" if seen is None else seen},
            )
            await source.start()
            # What the tail sees now was written into the stream that this consumer is attached to, too.
            await self._stream.catch_up(publisher_on(marking))
            after_offset = -1 if after is None or seen is None else after.offset
            expected = seen
            while batch := await source.read():
                if self._stream.epoch != epoch:
                    raise LogUnavailableError("the stream has begun a new life")
                if seen is not None:
                    # It was asked for again: with it gone, so may be what followed it.
                    lost, seen = stream_offset(batch[0]) > seen, None
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
        at = stream_offset(delivery)
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
