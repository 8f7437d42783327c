"""The stream as a feed: whole and in order from any position, whatever happens to reader and stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from bridge.amqp import feed as feed_module, stream
from bridge.amqp.channels import channel_on
from bridge.amqp.feed import StreamFeed
from bridge.amqp.link import connect
from bridge.amqp.stream import Retention, StreamLog
from bridge.core.codec import BATCH_ENTRIES_MAX, encode_batch
from bridge.core.delivery import Delivery
from bridge.core.entry import Position
from bridge.core.errors import LogUnavailableError
from bridge.core.feed import Page
from bridge.core.stats import Stats
from tests.amqp.bus import proxied
from tests.amqp.logs import Recorder, StreamNode, entries, numbers, stream_node
from tests.servers import Prefix, SharedBroker

SECONDS_MAX = 15.0


@pytest.fixture(autouse=True)
def _quick_to_believe_that_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "EMPTY_SECONDS", 0.1)
    monkeypatch.setattr(stream, "FIRST_SECONDS_MAX", 2.0)


@pytest.fixture
def queue(prefix: Prefix) -> str:
    """The stream's name."""
    return f"{prefix}.log"


@pytest.fixture
async def node(rabbitmq: SharedBroker, queue: str) -> AsyncIterator[StreamNode]:
    """A node with a stream of its own."""
    async with stream_node(rabbitmq.url, queue) as node:
        yield node


class Following:
    """What came of a feed so far."""

    def __init__(self, pages: AsyncIterator[Page]) -> None:
        """Have read nothing yet."""
        self._pages = pages
        self.pages: list[Page] = []

    @property
    def numbers(self) -> list[int]:
        """The numbers of the entries."""
        return [number for page in self.pages for number in numbers(page.entries)]

    @property
    def position(self) -> Position:
        """Where it came to."""
        return Position(self.pages[-1].epoch, self.pages[-1].up_to)

    async def until(self, count: int) -> None:
        """Read on until so many entries have come."""
        async with asyncio.timeout(SECONDS_MAX):
            while len(self.numbers) < count or not self.pages:
                self.pages.append(await anext(self._pages))


@asynccontextmanager
async def following(
    node: StreamNode, after: Position | None = None, url: str = ""
) -> AsyncIterator[Following]:
    """Follow the stream for the length of the context."""
    pages = StreamFeed(url or node.url, "test feed", node.log, "bulk").follow(after)
    try:
        yield Following(pages)
    finally:
        await pages.aclose()


async def test_whole(node: StreamNode) -> None:
    """From the first entry on, everything comes once and in order, with the offsets that the tail knows."""
    await node.append(*range(5))
    async with following(node) as feed:
        await feed.until(5)
        await node.append(*range(5, 9))
        await feed.until(9)

    await node.has(*range(9))
    assert [one for page in feed.pages for one in page.entries] == node.recorder.received
    assert {page.epoch for page in feed.pages} == {node.log.epoch}
    assert not any(page.gap for page in feed.pages)


