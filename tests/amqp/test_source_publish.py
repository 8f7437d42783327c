"""Publishing over a source's own channel: one contract, whoever writes the frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from bridge.amqp import bulk, link, publisher
from bridge.amqp.bulk import source_on
from bridge.amqp.channels import channel_on
from bridge.amqp.link import RETRYABLE, Connection, Reader, connect
from bridge.amqp.publisher import PublishFailedError, RefusedByBrokerError
from bridge.amqp.source import StockSource
from bridge.core.delivery import Delivery
from devel.node import PrivateNode
from tests.amqp.bus import BOTH_READERS, Bus, proxied
from tests.amqp.logs import source_of_nothing
from tests.eventually import eventually
from tests.servers import SharedBroker

SECONDS_MAX = 15.0
AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)

pytestmark = [BOTH_READERS, pytest.mark.usefixtures("topology")]


@pytest.fixture
async def source(bus: Bus) -> AsyncIterator[StockSource]:
    """A source to publish by."""
    async with source_of_nothing(bus.connection) as source:
        yield source


@asynccontextmanager
async def reading(connection: Connection, queue: str) -> AsyncIterator[StockSource]:
    """Attach to a queue."""
    async with channel_on(connection, confirms=True) as channel:
        source = source_on(connection, channel, queue, prefetch=10)
        await source.start()
        yield source


async def first_of(source: StockSource) -> Delivery:
    """Return the next delivery."""
    async with asyncio.timeout(SECONDS_MAX):
        return (await source.read())[0]


async def test_published_message_is_in_the_queue(bus: Bus, source: StockSource) -> None:
    """When publishing returns, the message is in its queue, persistent, with its properties."""
    await source.publish("", bus.queue("alpha"), b"1", {"headers": {"n": 1}, "timestamp": AT})
    await source.publish(bus.names.inbound, "alpha.happened", b"2", {"message_id": "m2"})

    assert await bus.waiting("alpha") == 2
    one, two = await bus.take("alpha"), await bus.take("alpha")
    assert (one.body, one.headers["n"], one.timestamp, one.delivery_mode) == (b"1", 1, AT, 2)
    assert (two.body, two.message_id, two.routing_key) == (b"2", "m2", "alpha.happened")


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 1_048_576, 5_000_000])
async def test_body_of_any_size_goes_both_ways(bus: Bus, size: int) -> None:
    """A body comes back as it was published, in as many frames as it takes."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with reading(bus.connection, bus.queue("alpha")) as source:
        await source.publish("", bus.queue("alpha"), body, {"message_id": "m1"})
        await source.publish("", bus.queue("alpha"), b"next", {})
        large = await first_of(source)
        assert large.body == body
        await source.ack(large)


async def test_what_no_queue_takes_is_an_error(bus: Bus, source: StockSource) -> None:
    """A message that reaches no queue raises, names where it went, and the channel goes on."""
    with pytest.raises(
        PublishFailedError, match="no queue takes 'nowhere' from the default exchange"
    ) as told:
        await source.publish("", "nowhere", b"1", {})
    assert not isinstance(told.value, RefusedByBrokerError)
    with pytest.raises(PublishFailedError, match=f"no queue takes 'x' from {bus.names.dead}"):
        async with _exchange(bus) as exchange:
            await source.publish(exchange, "x", b"1", {"message_id": "m1"})

    await source.publish("", bus.queue("alpha"), b"2", {})
    assert source.alive


