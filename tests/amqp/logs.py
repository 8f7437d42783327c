"""Logs for tests: what a reader was told, and nodes that read and append."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from bridge.amqp.bulk import source_on
from bridge.amqp.channels import channel_on
from bridge.amqp.link import Connection, Link, Reader, connect
from bridge.amqp.source import StockSource
from bridge.amqp.stream import Retention, StreamAppender, StreamLog
from bridge.core.entry import Entry, EventKey, Logged, Position
from bridge.core.log import Appender, MemoryLog
from bridge.core.policy import Policy
from bridge.core.stats import Stats
from bridge.core.window import Window, WindowLimits
from tests.eventually import eventually

RETENTION_SECONDS = 3600


def entry(number: int, *, payload_bytes: int = 0) -> Entry:
    """Return an entry that can be told from all others."""
    return Entry(
        key=EventKey("alpha.happened", str(number)),
        targets=(f"user:{number % 3}", "all"),
        policy=Policy.MUST_DELIVER,
        conflate_key="",
        occurred_at=float(number),
        expires_at=None,
        payload=b'{"n":%d,"filler":"%b"}' % (number, b"x" * payload_bytes),
    )


def entries(*numbers: int) -> list[Entry]:
    """Return the entries of these numbers."""
    return [entry(number) for number in numbers]


class Recorder:
    """A reader that keeps what it was told, as a replay window does too, and holds the log to its duties."""

    def __init__(self) -> None:
        self.begins: list[Position] = []
        self.received: list[Logged] = []  # Since the newest beginning.
        self.all: list[Logged] = []
        self.head = 0
        self.window = Window(WindowLimits(seconds_max=1e9, bytes_max=10**9))

    def begin(self, position: Position) -> None:
        """Start over."""
        self.begins.append(position)
        self.received = []
        self.head = position.offset
        self.window.begin(position)

    def receive(self, batch: Sequence[Logged]) -> None:
        """Keep a run of entries."""
        assert self.begins, "the log has not begun"
        for logged in batch:
            assert logged.offset > self.head or not self.received, "offsets do not grow"
            self.head = logged.offset
        self.received += batch
        self.all += batch
        self.window.append(batch, 0.0)

    def advance(self, offset: int) -> None:
        """Note how far the log has come."""
        assert self.begins, "the log has not begun"
        self.head = max(self.head, offset)
        self.window.advance(offset)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the entries received since the newest beginning."""
        return numbers(self.received)


def numbers(logged: Sequence[Logged]) -> list[int]:
    """Return the numbers that entries were made of."""
    return [int(one.entry.key.event_id) for one in logged]


@dataclass
class MemoryNode:
    """A node whose log is in memory."""

    recorder: Recorder = field(default_factory=Recorder)

    def __post_init__(self) -> None:
        self._log = MemoryLog(epoch=uuid4().hex, reader=self.recorder)

    @asynccontextmanager
    async def appender(self) -> AsyncIterator[Appender]:
        """Yield what writes to the log."""
        yield self._log


@dataclass
class StreamNode:
    """A node that tails a stream."""

    url: str
    log: StreamLog
    recorder: Recorder
    stats: Stats
    reader: Reader

    @asynccontextmanager
    async def appender(self) -> AsyncIterator[StreamAppender]:
        """Yield what writes to the stream, over a connection of its own."""
        async with (
            await connect(self.url, "test append", self.reader) as connection,
            source_of_nothing(connection) as source,
        ):
            yield self.log.appender(source)

    async def append(self, *numbers: int) -> None:
        """Append the entries of these numbers."""
        async with self.appender() as appender:
            await appender.append(entries(*numbers))

    async def has(self, *numbers: int) -> None:
        """Wait until exactly these have come since the newest beginning."""
        await eventually(lambda: self.recorder.numbers == list(numbers), f"{numbers}")

    async def has_many(self, count: int) -> None:
        """Wait until so many have come since the newest beginning."""
        await eventually(lambda: len(self.recorder.received) >= count, f"{count} entries")

    async def begins_anew(self) -> None:
        """Wait until the log has begun a second time, and has been read up to its end."""
        await eventually(lambda: len(self.recorder.begins) == 2, "a new beginning")
        await eventually(lambda: self.log.health().ok, "caught up")


@asynccontextmanager
async def source_of_nothing(connection: Connection) -> AsyncIterator[StockSource]:
    """Yield a source to publish by: it has confirms, and its queue stays empty."""
    async with channel_on(connection, confirms=True) as channel:
        queue = await channel.declare_queue(exclusive=True)
        source = source_on(connection, channel, queue.name, prefetch=1)
        await source.start()
        yield source


@asynccontextmanager
async def stream_node(
    url: str,
    queue_name: str,
    *,
    reader: Reader = "bulk",
    read_back_seconds: float = RETENTION_SECONDS,
    caught_up: bool = True,
) -> AsyncIterator[StreamNode]:
    """Run a node for the length of the context; wait until it is `caught_up`."""
    stats, recorder = Stats(), Recorder()
    retention = Retention(RETENTION_SECONDS, 10_000_000, read_back_seconds=read_back_seconds)
    log = StreamLog(queue_name, retention, recorder, stats)
    link = Link(url, "test tail", works=[log.tail], stats=stats, reader=reader)
    running = asyncio.create_task(link.run())
    try:
        if caught_up:
            await eventually(lambda: log.health().ok, "caught up")
        yield StreamNode(url, log, recorder, stats, reader)
    finally:
        running.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.result()
