"""What the stream log does beyond the contract: many nodes, restarts, faults, and other people's messages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

import pytest
from aio_pika import Message

from bridge.amqp import stream
from bridge.amqp.channels import channel_on
from bridge.amqp.link import RETRYABLE, Channel, Reader, connect
from bridge.amqp.publisher import publisher_on
from bridge.amqp.stream import BIRTH, EPOCH_HEADER, MARK_HEADER
from bridge.core.codec import BATCH_ENTRIES_MAX, encode_batch
from bridge.core.entry import Position
from bridge.core.errors import LogUnavailableError
from devel.node import PrivateNode
from tests.amqp.bus import BOTH_READERS, proxied
from tests.amqp.logs import (
    RETENTION_SECONDS,
    StreamNode,
    entries,
    entry,
    numbers,
    source_of_nothing,
    stream_node,
)
from tests.eventually import eventually
from tests.servers import Prefix, SharedBroker

SECONDS_MAX = 15.0

pytestmark = BOTH_READERS
NodeAt = Callable[..., AbstractAsyncContextManager[StreamNode]]


@pytest.fixture(autouse=True)
def _quick_to_believe_that_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "EMPTY_SECONDS", 0.1)
    monkeypatch.setattr(stream, "FIRST_SECONDS_MAX", 2.0)


@pytest.fixture
def queue(prefix: Prefix) -> str:
    """The stream's name."""
    return f"{prefix}.log"


@pytest.fixture
def node_at(queue: str, reader: Reader) -> NodeAt:
    """Runs a node on the broker of a URL; else as stream_node."""
    return partial(stream_node, queue_name=queue, reader=reader)


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[Channel]:
    """Yield a channel to do by hand what nodes do not do."""
    async with await connect(url, "by hand") as connection, channel_on(connection, confirms=True) as channel:
        yield channel


async def declare(channel: Channel, queue: str) -> None:
    """Declare a stream as nodes do."""
    await channel.declare_queue(
        queue,
        durable=True,
        arguments={
            "x-queue-type": "stream",
            "x-max-age": f"{RETENTION_SECONDS}s",
            "x-max-length-bytes": 10_000_000,
            "x-stream-max-segment-size-bytes": 10_000_000,
        },
    )


async def put(channel: Channel, queue: str, body: bytes = b"", **headers: str) -> None:
    """Write one message into the stream."""
    names = {"epoch": EPOCH_HEADER, "mark": MARK_HEADER}
    message = Message(body, headers={names.get(key, key): value for key, value in headers.items()})
    await channel.default_exchange.publish(message, queue)


async def test_how_late_it_is_read(node_at: NodeAt, rabbitmq: SharedBroker) -> None:
    """A node that has caught up counts how late it reads; what it reads back at its start is not late."""
    async with node_at(rabbitmq.url) as one:
        await one.append(1, 2)
        await one.has(1, 2)
        async with node_at(rabbitmq.url) as two:
            await two.has(1, 2)

            assert [node.stats.log_caught_up for node in (one, two)] == [True, True]
            assert sum(one.stats.log_read_lag_seconds.counts) == 1
            assert one.stats.log_read_lag_seconds.total < SECONDS_MAX
            assert sum(two.stats.log_read_lag_seconds.counts) == 0


async def test_every_node_sees_the_same(node_at: NodeAt, rabbitmq: SharedBroker) -> None:
    """Two nodes see the same entries with the same offsets in the same epoch, whoever appended them."""
    async with node_at(rabbitmq.url) as one, node_at(rabbitmq.url) as two:
        await one.append(*range(10))
        await two.append(*range(10, 20))
        await one.has(*range(20))
        await two.has(*range(20))

        assert one.recorder.received == two.recorder.received
        assert one.log.epoch == two.log.epoch


