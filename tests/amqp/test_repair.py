"""A whole node, whose broker is hurt: consumption comes back, nothing is lost, and health tells the truth."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity

from bridge.amqp import link, probe
from bridge.amqp.link import Connection, connect
from bridge.amqp.topology import Names
from bridge.app import Bridge
from bridge.settings import load
from devel.node import PrivateNode
from tests.amqp.bus import Bus, proxied
from tests.eventually import eventually
from tests.servers import Prefix, SharedBroker

BACK_SECONDS_MAX = 5.0
NOTICE_SECONDS_MAX = 10.0
SECONDS_MAX = 15.0
USER = "u1"


@asynccontextmanager
async def bridge_on(
    url: str, prefix: Prefix, *, log: str = "memory", ready: bool = True
) -> AsyncIterator[Bridge]:
    """Run a node for the length of the context; it is ready at the beginning."""
    settings = load(
        {
            "RABBITMQ_URL": url,
            "JWT_SECRET": "b7f1c0d2e3a4958677869504132231405",
            "BRIDGE_AMQP__PREFIX": prefix,
            "BRIDGE_AMQP__EXCHANGE": f"{prefix}.events",
            "BRIDGE_EVENT_LOG__KIND": log,
            "BRIDGE_WS__HOST": "127.0.0.1",
            "BRIDGE_WS__PORT": "0",
            "BRIDGE_ADMIN__PORT": "0",
        }
    )
    bridge = Bridge(settings)
    async with bridge.serving():
        if ready:
            await eventually(lambda: bridge.ready, "ready")
        yield bridge


class Changes:
    """The readiness of a node over time, watched closely."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.seen = [bridge.ready]
        self.unready_at: float | None = None  # When it was first not ready.

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            if self._bridge.ready != self.seen[-1]:
                self.seen.append(self._bridge.ready)
                if self.unready_at is None:
                    self.unready_at = time.monotonic()
            await asyncio.sleep(0.001)


@asynccontextmanager
async def watched(bridge: Bridge) -> AsyncIterator[Changes]:
    """Watch the readiness for the length of the context."""
    changes = Changes(bridge)
    watching = asyncio.create_task(changes.watch())
    try:
        yield changes
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def publish(bus: Bus, *numbers: int) -> None:
    """Publish an event for each number."""
    for number in numbers:
        event = {"userId": USER, "timestamp": "2026-11-21T10:00:00Z", "quotaId": "q1", "amount": number}
        await bus.publish("quota.deduct", json.dumps(event).encode(), message_id=str(number))


def handed_out(bridge: Bridge) -> list[int]:
    """Return the numbers of the events that the user's sockets would have been sent."""
    window = bridge.window
    seen = window.read([f"user:{USER}"], after=window.floor, up_to=window.head, entries_max=100_000)
    return [int(logged.entry.key.event_id) for logged in seen]


async def arrives(bridge: Bridge, *numbers: int, seconds_max: float = BACK_SECONDS_MAX) -> None:
    """Wait until exactly these have been handed out, each once and in order."""
    await eventually(lambda: handed_out(bridge) == list(numbers), f"{numbers}", seconds_max=seconds_max)


@asynccontextmanager
async def bus_at(url: str, prefix: Prefix) -> AsyncIterator[Bus]:
    """Yield a bus on a broker that can be hurt."""
    async with await connect(url, "test") as connection:
        channel = await connection.channel(on_return_raises=True)
        yield Bus(connection, channel, Names(f"{prefix}.events", prefix))


async def test_deleted_queues_are_made_again(rabbitmq: SharedBroker, prefix: Prefix, bus: Bus) -> None:
    """Queues that are deleted under the node are there again within 5 s; health tells of it meanwhile."""
    async with bridge_on(rabbitmq.url, prefix) as bridge, watched(bridge) as changes:
        await publish(bus, 1)
        await arrives(bridge, 1)

        for queue in ("quota", "unrouted", "dead"):
            await bus.channel.queue_delete(bus.queue(queue))

        await eventually(lambda: _exist(bus, "quota", "unrouted", "dead"), seconds_max=BACK_SECONDS_MAX)
        await eventually(lambda: bridge.ready, "ready", seconds_max=BACK_SECONDS_MAX)
        await eventually(lambda: changes.seen[:3] == [True, False, True], "told by health")
        await publish(bus, 2)
        await arrives(bridge, 1, 2)


