"""The stream as a feed: whole and in order from any position, whatever happens to reader and stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bridge.amqp import feed as feed_module, stream
from bridge.amqp.channels import channel_on
from bridge.amqp.feed import StreamFeed
from bridge.amqp.link import connect
from bridge.core.codec import BATCH_ENTRIES_MAX
from bridge.core.entry import Position
from bridge.core.errors import LogUnavailableError
from bridge.core.feed import Page
from tests.amqp.bus import proxied
from tests.amqp.logs import StreamNode, numbers, stream_node
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