@pytest.mark.parametrize("taken", [1, 3, 5])
async def test_goes_on(node: StreamNode, taken: int) -> None:
    """Whoever comes back with the position of a page, or of an entry, gets what follows and nothing else."""
    for number in range(5):
        await node.append(number)
    await node.append(*range(5, 8))
    await node.has(*range(8))
    received = node.recorder.received
    for position in (
        Position(node.log.epoch, received[taken].offset),
        Position(node.log.epoch, received[taken].offset // BATCH_ENTRIES_MAX * BATCH_ENTRIES_MAX + 1023),
    ):
        async with following(node, position) as feed:
            expected = [int(one.entry.key.event_id) for one in received if one.offset > position.offset]
            await feed.until(len(expected))

            assert feed.numbers == expected
            assert not feed.pages[0].gap


async def test_small_steps(node: StreamNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that leaves after each page and comes back has it all in the end."""
    monkeypatch.setattr(feed_module, "PREFETCH", 3)
    for number in range(20):
        await node.append(number)
    position, got = None, list[int]()
    while len(got) < 20:
        async with following(node, position) as feed:
            await feed.until(1)
        got += feed.numbers
        position = feed.position

    assert got == list(range(20))


async def test_new_life(rabbitmq: SharedBroker, queue: str, node: StreamNode) -> None:
    """When the stream is deleted the feed fails; followed again it begins with the new one."""
    await node.append(1, 2)
    async with following(node) as feed:
        await feed.until(2)
        async with (
            await connect(rabbitmq.url, "by hand") as connection,
            channel_on(connection, confirms=False) as channel,
        ):
            await channel.queue_delete(queue)
        with pytest.raises(LogUnavailableError):
            await feed.until(3)
    await node.begins_anew()
    await node.append(3)
    async with following(node, feed.position) as again:
        await again.until(1)

    assert again.numbers == [3]
    assert again.position.epoch == node.log.epoch != feed.position.epoch


async def test_lost_connection(node: StreamNode) -> None:
    """A connection that is cut is told; followed again, the feed goes on where it was."""
    await node.append(1, 2)
    async with proxied(node.url) as (proxy, through):
        async with following(node, url=through) as feed:
            await feed.until(2)
            await proxy.cut()
            with pytest.raises(LogUnavailableError):
                await feed.until(3)
        await node.append(3)
        async with following(node, feed.position, through) as again:
            await again.until(1)

    assert again.numbers == [3]


async def test_lost_messages(node: StreamNode) -> None:
    """A position past the end of the stream, as after a broker lost power, has everything read again."""
    await node.append(1, 2)
    async with following(node, Position(node.log.epoch, 10**9)) as feed:
        await feed.until(2)

    assert feed.numbers == [1, 2]
    assert feed.pages[0].gap


class Kept:
    """What retention has left of a stream, as the source, the channels and the tail that a feed needs."""

    queue_name = "log"
    epoch = "e1"
    next_offset = 9

    def __init__(self, *offsets: int) -> None:
        self.batches = [
            [Delivery("log", encode_batch(entries(at)), 0.0, headers={stream.OFFSET_HEADER: at})]
            for at in offsets
        ]
        self.asked: object = None  # The offset to begin at.

    def source_on(self, *_: object, arguments: dict[str, object], **__: object) -> Kept:
        """Be it."""
        self.asked = arguments[stream.OFFSET_HEADER]
        return self

    @asynccontextmanager
    async def channel_on(self, *_: object, **__: object) -> AsyncIterator[Kept]:
        """Be it."""
        yield self

    async def catch_up(self, *_: object) -> None:
        """Be there already."""

    async def start(self) -> None:
        """Be there already."""

    async def read(self) -> list[Delivery]:
        """Return the next message."""
        return self.batches.pop(0) if self.batches else []

    async def ack(self, _: Delivery) -> None:
        """Be fine with it."""


RETAINED = [  # The offsets that are left, and whether something behind the fifth message may be gone.
    pytest.param((4, 5, 6), False, id="all"),
    pytest.param((3, 4, 5, 6), False, id="all, and the chunk begins before"),
    pytest.param((4, 6), False, id="all, with a record of the broker's own between"),
    pytest.param((6, 7), True, id="not the end of the segment it was in"),
    pytest.param((5, 6), True, id="perhaps all that is new"),
]


@pytest.mark.parametrize(("offsets", "gap"), RETAINED)
async def test_overtaken_reader(
    monkeypatch: pytest.MonkeyPatch,
    offsets: tuple[int, ...],
    gap: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A reader that comes back when what it has seen is gone is told of a gap, however small it can be."""
    kept = Kept(*offsets)
    monkeypatch.setattr(feed_module, "source_on", kept.source_on)
    monkeypatch.setattr(feed_module, "channel_on", kept.channel_on)
    feed = StreamFeed("", "test feed", cast(Any, kept), "bulk")

    pages = [page async for page in feed._pages(cast(Any, None), Position("e1", 5 * BATCH_ENTRIES_MAX - 1))]

    assert kept.asked == 4
    assert [number for page in pages for number in numbers(page.entries)] == [n for n in offsets if n > 4]
    assert [page.gap for page in pages] == [gap, *(False for _ in pages[1:])]


async def test_no_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the log cannot be seen the feed fails in time: another node may see it."""
    monkeypatch.setattr(feed_module, "TAIL_SECONDS_MAX", 0.01)
    unseen = StreamLog("a.log", Retention(3_600, 10**9, 300.0), Recorder(), Stats())
    pages = StreamFeed("amqp://127.0.0.1:1/", "test feed", unseen, "bulk").follow(None)

    with pytest.raises(LogUnavailableError, match="not up to date"):
        async with asyncio.timeout(SECONDS_MAX):
            await anext(pages)