async def test_events_of_a_deleted_queue_are_consumed(
    rabbitmq: SharedBroker, prefix: Prefix, bus: Bus
) -> None:
    """Events published while their queue is being made again are not lost."""
    async with bridge_on(rabbitmq.url, prefix) as bridge:
        await asyncio.gather(bus.channel.queue_delete(bus.queue("quota")), publish(bus, *range(100)))

        await eventually(lambda: sorted(handed_out(bridge)) == list(range(100)), "all events")


async def test_deleted_exchanges_are_made_again(rabbitmq: SharedBroker, prefix: Prefix, bus: Bus) -> None:
    """Exchanges that are deleted under the node are there again, bound, within 5 s; health tells of it."""
    async with bridge_on(rabbitmq.url, prefix) as bridge, watched(bridge) as changes:
        for exchange in ("in", "unrouted", "events"):
            await bus.channel.exchange_delete(bus.queue(exchange))

        await eventually(lambda: changes.seen == [True, False, True], "back", seconds_max=BACK_SECONDS_MAX)
        await publish(bus, 1)
        await arrives(bridge, 1)


async def test_removed_bindings_are_made_again(rabbitmq: SharedBroker, prefix: Prefix, bus: Bus) -> None:
    """Bindings that are removed under the node are there again within 5 s."""
    async with bridge_on(rabbitmq.url, prefix) as bridge:
        queue = await bus.channel.get_queue(bus.queue("quota"))
        await queue.unbind(bus.names.inbound, "quota.#")
        inbound = await bus.channel.get_exchange(bus.names.inbound)
        await inbound.unbind(bus.names.exchange, "#")

        async def bound() -> bool:
            await publish(bus, 1)
            return handed_out(bridge) == [1]

        await eventually(bound, "an event", seconds_max=BACK_SECONDS_MAX)


async def test_consumer_the_broker_does_not_know_is_attached_again(
    rabbitmq: SharedBroker, prefix: Prefix, bus: Bus
) -> None:
    """A consumer that is gone without a word is noticed by asking the broker, and attached again."""
    async with bridge_on(rabbitmq.url, prefix) as bridge:
        source = bridge._consumers[0]._source
        assert source is not None
        underlay: Any = await source._channel.get_underlay_channel()
        await underlay.basic_cancel(next(iter(underlay.consumers)))

        await publish(bus, 1)
        await arrives(bridge, 1)


async def test_conflict_makes_the_node_unready(
    rabbitmq: SharedBroker, prefix: Prefix, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When somebody has put something else in an exchange's place, health names it, until it is mended."""
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.2)
    async with bridge_on(rabbitmq.url, prefix) as bridge:
        await bus.channel.exchange_delete(bus.names.inbound)
        await bus.channel.declare_exchange(bus.names.inbound, "fanout")

        def named() -> bool:
            return any(not part.ok and bus.names.inbound in part.detail for part in bridge.health())

        await eventually(named, "the conflict", seconds_max=BACK_SECONDS_MAX)
        await bus.channel.exchange_delete(bus.names.inbound)
        await eventually(lambda: bridge.ready, "ready", seconds_max=BACK_SECONDS_MAX)


@pytest.mark.parametrize("log", ["memory", "stream"])
async def test_cut_connections_lose_nothing(
    log: str, rabbitmq: SharedBroker, prefix: Prefix, bus: Bus
) -> None:
    """Connections cut under load are made again at once; every event is handed out once, in order."""
    async with proxied(rabbitmq.url) as (proxy, url), bridge_on(url, prefix, log=log) as bridge:
        async with watched(bridge) as changes:
            for start in range(0, 400, 100):
                await publish(bus, *range(start, start + 100))
                await proxy.cut()
            await arrives(bridge, *range(400))
            await eventually(lambda: bridge.ready, "ready", seconds_max=BACK_SECONDS_MAX)

        assert changes.seen[:2] == [True, False]
        assert await bus.waiting("dead") == 0