async def test_nodes_that_start_at_once_agree(node_at: NodeAt, rabbitmq: SharedBroker) -> None:
    """Nodes that find the stream missing at the same moment agree on its epoch and on every offset."""
    nodes = [node_at(rabbitmq.url) for _ in range(4)]
    started = await asyncio.gather(*(node.__aenter__() for node in nodes))
    try:
        await asyncio.gather(*(node.append(number) for number, node in enumerate(started)))
        for node in started:
            await node.has_many(4)

        assert len({node.log.epoch for node in started}) == 1
        assert len({tuple(node.recorder.received) for node in started}) == 1
    finally:
        await asyncio.gather(*(node.__aexit__(None, None, None) for node in nodes))


async def test_late_node_reads_back(node_at: NodeAt, rabbitmq: SharedBroker) -> None:
    """A node that starts later gets what was logged within the time it is to read back."""
    async with node_at(rabbitmq.url) as early:
        await early.append(*range(5))
        await early.append(*range(5, 10))
        await early.has(*range(10))

        async with node_at(rabbitmq.url) as late:
            assert late.recorder.received == early.recorder.received
            assert late.recorder.begins == early.recorder.begins


async def test_late_node_knows_how_far_it_reaches(node_at: NodeAt, rabbitmq: SharedBroker) -> None:
    """What a late node's window covers is whole; what lies further back it does not claim."""
    async with node_at(rabbitmq.url) as early:
        await early.append(1)
        await early.append(2)
        await early.has(1, 2)
        old = early.recorder.window.position
        await eventually(_seconds_gone(3.0), "that is long ago")
        await early.append(3)
        await early.append(4)
        await early.has(1, 2, 3, 4)

        async with node_at(rabbitmq.url, read_back_seconds=1.5) as late:
            window = late.recorder.window
            assert {3, 4} <= set(late.recorder.numbers) < {1, 2, 3, 4}
            positions = [Position(old.epoch, logged.offset) for logged in early.recorder.received]
            assert [window.covers(position) for position in positions[1:]] == [True, True, True]
            assert not window.covers(positions[0]._replace(offset=positions[0].offset - 1))
            assert missed(late, old) == [3, 4]
            for position in filter(window.covers, positions):
                assert missed(late, position) == missed(early, position)


@pytest.mark.parametrize("ahead_seconds", [-1000.0, 1000.0])
async def test_clocks_may_differ(node_at: NodeAt, ahead_seconds: float, rabbitmq: SharedBroker) -> None:
    """A node whose clock is far from the broker's, either way, starts all the same and misses nothing."""
    async with node_at(rabbitmq.url) as early:
        await early.append(1, 2)
        # Where it begins to read, as if its clock were so far ahead.
        async with node_at(rabbitmq.url, read_back_seconds=-ahead_seconds) as late:
            await early.append(3)
            await eventually(lambda: 3 in late.recorder.numbers, "the new entry")


async def test_quiet_log_loses_nobody(node_at: NodeAt, rabbitmq: SharedBroker) -> None:
    """A node that finds nothing new covers who has come as far as the newest entry."""
    async with node_at(rabbitmq.url) as early:
        await early.append(1, 2)
        await early.has(1, 2)
        newest = Position(early.log.epoch, early.recorder.received[-1].offset)

    async with node_at(rabbitmq.url, read_back_seconds=0.0) as late:
        assert late.recorder.window.covers(newest)
        await late.append(3)
        await eventually(lambda: 3 in late.recorder.numbers, "the new entry")
        assert missed(late, newest) == [3]


async def test_restarted_broker_loses_and_repeats_nothing(node_at: NodeAt, broker_node: PrivateNode) -> None:
    """After kill -9 and restart of the broker, every confirmed entry has come once, in order, in one life."""
    async with node_at(broker_node.url) as node:
        await node.append(*range(100))
        await asyncio.to_thread(broker_node.kill)
        await eventually(lambda: not node.log.health().ok, "the tail to be lost")
        await asyncio.to_thread(broker_node.start)
        await eventually(lambda: node.log.health().ok, "caught up again", seconds_max=5.0)
        await node.append(*range(100, 200))
        await node.has(*range(200))

        assert len(node.recorder.begins) == 1
        async with node_at(broker_node.url) as late:
            assert late.recorder.received == node.recorder.received
            assert late.log.epoch == node.log.epoch


