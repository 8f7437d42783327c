"""The event log as a RabbitMQ stream, written and read over AMQP 0-9-1 (no plug-in needed).

Every message of the stream is a batch of entries (`core/codec.py`) or a mark without entries; its
header carries the epoch, which names this life of the stream. The epoch that counts is that of the
oldest message the stream has kept. Whoever finds the stream empty writes a mark with a new epoch;
should two nodes do so at once, the first mark wins and both read it there.

An entry's offset is the stream offset of its message times BATCH_ENTRIES_MAX, plus its place in the
batch: it grows, with holes, and every node computes the same.

Source: https://www.rabbitmq.com/docs/streams (offsets, retention, consuming over AMQP 0-9-1).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import structlog
from aio_pika.exceptions import ChannelPreconditionFailed

from bridge.amqp.bulk import source_on
from bridge.amqp.channels import channel_on
from bridge.amqp.faults import SourceLostError
from bridge.amqp.link import RETRYABLE, Channel, Connection, first_reason, is_open
from bridge.amqp.publisher import Publish, PublishFailedError, RefusedByBrokerError, publisher_on
from bridge.amqp.source import StockSource
from bridge.amqp.topology import TopologyError
from bridge.cancellation import obey_cancellation
from bridge.core.backoff import Backoff
from bridge.core.codec import BATCH_ENTRIES_MAX, DamagedError, batches, decode_batch, encode_batch
from bridge.core.delivery import Delivery
from bridge.core.entry import Entry, Logged, Position
from bridge.core.errors import LogUnavailableError
from bridge.core.health import Health
from bridge.core.log import Reader
from bridge.core.stats import Stats

log = structlog.get_logger()

EPOCH_HEADER = "x-bridge-epoch"
MARK_HEADER = "x-bridge-mark"
BIRTH = "birth"
OFFSET_HEADER = "x-stream-offset"
SEGMENT_BYTES_MAX = 100_000_000  # Retention removes whole segments, so they bound its precision.
# RabbitMQ gives offsets to records of its own, too: one at the start of each segment. Retention removes
# whole segments, so a hole that it leaves is larger.
OWN_RECORDS_MAX = 3
TAIL_PREFETCH = 1_000  # Messages; with BATCH_BYTES_MAX this bounds a reader's memory.
TAIL_UNACKED_MAX = 100  # Messages; acked once so many are done, long before the broker waits for that.
TAKEN_AT_ONCE_MAX = 50
PACE_SECONDS = 0.004  # An append wakes this node twice more, the broker several times, and writes to disk.
FIRST_SECONDS_MAX = 10.0
EMPTY_SECONDS = 0.5  # How long a stream that says it is empty is given to contradict itself.
CATCH_UP_SECONDS_MAX = 10.0
READ_BACK_SECONDS_MAX = 300.0  # A busy log can hold minutes of work for a node that starts.
BACKOFF_SECONDS_FIRST = 0.1
BACKOFF_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of the log the broker keeps, and how far back a starting node reads."""

    age_seconds_max: int
    bytes_max: int
    read_back_seconds: float


async def declare_stream(channel: Channel, queue_name: str, retention: Retention) -> None:
    """Declare the stream.

    Raises:
        TopologyError: it exists with other arguments.
    """
    try:
        await channel.declare_queue(
            queue_name,
            durable=True,
            arguments={
                "x-queue-type": "stream",
                "x-max-age": f"{retention.age_seconds_max}s",
                "x-max-length-bytes": retention.bytes_max,
                "x-stream-max-segment-size-bytes": min(SEGMENT_BYTES_MAX, retention.bytes_max),
            },
        )
    except ChannelPreconditionFailed as exc:
        raise TopologyError(
            f"RabbitMQ refuses a declaration: {exc}. The stream exists with other arguments: set "
            "event_log.retention_… to what they were, or delete it: then every client has to start over"
        ) from exc


