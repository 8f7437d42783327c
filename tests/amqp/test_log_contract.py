"""What every event log does: one contract, held by the log in memory and by the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import get_args

import pytest

from bridge.amqp import stream
from bridge.amqp.link import Reader
from bridge.core.codec import BATCH_ENTRIES_MAX
from bridge.core.entry import Entry, EventKey
from bridge.core.policy import Policy
from tests.amqp.logs import MemoryNode, StreamNode, entries, entry, numbers, stream_node
from tests.eventually import eventually
from tests.servers import Prefix

Node = MemoryNode | StreamNode
MANY = 3 * BATCH_ENTRIES_MAX + 7


@pytest.fixture(params=["memory", *get_args(Reader)])
async def node(
    request: pytest.FixtureRequest, prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Node]:
    """A node with each kind of log, read by a recorder: in memory, and the stream in every way of reading."""
    if request.param == "memory":
        yield MemoryNode()
        return
    monkeypatch.setattr(stream, "EMPTY_SECONDS", 0.1)
    url = request.getfixturevalue("rabbitmq").url
    async with stream_node(url, f"{prefix}.log", reader=request.param) as node:
        yield node


async def test_log_begins_before_anything_comes(node: Node) -> None:
    """The reader is told where the log begins, once, with an epoch and an offset that is not negative."""
    (position,) = node.recorder.begins
    assert position.epoch
    assert position.offset >= 0
    assert node.recorder.received == []


async def test_entries_come_in_order_with_growing_offsets(node: Node) -> None:
    """Each entry comes once, in the order of appending, behind the beginning, with growing offsets."""
    async with node.appender() as log:
        for number in range(20):
            await log.append(entries(number))
        await eventually(lambda: len(node.recorder.received) >= 20, "all entries")

    assert node.recorder.numbers == list(range(20))
    offsets = [logged.offset for logged in node.recorder.received]
    assert offsets == sorted(set(offsets))
    assert offsets[0] > node.recorder.begins[0].offset
    assert len(node.recorder.begins) == 1


async def test_entry_comes_as_it_was_appended(node: Node) -> None:
    """Nothing about an entry changes on the way, whatever its texts contain."""
    odd = Entry(
        key=EventKey("device.status.changed", 'a"b\\c\0é漢🙂'),
        targets=("user:ü", "device:漢", "all"),
        policy=Policy.CONFLATE,
        conflate_key="device.status.changed\0d7",
        occurred_at=1763719200.123,
        expires_at=1763719220.5,
        payload='{"name":"漢🙂\\u0000"}'.encode(),
    )
    plain = entry(1)
    async with node.appender() as log:
        await log.append([odd, plain])
        await eventually(lambda: len(node.recorder.received) == 2, "both entries")

    assert [logged.entry for logged in node.recorder.received] == [odd, plain]


async def test_big_batches_come_whole(node: Node) -> None:
    """A batch of any size comes whole and in order."""
    async with node.appender() as log:
        await log.append(entries(*range(MANY)))
        await eventually(lambda: len(node.recorder.received) >= MANY, "all entries")

    assert node.recorder.numbers == list(range(MANY))


async def test_appending_nothing_logs_nothing(node: Node) -> None:
    """An empty batch is no entry."""
    async with node.appender() as log:
        await log.append([])
        await log.append(entries(1))
        await eventually(lambda: node.recorder.numbers == [1], "the one entry")


async def test_several_appenders_share_a_log(node: Node) -> None:
    """What several write at once comes once each, and each one's entries in its order."""

    async def write(start: int) -> None:
        async with node.appender() as log:
            for number in range(start, start + 60, 3):
                await log.append(entries(number, number + 1, number + 2))

    await asyncio.gather(*(write(start) for start in (0, 1000, 2000, 3000)))
    await eventually(lambda: len(node.recorder.received) >= 240, "all entries")

    seen = node.recorder.numbers
    assert len(seen) == 240
    for start in (0, 1000, 2000, 3000):
        own = [number for number in seen if start <= number < start + 1000]
        assert own == list(range(start, start + 60))


async def test_catching_up_waits_for_everything_before(node: Node) -> None:
    """When catching up returns, everything appended before has been handed to the reader."""
    async with node.appender() as log, node.appender() as other:
        for round_ in range(10):
            await log.append(entries(*range(round_ * 100, round_ * 100 + 100)))
            await other.catch_up()

            assert len(node.recorder.received) == round_ * 100 + 100


async def test_head_is_where_the_log_is(node: Node) -> None:
    """Once caught up, the window's position has every entry at or before it, and covers what follows."""
    async with node.appender() as log:
        await log.append(entries(1, 2))
        await log.catch_up()
        position = node.recorder.window.position
        assert position.offset >= node.recorder.received[-1].offset

        await log.append(entries(3))
        await log.catch_up()

    window = node.recorder.window
    assert window.covers(position)
    missed = window.read(["all"], after=position.offset, up_to=window.head, entries_max=100)
    assert numbers(missed) == [3]