async def test_cut_connection_loses_and_repeats_nothing(node_at: NodeAt, rabbitmq: SharedBroker) -> None:
    """After its connection was cut, a node goes on where it was."""
    async with (
        node_at(rabbitmq.url) as other,
        proxied(rabbitmq.url) as (proxy, url),
        node_at(url) as node,
    ):
        await other.append(*range(10))
        await proxy.cut()
        await other.append(*range(10, 20))
        await node.has(*range(20))
        await proxy.cut()
        await other.append(*range(20, 30))
        await node.has(*range(30))

        assert len(node.recorder.begins) == 1
        assert node.recorder.received == other.recorder.received


async def test_deleted_stream_is_a_new_life(node_at: NodeAt, rabbitmq: SharedBroker, queue: str) -> None:
    """When the stream is deleted every node begins anew, in a new epoch that all agree on, and goes on."""
    async with (
        raw(rabbitmq.url) as channel,
        node_at(rabbitmq.url) as one,
        node_at(rabbitmq.url) as two,
    ):
        await one.append(1, 2)
        await two.has(1, 2)
        before = one.log.epoch

        await channel.queue_delete(queue)
        for node in (one, two):
            await node.begins_anew()
        await one.append(3)
        await one.has(3)
        await two.has(3)

        assert one.log.epoch == two.log.epoch != before
        assert one.recorder.begins[-1].epoch == one.log.epoch
        assert one.recorder.received == two.recorder.received
        assert not one.recorder.window.covers(Position(before, 0))


async def test_appends_are_refused_while_the_stream_is_gone(
    node_at: NodeAt, rabbitmq: SharedBroker, queue: str
) -> None:
    """While there is no stream an append raises; every append that does not is seen in the new life."""
    logged: list[int] = []
    refused = 0

    async def append_until(done: Callable[[], bool]) -> None:
        """Append one entry after the other; RabbitMQ may close the connection when the stream goes."""
        nonlocal refused
        with suppress(*RETRYABLE):
            async with node.appender() as appender:
                while not done():
                    number = len(logged) + refused
                    try:
                        await appender.append(entries(number))
                    except RETRYABLE:
                        refused += 1
                        raise
                    logged.append(number)

    async with raw(rabbitmq.url) as channel, node_at(rabbitmq.url) as node:
        await append_until(lambda: len(logged) >= 10)
        deleting = asyncio.create_task(channel.queue_delete(queue))
        async with asyncio.timeout(SECONDS_MAX):
            while not (refused and len(node.recorder.begins) == 2 and len(node.recorder.numbers) > 10):
                await append_until(lambda: len(node.recorder.numbers) > 10 and refused > 0)
        await deleting
        await eventually(lambda: logged[-1] in node.recorder.numbers, "the newest")

        # What was confirmed before the deletion may have gone with the stream; all that follows is there.
        assert node.recorder.numbers == logged[-len(node.recorder.numbers) :]


async def test_append_without_a_tail_is_refused(
    node_at: NodeAt, rabbitmq: SharedBroker, reader: Reader
) -> None:
    """A node whose tail is not attached appends nothing: nobody there would notice a duplicate."""
    async with (
        await connect(rabbitmq.url, "by hand", reader) as connection,
        source_of_nothing(connection) as source,
        proxied(rabbitmq.url) as (proxy, url),
        node_at(url) as node,
    ):
        proxy.swallow()
        await proxy.cut()
        await eventually(lambda: not node.log.health().ok, "the tail to be lost")

        with pytest.raises(LogUnavailableError, match="not attached"):
            await node.log.appender(source).append(entries(1))
        proxy.forward()