class StreamLog:
    """Reads the stream on one connection after another, and tells where it is."""

    def __init__(self, queue_name: str, retention: Retention, reader: Reader, stats: Stats) -> None:
        """Read nothing yet."""
        self.queue_name = queue_name
        self._retention = retention
        self._reader = reader
        self._stats = stats
        self._marks: dict[str, asyncio.Future[None]] = {}  # Awaited by `catch_up`; as many as callers.
        self._epoch = ""
        self._next: int | None = None  # The stream offset to read next; None before the first.
        self._caught_up = asyncio.Event()  # Set while the tail is attached and up to date.
        self._trouble = "not attached yet"
        self.known = False  # Set once, when the window and the recent identities have been read back.

    def health(self) -> Health:
        """Tell whether this node sees the log as it is."""
        ok = self._caught_up.is_set()
        return Health(self.queue_name, ok, "caught up" if ok else self._trouble)

    async def caught_up(self) -> None:
        """Wait until the tail is up to date."""
        await self._caught_up.wait()

    def appender(self, source: StockSource) -> StreamAppender:
        """Return what writes to the log over the channel of this source, which has confirms."""
        return StreamAppender(self, source)

    @property
    def epoch(self) -> str:
        """The life of the log that the tail reads; empty before it knows."""
        return self._epoch

    @property
    def next_offset(self) -> int:
        """The stream offset that the tail reads next; 0 before it knows."""
        return self._next or 0

    async def tail(self, connection: Connection) -> None:
        """Read the log over this connection until cancelled; attach again after every trouble."""
        backoff = Backoff(seconds_first=BACKOFF_SECONDS_FIRST, seconds_max=BACKOFF_SECONDS_MAX)
        while is_open(connection):  # Else the link makes a new one and calls again.
            try:
                await asyncio.create_task(self._attend(connection, backoff))
            except* RETRYABLE as group:
                self._trouble = first_reason(group)
            finally:
                self._caught_up.clear()
                self._stats.log_caught_up = False
            obey_cancellation()
            wait_seconds = backoff.next()
            log.warning(
                "log.tail_lost",
                queue=self.queue_name,
                reason=self._trouble,
                retry_seconds=round(wait_seconds, 3),
            )
            await asyncio.sleep(wait_seconds)

    async def mark(self, publish: Publish, epoch: str, name: str) -> None:
        """Write a message without entries. Raises PublishFailedError."""
        headers = {EPOCH_HEADER: epoch, MARK_HEADER: name}
        await publish("", self.queue_name, b"", {"headers": headers})

    async def catch_up(self, publish: Publish, *, seconds_max: float = CATCH_UP_SECONDS_MAX) -> None:
        """Return once the tail has seen everything logged before the call.

        Raises:
            LogUnavailableError: it did not happen in time.
        """
        name = uuid4().hex
        seen = self._marks[name] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds_max):
                await self.mark(publish, self._epoch, name)
                obey_cancellation()
                await seen
        except (TimeoutError, PublishFailedError) as exc:
            raise LogUnavailableError("the tail of the log did not come up to date in time") from exc
        finally:
            del self._marks[name]

    async def _attend(self, connection: Connection, backoff: Backoff) -> None:
        async with channel_on(connection, confirms=True) as channel:
            await declare_stream(channel, self.queue_name, self._retention)
            first_offset, epoch = await self._first(connection, channel)
            since = datetime.now(UTC) - timedelta(seconds=self._retention.read_back_seconds)
            newest = await self._newest(connection, channel, epoch)
        if epoch != self._epoch:
            if self._epoch:
                log.error("log.new_life", queue=self.queue_name, old=self._epoch, new=epoch)
            self._epoch, self._next = epoch, None
        elif self._next is not None and self._next > newest:
            # A broker that lost power can lose what it has confirmed; what comes now has old offsets.
            log.error("log.shortened", queue=self.queue_name, expected=self._next)
            self._next = None
        elif self._next is not None and self._next < first_offset:
            log.error("log.gap", queue=self.queue_name, expected=self._next, got=first_offset)
            self._next = None
        start = self._next
        if start is None:
            start = await self._start(connection, first_offset, since, newest)
        async with (
            channel_on(connection, confirms=True) as marking,
            channel_on(connection, confirms=False) as channel,
        ):
            source = source_on(
                connection, channel, self.queue_name, prefetch=TAIL_PREFETCH, arguments={OFFSET_HEADER: start}
            )
            await source.start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._become_current(marking, backoff))
                unacked = 0
                while batch := await source.read():
                    for at in range(0, len(batch), TAKEN_AT_ONCE_MAX):
                        taken = batch[at : at + TAKEN_AT_ONCE_MAX]
                        self._take(taken)
                        unacked += len(taken)
                        if unacked >= TAIL_UNACKED_MAX:  # Of a stream an ack is only leave to send more.
                            await source.ack(taken[-1])
                            unacked = 0
                        if len(batch) > TAKEN_AT_ONCE_MAX:
                            await asyncio.sleep(0)  # Reading back takes long, and others want their turn.

    async def _become_current(self, channel: Channel, backoff: Backoff) -> None:
        await self.catch_up(publisher_on(channel), seconds_max=READ_BACK_SECONDS_MAX)
        backoff.reset()
        self._caught_up.set()
        self.known = self._stats.log_caught_up = True
        log.info("log.caught_up", queue=self.queue_name, epoch=self._epoch, next_offset=self._next)

    async def _first(self, connection: Connection, marking: Channel) -> tuple[int, str]:
        """Return the offset and the epoch of the oldest message kept; begin a life if there is none."""
        birth: tuple[int, str] | None = None
        async with channel_on(connection, confirms=False) as channel:
            source = source_on(
                connection, channel, self.queue_name, prefetch=1, arguments={OFFSET_HEADER: "first"}
            )
            await source.start()
            while True:
                try:
                    async with asyncio.timeout(EMPTY_SECONDS):
                        delivery = (await source.read())[0]
                except TimeoutError:
                    if birth is not None:
                        return birth
                    await self.mark(publisher_on(marking), uuid4().hex, BIRTH)
                    async with asyncio.timeout(FIRST_SECONDS_MAX):
                        delivery = (await source.read())[0]
                await source.ack(delivery)
                at = stream_offset(delivery)
                epoch = delivery.headers.get(EPOCH_HEADER)
                if not isinstance(epoch, str):
                    self._damaged(delivery, "it carries no epoch")
                elif delivery.headers.get(MARK_HEADER) != BIRTH:
                    first = birth[0] if birth else at
                    # A node that had not noticed the old stream's end may have written first, under
                    # the old name: then the new life is called after it, the same by everybody.
                    return first, epoch if first > 0 else f"{epoch}+"
                elif at == 0:
                    return at, epoch
                else:
                    # A birth behind others counts for nothing, unless retention has left it the first
                    # and nothing followed.
                    birth = birth or (at, epoch)

    async def _start(self, connection: Connection, first_offset: int, since: datetime, newest: int) -> int:
        """Return the stream offset to read from: so far back as the settings say, and one message more.

        A client that has come so far has missed nothing when it was quiet since.
        """
        async with channel_on(connection, confirms=False) as channel:
            source = source_on(
                connection, channel, self.queue_name, prefetch=1, arguments={OFFSET_HEADER: since}
            )
            await source.start()
            try:
                async with asyncio.timeout(FIRST_SECONDS_MAX):
                    newer = stream_offset((await source.read())[0])
            except TimeoutError:
                newer = newest  # The broker's clock is far behind ours: not even our mark is new to it.
        return max(first_offset, newer - 1)

    async def _newest(self, connection: Connection, marking: Channel, epoch: str) -> int:
        """Write a mark and return its stream offset: at that moment the newest message."""
        name = uuid4().hex
        async with channel_on(connection, confirms=False) as channel:
            source = source_on(
                connection,
                channel,
                self.queue_name,
                prefetch=TAIL_PREFETCH,
                arguments={OFFSET_HEADER: "last"},
            )
            await source.start()
            await self.mark(publisher_on(marking), epoch, name)
            async with asyncio.timeout(FIRST_SECONDS_MAX):
                while batch := await source.read():
                    for delivery in batch:
                        if delivery.headers.get(MARK_HEADER) == name:
                            return stream_offset(delivery)
                    await source.ack(batch[-1])
        raise SourceLostError("the end of the log was not found")

    def _take(self, batch: Sequence[Delivery]) -> None:
        """Hand a run of messages to the reader."""
        run: list[Logged] = []
        for delivery in batch:
            at = stream_offset(delivery)
            if self._next is None or at > self._next + OWN_RECORDS_MAX:
                if self._next is not None:
                    # Retention has overtaken us: what is between is gone, and that must not be silent.
                    log.error("log.gap", queue=self.queue_name, expected=self._next, got=at)
                if run:
                    self._reader.receive(run)
                    run = []
                self._reader.begin(Position(self._epoch, max(0, at * BATCH_ENTRIES_MAX - 1)))
            elif at < self._next:
                continue  # RabbitMQ starts at the chunk that holds an offset; this was seen before.
            run += self._entries(delivery, at)
            self._next = at + 1
        if run:
            self._reader.receive(run)
            self._stats.log_read(run[-1].logged_at, time.time())
        if self._next is not None:
            self._reader.advance((self._next - 1) * BATCH_ENTRIES_MAX)
        self._resolve(batch)

    def _entries(self, delivery: Delivery, at: int) -> list[Logged]:
        if MARK_HEADER in delivery.headers:
            return []
        try:
            entries = decode_batch(delivery.body)
        except DamagedError as exc:
            self._damaged(delivery, str(exc))
            return []
        logged_at = delivery.timestamp.timestamp() if delivery.timestamp else 0.0
        return [
            Logged(offset, entry, logged_at) for offset, entry in enumerate(entries, at * BATCH_ENTRIES_MAX)
        ]

    def _resolve(self, batch: Sequence[Delivery]) -> None:
        """Tell those who wait for a mark that it, and all before it, has been handed out."""
        for delivery in batch:
            name = delivery.headers.get(MARK_HEADER)
            seen = self._marks.get(name) if isinstance(name, str) else None
            if seen is not None and not seen.done():
                seen.set_result(None)

    def _damaged(self, delivery: Delivery, reason: str) -> None:
        self._stats.log_damaged += 1
        log.error("log.damaged", queue=self.queue_name, stream_offset=stream_offset(delivery), reason=reason)