async def test_black_hole_is_noticed(rabbitmq: SharedBroker, prefix: Prefix, bus: Bus) -> None:
    """When nothing passes between node and broker any more, that is known within 10 s, and soon mended."""
    async with proxied(rabbitmq.url) as (proxy, url), bridge_on(url, prefix, log="stream") as bridge:
        await publish(bus, 1)
        await arrives(bridge, 1)

        proxy.swallow()
        await publish(bus, *range(2, 50))
        await eventually(lambda: not bridge.ready, "noticed", seconds_max=NOTICE_SECONDS_MAX)
        await eventually(
            lambda: not any(part.ok for part in bridge.health() if "ingest" in part.part),
            "noticed on the connection that ingests",
            seconds_max=NOTICE_SECONDS_MAX,
        )

        await proxy.cut()
        proxy.forward()
        await eventually(lambda: bridge.ready, "ready", seconds_max=BACK_SECONDS_MAX)
        await arrives(bridge, *range(1, 50))


async def test_alarm_is_not_taken_for_death(
    broker_node: PrivateNode, prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is short of memory and takes nothing is waited for, on the connections there are."""
    times_blocked = 0
    ask = link._blocked

    async def asked(connection: Connection) -> bool:
        nonlocal times_blocked
        blocked = await ask(connection)
        times_blocked += blocked
        return blocked

    monkeypatch.setattr(link, "_blocked", asked)
    monkeypatch.setattr(link, "PULSE_SECONDS", 0.1)
    monkeypatch.setattr(link, "PULSE_SECONDS_MAX", 2.0)
    async with bridge_on(broker_node.url, prefix):
        pass
    async with bus_at(broker_node.url, prefix) as bus:
        await publish(bus, 1)
        await bus.publish("quota.deduct", b"to be dead-lettered, which the alarm does not allow")
        await publish(bus, 2)
    await asyncio.to_thread(broker_node.ctl, "set_vm_memory_high_watermark", "0.00001")
    try:
        # Who starts now may bury its first dead letter, and so be blocked, before all queues are attached.
        async with bridge_on(broker_node.url, prefix, ready=False) as bridge:
            await eventually(lambda: times_blocked >= 3, "an alarm")
            assert bridge.stats.reconnects == 0

            await asyncio.to_thread(broker_node.ctl, "set_vm_memory_high_watermark", "0.8")
            await arrives(bridge, 1, 2, seconds_max=SECONDS_MAX)
            assert bridge.stats.reconnects == 0
    finally:
        await asyncio.to_thread(broker_node.ctl, "set_vm_memory_high_watermark", "0.8")


async def test_killed_broker_loses_nothing(broker_node: PrivateNode, prefix: Prefix) -> None:
    """After kill -9 of the broker under load and its restart, the node consumes again within 5 s."""
    published: list[int] = []

    async def load() -> None:
        with suppress(AMQPError, OSError, RuntimeError):
            async with bus_at(broker_node.url, prefix) as bus:
                for number in range(100_000):
                    await publish(bus, number)
                    published.append(number)

    async with bridge_on(broker_node.url, prefix, log="stream") as bridge, watched(bridge) as changes:
        loading = asyncio.create_task(load())
        await eventually(lambda: len(handed_out(bridge)) > 50, "some events")
        await asyncio.to_thread(broker_node.kill)
        await eventually(lambda: not bridge.ready, "noticed", seconds_max=1.0)
        await loading
        await asyncio.to_thread(broker_node.start)

        await eventually(lambda: bridge.ready, "ready", seconds_max=BACK_SECONDS_MAX)
        async with bus_at(broker_node.url, prefix) as bus:
            await publish(bus, 1_000_000)
            await eventually(lambda: handed_out(bridge)[-1] == 1_000_000, "the next event")

        # The one in flight when the broker died may or may not have got in.
        got = handed_out(bridge)[:-1]
        assert got[: len(published)] == published
        assert len(got) <= len(published) + 1
        assert changes.seen[:2] == [True, False]


async def _exist(bus: Bus, *names: str) -> bool:
    """Tell whether all these queues exist."""
    for name in names:
        async with bus.connection.channel() as channel:
            try:
                await channel.get_queue(bus.queue(name))
            except ChannelNotFoundEntity:
                return False
    return True