async def test_catching_up_has_an_end(node_at: NodeAt, rabbitmq: SharedBroker) -> None:
    """When the tail does not come up to date in time, catching up raises."""
    async with (
        raw(rabbitmq.url) as channel,
        proxied(rabbitmq.url) as (proxy, url),
        node_at(url) as node,
    ):
        proxy.swallow()

        with pytest.raises(LogUnavailableError, match="in time"):
            await node.log.catch_up(publisher_on(channel), seconds_max=0.2)
        proxy.forward()


async def test_foreign_messages_are_counted_and_skipped(
    node_at: NodeAt, rabbitmq: SharedBroker, queue: str
) -> None:
    """Messages that are not ours, or not whole, are counted; the entries around them come as ever."""
    whole = encode_batch(entries(8, 9))
    damaged = [
        b"",
        b"hello",
        b"B1",
        b"B1\xff\xff\xff\xff",
        b"B1\x00\x00\x00\x02{}",
        b"B1\x00\x00\x00\x02[]",
        b"B1\x00\x00\x00\x04[[]]",
        whole[:-1],
        whole + b"x",
        whole.replace(b"must_deliver", b"must_explode"),
    ]
    async with raw(rabbitmq.url) as channel, node_at(rabbitmq.url) as node:
        await node.append(1)
        for body in damaged:
            await put(channel, queue, body)
            await put(channel, queue, body, epoch=node.log.epoch)
        await node.append(2)
        await node.has(1, 2)

        assert node.stats.log_damaged == 2 * len(damaged)
        assert len(node.recorder.begins) == 1
        assert node.log.health().ok


async def test_foreign_messages_may_come_first(node_at: NodeAt, rabbitmq: SharedBroker, queue: str) -> None:
    """A stream that begins with other people's messages is given an epoch all the same, by all the same."""
    async with raw(rabbitmq.url) as channel:
        await declare(channel, queue)
        await put(channel, queue, b"hello")
        async with node_at(rabbitmq.url) as one, node_at(rabbitmq.url) as two:
            await one.append(1)
            await two.has(1)

            assert one.log.epoch == two.log.epoch
            assert one.stats.log_damaged >= 1


async def test_first_birth_counts(node_at: NodeAt, rabbitmq: SharedBroker, queue: str) -> None:
    """Of several births the first names the epoch; those behind others' messages count for nothing."""
    async with raw(rabbitmq.url) as channel:
        await declare(channel, queue)
        await put(channel, queue, epoch="first", mark=BIRTH)
        await put(channel, queue, epoch="second", mark=BIRTH)
        async with node_at(rabbitmq.url) as node:
            assert node.log.epoch == "first"


async def test_births_left_over_by_retention_do_not_rename_the_log(
    node_at: NodeAt, rabbitmq: SharedBroker, queue: str
) -> None:
    """If the oldest message that is left is a birth that had not counted, the epoch is what follows says."""
    async with raw(rabbitmq.url) as channel:
        await declare(channel, queue)
        await put(channel, queue, b"foreign, so that the next is not at offset 0")
        await put(channel, queue, epoch="late", mark=BIRTH)
        await put(channel, queue, encode_batch(entries(1)), epoch="true")
        async with node_at(rabbitmq.url) as node:
            assert node.log.epoch == "true"


async def test_write_by_who_had_not_noticed_names_the_new_life(
    node_at: NodeAt, rabbitmq: SharedBroker, queue: str
) -> None:
    """An entry that a node wrote under the old epoch into a new stream is seen, in an epoch of its own."""
    async with raw(rabbitmq.url) as channel:
        await declare(channel, queue)
        await put(channel, queue, encode_batch(entries(1, 2)), epoch="old")
        async with node_at(rabbitmq.url) as one, node_at(rabbitmq.url) as two:
            assert one.log.epoch == two.log.epoch != "old"
            assert one.recorder.numbers == two.recorder.numbers == [1, 2]
            assert one.recorder.begins[0].offset >= 0