async def test_refused_message_is_an_error(bus: Bus, source: StockSource) -> None:
    """A queue that is full and rejects raises, and the channel goes on."""
    full = await bus.channel.declare_queue(
        bus.queue("beta.full"), exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    await source.publish("", full.name, b"1", {})

    with pytest.raises(RefusedByBrokerError, match="a queue is full"):
        await source.publish("", full.name, b"2", {})

    await full.purge()
    await source.publish("", full.name, b"3", {})


async def test_missing_exchange_loses_the_channel(bus: Bus, source: StockSource) -> None:
    """Publishing to an exchange that is not there raises, and so does whatever is published after it."""
    with pytest.raises(PublishFailedError, match="no exchange"):
        await source.publish(bus.queue("never"), "key", b"1", {})

    await eventually(lambda: not source.alive, "lost")
    with pytest.raises(PublishFailedError):
        await source.publish("", bus.queue("alpha"), b"2", {})
    assert await bus.waiting("alpha") == 0


async def test_cut_connection_is_an_error(bus: Bus, rabbitmq: SharedBroker, reader: Reader) -> None:
    """A connection that breaks before the confirmation raises what can go right the next time."""
    async with (
        proxied(rabbitmq.url) as (proxy, url),
        await connect(url, "test", reader) as connection,
        source_of_nothing(connection) as source,
    ):
        proxy.swallow()
        publishing = asyncio.create_task(source.publish("", bus.queue("alpha"), b"1", {}))

        await proxy.cut()

        with pytest.raises(PublishFailedError):
            await asyncio.wait_for(publishing, SECONDS_MAX)
        with pytest.raises(PublishFailedError):
            await asyncio.wait_for(source.publish("", bus.queue("alpha"), b"2", {}), SECONDS_MAX)
        proxy.forward()


async def test_confirmation_that_does_not_come_is_an_error(
    bus: Bus, rabbitmq: SharedBroker, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that is not confirmed in time is refused; once bytes pass again, publishing goes on."""
    async with (
        proxied(rabbitmq.url) as (proxy, url),
        await connect(url, "test", reader) as connection,
        source_of_nothing(connection) as source,
    ):
        proxy.swallow()
        with monkeypatch.context() as quick:
            for module in (bulk, publisher):
                quick.setattr(module, "CONFIRM_SECONDS_MAX", 0.2)
            with pytest.raises(RefusedByBrokerError, match=r"no confirmation within 0\.2 s"):
                await source.publish("", bus.queue("alpha"), b"late", {})
        proxy.forward()

        await source.publish("", bus.queue("alpha"), b"next", {})

    assert [(await bus.take("alpha")).body for _ in range(2)] == [b"late", b"next"]


@pytest.mark.parametrize("steps", range(8))
async def test_cancelled_publish_disturbs_nobody(
    bus: Bus, source: StockSource, reader: Reader, steps: int
) -> None:
    """Cancelled at any await, also of a message that comes back, the next message is confirmed as itself."""
    if reader == "stock":
        pytest.skip("aiormq now and then waits for ever for the confirm that follows a cancelled publish")
    for key in (bus.queue("alpha"), "nowhere"):
        await _cancelled_after(steps, source.publish("", key, b"cancelled", {}))
        await asyncio.wait_for(source.publish("", bus.queue("beta"), b"next", {}), SECONDS_MAX)
    with pytest.raises(PublishFailedError, match="no queue takes"):
        await source.publish("", "nowhere", b"again", {})

    assert await bus.waiting("beta") == 2
    assert await bus.waiting("alpha") <= 1
    assert source.alive


async def test_several_publishers_share_a_channel(bus: Bus, source: StockSource) -> None:
    """What several publish at once is answered each by itself."""
    keys = [bus.queue("alpha"), "nowhere"] * 20

    answers = await asyncio.gather(
        *(source.publish("", key, b"", {}) for key in keys), return_exceptions=True
    )

    assert [isinstance(answer, PublishFailedError) for answer in answers] == [False, True] * 20
    assert await bus.waiting("alpha") == 20


@pytest.mark.parametrize("steps", range(0, 12, 2))
async def test_connection_may_be_cut_at_any_moment(
    bus: Bus, rabbitmq: SharedBroker, reader: Reader, steps: int
) -> None:
    """Whatever a source is doing when its connection is cut raises what can go right the next time."""

    async def work(url: str) -> None:
        async with await connect(url, "test", reader) as connection:
            begun.set()
            async with reading(connection, bus.queue("alpha")) as source:
                while True:
                    await source.publish("", bus.queue("alpha"), b"x" * 200_000, {})
                    await source.ack((await source.read())[-1])

    begun = asyncio.Event()
    async with proxied(rabbitmq.url) as (proxy, url):
        working = asyncio.create_task(work(url))
        await begun.wait()
        for _ in range(2**steps):
            await asyncio.sleep(0)
        await proxy.cut()

        with pytest.raises(RETRYABLE):
            await asyncio.wait_for(working, SECONDS_MAX)


async def test_blocked_connection_is_waited_for(
    broker_node: PrivateNode, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the broker is short of memory a message waits; it is confirmed when the alarm is over."""
    for module in (bulk, publisher):
        monkeypatch.setattr(module, "CONFIRM_SECONDS_MAX", 60.0)  # Until the alarm is over.
    async with (
        await connect(broker_node.url, "test", reader) as connection,
        source_of_nothing(connection) as source,
    ):
        queue = source._queue_name
        await asyncio.to_thread(broker_node.ctl, "set_vm_memory_high_watermark", "0.00001")
        try:
            publishing = asyncio.create_task(source.publish("", queue, b"1", {}))
            await eventually(lambda: link._blocked(connection), "blocked")
            assert not publishing.done()
        finally:
            await asyncio.to_thread(broker_node.ctl, "set_vm_memory_high_watermark", "0.8")

        await asyncio.wait_for(publishing, SECONDS_MAX)
        assert (await first_of(source)).body == b"1"


async def test_connection_closed_by_the_broker_is_told(broker_node: PrivateNode, reader: Reader) -> None:
    """When the broker closes the connection, who reads and who publishes are told."""
    async with (
        await connect(broker_node.url, "test", reader) as connection,
        source_of_nothing(connection) as source,
    ):
        read = asyncio.create_task(first_of(source))
        await asyncio.to_thread(broker_node.ctl, "close_all_connections", "by an operator")

        with pytest.raises(RETRYABLE):
            await asyncio.wait_for(read, SECONDS_MAX)
        with pytest.raises(PublishFailedError):
            await asyncio.wait_for(source.publish("", "x", b"", {}), SECONDS_MAX)
        assert not source.alive


async def _cancelled_after(steps: int, work: object) -> None:
    working = asyncio.ensure_future(work)  # type: ignore[call-overload] # a coroutine
    for _ in range(steps):
        await asyncio.sleep(0)
    working.cancel()
    await asyncio.wait([working])


@asynccontextmanager
async def _exchange(bus: Bus) -> AsyncIterator[str]:
    """Yield the name of an exchange that nothing is bound to."""
    exchange = await bus.channel.declare_exchange(bus.names.dead, auto_delete=True)
    yield exchange.name
    await exchange.delete()