class StreamAppender:
    """Writes to the stream over the channel that the deliveries came from.

    Over that very channel, because the broker handles a channel's commands in order and gives its
    deliveries to another node only after it is gone: whoever gets them next finds in the log
    whatever was written here.
    """

    pace_seconds = PACE_SECONDS

    def __init__(self, stream: StreamLog, source: StockSource) -> None:
        """The channel of `source` has confirms."""
        self._stream = stream
        self._source = source

    async def append(self, entries: Sequence[Entry]) -> None:
        """Write entries in order, in as few messages as can be.

        Raises:
            LogUnavailableError: a message was not confirmed; it can be tried again.
            PublishFailedError: as it was lost with the channel.
        """
        if not self._source.alive:
            raise PublishFailedError("the channel is closed")
        if not self._stream.health().ok:
            # Without a tail nobody here vouches for the epoch, and no duplicate would be noticed.
            raise LogUnavailableError("the tail of the log is not attached")
        properties = {"headers": {EPOCH_HEADER: self._stream.epoch}, "timestamp": datetime.now(UTC)}
        for batch in batches(entries):
            body = encode_batch(batch)
            try:
                await self._source.publish("", self._stream.queue_name, body, properties)
            except RefusedByBrokerError as exc:
                raise LogUnavailableError(str(exc)) from exc

    async def catch_up(self) -> None:
        """Return once this node has seen everything logged before the call. Raises LogUnavailableError."""
        await self._stream.catch_up(self._source.publish)


def stream_offset(delivery: Delivery) -> int:
    """Return where a delivery stands in its stream. Raises SourceLostError: it came from no stream."""
    offset: Any = delivery.headers.get(OFFSET_HEADER)
    if not isinstance(offset, int):
        raise SourceLostError(f"the queue is no stream: a delivery has no {OFFSET_HEADER}")
    return offset