async def test_overtaken_tail_begins_anew(node_at: NodeAt, rabbitmq: SharedBroker) -> None:
    """If entries between are gone when the next ones come, the reader is told, and goes on from there."""
    async with node_at(rabbitmq.url) as node:
        await node.append(1)
        await node.has(1)
        assert node.log._next is not None
        node.log._next -= stream.OWN_RECORDS_MAX + 1  # As if these had not come, and would not.

        await node.append(2)
        await node.has(2)

        assert len(node.recorder.begins) == 2
        assert node.recorder.begins[1].epoch == node.log.epoch
        assert node.recorder.begins[1].offset < node.recorder.received[0].offset
        assert not node.recorder.window.covers(node.recorder.begins[0])


async def test_new_segment_is_no_gap(
    node_at: NodeAt, rabbitmq: SharedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offset that the broker uses itself at the start of each segment is missed by nobody."""
    monkeypatch.setattr(stream, "SEGMENT_BYTES_MAX", 1_000_000)
    count = 30
    async with node_at(rabbitmq.url) as node:
        async with node.appender() as appender:
            for number in range(count):
                await appender.append([entry(number, payload_bytes=100_000)])
        await node.has(*range(count))

        offsets = [logged.offset // BATCH_ENTRIES_MAX for logged in node.recorder.received]
        assert offsets[-1] - offsets[0] >= count + 1, "no segment ended: this test shows nothing"
        assert len(node.recorder.begins) == 1


async def test_shortened_stream_begins_anew(node_at: NodeAt, rabbitmq: SharedBroker) -> None:
    """If the stream has lost its end, what comes at offsets that were seen before is not taken for old."""
    async with proxied(rabbitmq.url) as (proxy, url), node_at(url) as node:
        await node.append(1)
        await node.has(1)
        assert node.log._next is not None
        node.log._next += 1000  # As if so many more had been seen, that are no longer there.

        await proxy.cut()
        await node.begins_anew()
        await node.append(2)
        await eventually(lambda: 2 in node.recorder.numbers, "the entry")


async def test_big_payloads_are_split(node_at: NodeAt, rabbitmq: SharedBroker) -> None:
    """No message of the stream grows past the limit of bytes, unless one entry alone does."""
    big = [entry(number, payload_bytes=100_000) for number in range(10)]
    huge = entry(10, payload_bytes=2_000_000)
    async with node_at(rabbitmq.url) as node:
        async with node.appender() as appender:
            await appender.append([*big, huge, entry(11)])
        await node.has(*range(12))

        messages = {logged.offset // BATCH_ENTRIES_MAX for logged in node.recorder.received}
        assert len(messages) == 7


async def test_reading_goes_on_past_what_may_be_unacked(
    node_at: NodeAt, rabbitmq: SharedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader acks in time for the broker to send on, however much is written."""
    monkeypatch.setattr(stream, "TAIL_PREFETCH", 4)
    monkeypatch.setattr(stream, "TAIL_UNACKED_MAX", 3)
    async with node_at(rabbitmq.url) as node:
        async with node.appender() as appender:
            for number in range(40):
                await appender.append([entry(number)])
        await node.has(*range(40))


async def test_other_arguments_are_told(node_at: NodeAt, rabbitmq: SharedBroker, queue: str) -> None:
    """If the stream exists with another retention the node is not ready, and says of what and what to do."""
    async with raw(rabbitmq.url) as channel:
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "stream"})
        async with node_at(rabbitmq.url, caught_up=False) as node:
            health = await eventually(lambda: "event_log.retention" in node.log.health().detail, "the reason")

            assert health
            assert queue in node.log.health().detail
            assert not node.log.health().ok

            await channel.queue_delete(queue)
            await eventually(lambda: node.log.health().ok, "caught up")


def missed(node: StreamNode, since: Position) -> list[int]:
    """Return what the node's window has for who comes back with this position."""
    window = node.recorder.window
    return numbers(window.read(["all"], after=since.offset, up_to=window.head, entries_max=1000))


def _seconds_gone(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until
