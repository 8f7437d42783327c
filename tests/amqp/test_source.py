"""A queue's deliveries in batches: what is read, acked, given back, and what is left when it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiormq
import pytest

from bridge.amqp.bulk import source_on
from bridge.amqp.channels import channel_on
from bridge.amqp.faults import SourceLostError
from bridge.amqp.link import Connection, Reader, connect
from bridge.amqp.source import StockSource
from bridge.core.delivery import Delivery
from tests.amqp.bus import BOTH_READERS, Bus, proxied
from tests.amqp.conftest import DELIVERY_LIMIT
from tests.eventually import eventually
from tests.servers import SharedBroker

SECONDS_MAX = 10.0

pytestmark = [BOTH_READERS, pytest.mark.usefixtures("topology")]


@asynccontextmanager
async def attached(connection: Connection, bus: Bus, *, prefetch: int = 100) -> AsyncIterator[StockSource]:
    """Attach to the queue `alpha` over a channel of its own, which is closed in the end."""
    async with channel_on(connection, confirms=False) as channel:
        source = source_on(connection, channel, bus.queue("alpha"), prefetch=prefetch)
        await source.start()
        yield source


async def read(source: StockSource, count: int) -> list[Delivery]:
    """Read until there are so many deliveries, acking none."""
    deliveries: list[Delivery] = []
    async with asyncio.timeout(SECONDS_MAX):
        while len(deliveries) < count:
            deliveries += await source.read()
    return deliveries


def bodies(deliveries: list[Delivery]) -> list[bytes]:
    """Return the bodies of deliveries."""
    return [delivery.body for delivery in deliveries]


def numbered(count: int) -> list[bytes]:
    """Return bodies that can be told apart."""
    return [b"%d" % number for number in range(count)]


async def test_deliveries_come_in_order_and_in_batches(bus: Bus) -> None:
    """What waits comes in queue order, in far fewer reads than deliveries, and no read is empty."""
    await bus.put("alpha", *numbered(300))
    batches: list[list[Delivery]] = []
    async with attached(bus.connection, bus) as source, asyncio.timeout(SECONDS_MAX):
        while sum(len(batch) for batch in batches) < 300:
            batch = await source.read()
            batches.append(list(batch))
            await source.ack(batch[-1])

    assert all(batches)
    assert len(batches) < 150
    assert [delivery.body for batch in batches for delivery in batch] == numbered(300)


async def test_delivery_carries_what_was_published(bus: Bus) -> None:
    """Routing key, body and properties arrive as they were published; a first delivery is not redelivered."""
    at = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
    await bus.publish(
        "alpha.happened",
        b"\x00\xff",
        message_id="m1",
        content_type="application/json",
        content_encoding="utf-8",
        timestamp=at,
        headers={"traceparent": "00-1-2-00"},
        app_id="alpha-service",
    )

    async with attached(bus.connection, bus) as source:
        (delivery,) = await read(source, 1)

    assert (delivery.routing_key, delivery.body) == ("alpha.happened", b"\x00\xff")
    assert (delivery.message_id, delivery.timestamp) == ("m1", at)
    assert (delivery.content_type, delivery.content_encoding) == ("application/json", "utf-8")
    assert delivery.headers == {"traceparent": "00-1-2-00"}
    assert delivery.others["app_id"] == "alpha-service"
    assert not delivery.redelivered


async def test_ack_settles_every_earlier_delivery(bus: Bus) -> None:
    """Acking one delivery settles it and all before it; those after it come back."""
    await bus.put("alpha", *numbered(5))
    async with attached(bus.connection, bus) as source:
        deliveries = await read(source, 5)
        await source.ack(deliveries[2])

    async with attached(bus.connection, bus) as source:
        again = await read(source, 2)

    assert bodies(again) == [b"3", b"4"]
    assert all(delivery.redelivered for delivery in again)


async def test_requeued_delivery_comes_back_alone(bus: Bus) -> None:
    """Giving one delivery back brings it again, marked; the rest can be acked around it."""
    await bus.put("alpha", *numbered(3))
    async with attached(bus.connection, bus) as source:
        deliveries = await read(source, 3)
        await source.requeue(deliveries[1])
        await source.ack(deliveries[2])
        (again,) = await read(source, 1)
        assert (again.body, again.redelivered) == (b"1", True)
        await source.ack(again)

    assert await bus.waiting("alpha") == 0


async def test_delivery_that_keeps_coming_back_is_dead_lettered(bus: Bus) -> None:
    """Past its delivery limit the broker moves a delivery to the dead letters, saying why; others follow."""
    await bus.put("alpha", b"broken", b"sound")
    async with attached(bus.connection, bus, prefetch=1) as source:
        for _ in range(DELIVERY_LIMIT + 1):
            (delivery,) = await read(source, 1)
            assert delivery.body == b"broken"
            await source.requeue(delivery)
        (delivery,) = await read(source, 1)
        assert delivery.body == b"sound"

    letter = await bus.take("dead")
    assert letter.body == b"broken"
    deaths = letter.headers["x-death"]
    assert isinstance(deaths, list)
    assert isinstance(deaths[0], dict)
    assert (deaths[0]["reason"], deaths[0]["queue"]) == ("delivery_limit", bus.queue("alpha"))


async def test_nothing_is_unacked_once_all_is_settled(bus: Bus) -> None:
    """The oldest unacked delivery is known while there is one, however it is settled."""
    async with attached(bus.connection, bus) as source:
        await bus.put("alpha", b"first")
        (delivery,) = await read(source, 1)
        assert source.oldest_unacked_at == delivery.received_at

        await source.requeue(delivery)
        assert source.oldest_unacked_at != delivery.received_at

        (delivery,) = await read(source, 1)
        await source.ack(delivery)
        assert source.oldest_unacked_at is None


async def test_what_is_held_back_stays_unacked(bus: Bus) -> None:
    """Deliveries behind the one that was acked, and read before others, are still the oldest unacked ones."""
    async with attached(bus.connection, bus) as source:
        await bus.put("alpha", b"first", b"held")
        first, held = await read(source, 2)
        await source.ack(first)
        await bus.put("alpha", b"third")
        (third,) = await read(source, 1)

        assert source.oldest_unacked_at == held.received_at < third.received_at


async def test_prefetch_bounds_what_is_in_hand(bus: Bus) -> None:
    """No more than `prefetch` deliveries are taken out of the queue before some are acked."""
    await bus.put("alpha", *numbered(30))
    async with attached(bus.connection, bus, prefetch=10) as source:
        deliveries = await read(source, 10)
        assert await bus.waiting("alpha") == 20
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await source.read()

        await source.ack(deliveries[-1])
        assert bodies(await read(source, 10)) == numbered(30)[10:20]


async def test_stop_gives_back_what_was_not_read(bus: Bus) -> None:
    """After stop nothing more is read; what was read can still be acked, the rest returns, in order."""
    await bus.put("alpha", *numbered(20))
    async with attached(bus.connection, bus, prefetch=10) as source:
        deliveries = await source.read()
        source.stop()
        source.stop()

        assert await source.read() == ()
        await source.ack(deliveries[-1])

    async with attached(bus.connection, bus) as source:
        rest = await read(source, 20 - len(deliveries))
    assert bodies([*deliveries, *rest]) == numbered(20)


async def test_stop_ends_a_read_that_waits(bus: Bus) -> None:
    """A read that waits on an empty queue returns nothing when the source is stopped."""
    async with attached(bus.connection, bus) as source:
        reading = asyncio.create_task(_read_once(source))
        source.stop()

        assert await asyncio.wait_for(reading, SECONDS_MAX) == []


async def test_queue_deleted_under_it_is_told(bus: Bus) -> None:
    """When the broker cancels the consumer, a read that waits raises, and the source is not alive."""
    async with attached(bus.connection, bus) as source:
        reading = asyncio.create_task(_read_once(source))
        await bus.channel.queue_delete(bus.queue("alpha"))

        with pytest.raises(SourceLostError, match="cancelled by the broker"):
            await asyncio.wait_for(reading, SECONDS_MAX)
        assert not source.alive


async def test_channel_closed_by_the_broker_is_told_with_its_reason(bus: Bus) -> None:
    """When the broker closes the channel, reading raises with what the broker said."""
    async with attached(bus.connection, bus) as source:
        await source.ack(Delivery("alpha", b"", received_at=0.0, tag=77))

        with pytest.raises(SourceLostError, match="unknown delivery tag 77"):
            await asyncio.wait_for(_read_once(source), SECONDS_MAX)
        assert not source.alive


async def test_cut_connection_is_told(bus: Bus, rabbitmq: SharedBroker, reader: Reader) -> None:
    """When the connection is cut, reading raises; what was in hand is delivered to the next consumer."""
    async with (
        proxied(rabbitmq.url) as (proxy, url),
        await connect(url, "test", reader) as connection,
        attached(connection, bus) as source,
    ):
        await bus.put("alpha", b"in hand")
        await read(source, 1)

        await proxy.cut()

        with pytest.raises(SourceLostError):
            await asyncio.wait_for(_read_once(source), SECONDS_MAX)

    async with attached(bus.connection, bus) as source:
        (delivery,) = await read(source, 1)
    assert (delivery.body, delivery.redelivered) == (b"in hand", True)


async def test_cancellation_acks_nothing(bus: Bus) -> None:
    """A task that is cancelled amid its work leaves every delivery in the queue, in order."""
    await bus.put("alpha", *numbered(100))

    async def work(source: StockSource) -> None:
        await read(source, 100)
        await asyncio.Event().wait()

    async with attached(bus.connection, bus) as source:
        working = asyncio.create_task(work(source))
        await eventually(lambda: _is(bus, "alpha", waiting=0), "all in hand")
        working.cancel()
        await asyncio.wait([working])

    async with attached(bus.connection, bus) as source:
        assert bodies(await read(source, 100)) == numbered(100)


async def test_one_consumer_is_active_and_another_takes_over(
    bus: Bus, rabbitmq: SharedBroker, reader: Reader
) -> None:
    """A second consumer gets nothing while the first lives, then everything that was not acked, in order."""
    async with await connect(rabbitmq.url, "standby", reader) as other, AsyncExitStack() as first:
        active = await first.enter_async_context(attached(bus.connection, bus))
        async with attached(other, bus) as standby:
            await bus.put("alpha", *numbered(4))
            deliveries = await read(active, 4)
            await active.ack(deliveries[1])
            assert standby.oldest_unacked_at is None

            await first.aclose()

            again = await read(standby, 2)
            await bus.put("alpha", b"4")
            assert bodies(again + await read(standby, 1)) == [b"2", b"3", b"4"]
            assert [delivery.redelivered for delivery in again] == [True, True]


async def _read_once(source: StockSource) -> list[Delivery]:
    return list(await source.read())


async def _is(bus: Bus, name: str, *, waiting: int) -> bool:
    return await bus.waiting(name) == waiting


async def test_a_cancellation_at_the_moment_of_an_answer(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is cancelled just when the broker answers does not begin to wait for deliveries."""
    asked = aiormq.Channel.basic_consume

    async def answered(channel: aiormq.Channel, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - aiormq's
        answer = await asked(channel, *args, **kwargs)
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # As asyncio.wait_for does before Python 3.12.
            await asyncio.sleep(0)
        return answer

    async def work() -> None:
        async with attached(bus.connection, bus) as source:
            await source.read()

    monkeypatch.setattr(aiormq.Channel, "basic_consume", answered)
    working = asyncio.create_task(work())
    done, _ = await asyncio.wait([working], timeout=10)

    working.cancel()
    assert done, "it waits for deliveries"
    assert working.cancelled()
