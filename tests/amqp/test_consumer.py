"""A domain's consumer stays attached to its queue, whatever happens to either."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bridge.amqp import consumer
from bridge.amqp.consumer import DomainConsumer
from bridge.amqp.link import Connection, Reader, connect
from bridge.amqp.publisher import PublishFailedError
from bridge.amqp.source import StockSource
from bridge.amqp.topology import Topology
from bridge.core.catalogue import Domain
from tests.amqp.bus import BOTH_READERS, Bus, proxied
from tests.eventually import eventually
from tests.servers import SharedBroker

SECONDS_MAX = 10.0
BACK_SECONDS_MAX = 5.0

pytestmark = BOTH_READERS


class Worker:
    """Acks what it reads, and keeps the bodies. `fail` is raised once by the next batch, before any ack."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.attached = 0
        self.fail: Exception | None = None
        self.go_on = asyncio.Event()  # Cleared, it holds a batch in hand.
        self.go_on.set()
        self.in_hand = 0

    async def work(self, source: StockSource, _connection: Connection) -> None:
        """Work as ingest does."""
        self.attached += 1
        while batch := await source.read():
            self.in_hand = len(batch)
            await self.go_on.wait()
            if self.fail is not None:
                fail, self.fail = self.fail, None
                raise fail
            self.bodies += [delivery.body for delivery in batch]
            await source.ack(batch[-1])
            self.in_hand = 0


async def at_once() -> None:
    """Be ready."""


@asynccontextmanager
async def running(
    connection: Connection,
    topology: Topology,
    worker: Worker,
    *,
    ready: Callable[[], Awaitable[None]] = at_once,
) -> AsyncIterator[tuple[DomainConsumer, asyncio.Task[None]]]:
    """Run a consumer of `alpha` for the length of the context."""
    own = DomainConsumer(topology.domains[0], topology, worker.work, ready=ready, prefetch=100)
    task = asyncio.create_task(own.run(connection))
    try:
        yield own, task
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def worker() -> Worker:
    """A worker that has nothing yet."""
    return Worker()


async def test_it_declares_attaches_and_works(bus: Bus, alpha: Domain, worker: Worker) -> None:
    """On a broker where nothing stands yet it declares everything, attaches and works; its health says so."""
    topology = Topology(bus.names, [alpha], delivery_limit=3)

    async with running(bus.connection, topology, worker) as (attached, _):
        assert not attached.health().ok
        await eventually(lambda: attached.attached, "attached")
        await bus.publish("alpha.happened", b"1")
        await eventually(lambda: worker.bodies == [b"1"], "the event")
        assert attached.health().ok
        assert attached.health().part == bus.queue("alpha")

    assert not attached.attached


async def test_it_waits_until_it_can_work(bus: Bus, topology: Topology, worker: Worker) -> None:
    """While the node is not ready nothing is attached, so that another node's consumer can be active."""
    ready = asyncio.Event()

    async def wait() -> None:
        await ready.wait()

    async with running(bus.connection, topology, worker, ready=wait) as (attached, _):
        await bus.put("alpha", b"1")
        await eventually(lambda: _counts(bus, waiting=1, consumers=0), "the event, waiting")
        assert not attached.attached

        ready.set()
        await eventually(lambda: worker.bodies == [b"1"], "the event")


async def test_stop_finishes_what_is_in_hand(bus: Bus, topology: Topology, worker: Worker) -> None:
    """Stopped amid a batch, it finishes and acks that, takes nothing more, and is done."""
    async with running(bus.connection, topology, worker) as (attached, task):
        worker.go_on.clear()
        await bus.put("alpha", b"1", b"2")
        await eventually(lambda: worker.in_hand, "a batch in hand")

        attached.stop()
        await bus.put("alpha", b"3")
        worker.go_on.set()
        await asyncio.wait_for(task, SECONDS_MAX)

    worked = list(worker.bodies)
    assert worked[0] == b"1"
    await eventually(lambda: _counts(bus, waiting=3 - len(worked), consumers=0), "the rest in the queue")


async def test_stop_ends_a_consumer_that_is_not_attached(
    bus: Bus, topology: Topology, worker: Worker
) -> None:
    """Stopped while it waits for the node to be ready, it is done at once."""
    async with running(bus.connection, topology, worker, ready=asyncio.Event().wait) as (attached, task):  # type: ignore[arg-type] # what it returns is not asked for
        attached.stop()

        await asyncio.wait_for(task, 1.0)
    assert worker.attached == 0


async def test_queue_deleted_under_it_is_made_again(bus: Bus, topology: Topology, worker: Worker) -> None:
    """When its queue is deleted, it is declared anew, bound, and consumed within 5 s."""
    async with running(bus.connection, topology, worker) as (attached, _):
        await eventually(lambda: attached.attached, "attached")

        await bus.channel.queue_delete(bus.queue("alpha"))

        await eventually(lambda: worker.attached == 2, "attached again", seconds_max=BACK_SECONDS_MAX)
        await bus.publish("alpha.happened", b"1")
        await eventually(lambda: worker.bodies == [b"1"], "the event")


@pytest.mark.parametrize("fault", [PublishFailedError("not confirmed"), TimeoutError("too late")])
async def test_failed_work_is_done_again(
    fault: Exception, bus: Bus, topology: Topology, worker: Worker
) -> None:
    """When the work fails for now, nothing is acked, and it attaches again and gets everything again."""
    async with running(bus.connection, topology, worker) as (attached, _):
        await eventually(lambda: attached.attached, "attached")
        worker.fail = fault
        await bus.put("alpha", b"1", b"2", b"3")

        await eventually(lambda: worker.bodies == [b"1", b"2", b"3"], "all events, in order")
        assert worker.attached == 2


async def test_fault_of_ours_is_loud(bus: Bus, topology: Topology, worker: Worker) -> None:
    """What cannot go right the next time is raised."""
    async with running(bus.connection, topology, worker) as (_, task):
        worker.fail = ZeroDivisionError("ours")
        await bus.put("alpha", b"1")

        with pytest.raises(ZeroDivisionError, match="ours"):
            await asyncio.wait_for(asyncio.shield(task), SECONDS_MAX)


async def test_doubt_attaches_anew(bus: Bus, topology: Topology, worker: Worker) -> None:
    """Told that the broker does not know its consumer, it attaches again."""
    async with running(bus.connection, topology, worker) as (attached, _):
        await eventually(lambda: attached.attached, "attached")

        attached.doubt("this is a test")

        await eventually(lambda: worker.attached == 2, "attached again", seconds_max=BACK_SECONDS_MAX)
        await eventually(lambda: _counts(bus, waiting=0, consumers=1), "one consumer")


async def test_conflict_is_told_and_outlived(bus: Bus, topology: Topology, worker: Worker) -> None:
    """While its queue cannot be declared its health names the queue; once it can, it attaches."""
    await bus.channel.queue_delete(bus.queue("alpha"))
    await bus.channel.declare_queue(bus.queue("alpha"))
    async with running(bus.connection, topology, worker) as (attached, _):
        await eventually(lambda: f"'{bus.queue('alpha')}'" in attached.health().detail, "the conflict")
        assert not attached.health().ok

        await bus.channel.queue_delete(bus.queue("alpha"))

        await eventually(lambda: attached.health().ok, "attached", seconds_max=BACK_SECONDS_MAX)


async def test_long_conflict_does_not_make_it_slow(
    bus: Bus, topology: Topology, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long its queue could not be declared, it attaches within 5 s once that is mended."""
    monkeypatch.setattr(consumer, "BACKOFF_SECONDS_FIRST", 60.0)  # As after many tries.
    monkeypatch.setattr(random, "uniform", lambda _, ceiling: ceiling)
    await bus.channel.queue_delete(bus.queue("alpha"))
    await bus.channel.declare_queue(bus.queue("alpha"))
    async with running(bus.connection, topology, worker) as (attaching, _):
        await eventually(lambda: "PRECONDITION_FAILED" in attaching.health().detail, "the conflict")
        await bus.channel.queue_delete(bus.queue("alpha"))

        await eventually(lambda: attaching.attached, "attached", seconds_max=BACK_SECONDS_MAX)


async def test_cancellation_acks_nothing(bus: Bus, topology: Topology, worker: Worker) -> None:
    """Cancelled amid a batch, it leaves every delivery in the queue."""
    async with running(bus.connection, topology, worker):
        worker.go_on.clear()
        await bus.put("alpha", b"1", b"2")
        await eventually(lambda: worker.in_hand, "a batch in hand")

    await eventually(lambda: _counts(bus, waiting=2, consumers=0), "both back")
    assert worker.bodies == []


async def test_lost_connection_ends_the_run(
    topology: Topology, worker: Worker, rabbitmq: SharedBroker, reader: Reader
) -> None:
    """When its connection is cut it returns, so that it can be run on the next one."""
    async with (
        proxied(rabbitmq.url) as (proxy, url),
        await connect(url, "test", reader) as connection,
        running(connection, topology, worker) as (attached, task),
    ):
        await eventually(lambda: attached.attached, "attached")

        await proxy.cut()

        await asyncio.wait_for(task, SECONDS_MAX)
        assert not attached.attached


async def test_another_node_takes_over(
    bus: Bus, topology: Topology, rabbitmq: SharedBroker, reader: Reader
) -> None:
    """When the active consumer's connection is cut, the standby gets what was in hand, and all in order."""
    first, second = Worker(), Worker()
    first.go_on.clear()
    async with (
        proxied(rabbitmq.url) as (proxy, url),
        await connect(url, "first", reader) as connection,
        running(connection, topology, first) as (active, _),
    ):
        await eventually(lambda: active.attached, "the first attached")
        async with running(bus.connection, topology, second) as (standby, _):
            await eventually(lambda: standby.attached, "the second attached")
            await bus.put("alpha", b"1", b"2")
            await eventually(lambda: first.in_hand, "a batch in the first's hand")
            assert second.bodies == []

            await proxy.cut()
            await bus.put("alpha", b"3")

            await eventually(lambda: second.bodies == [b"1", b"2", b"3"], "all events at the second")


async def _counts(bus: Bus, *, waiting: int, consumers: int) -> bool:
    return (await bus.waiting("alpha"), await bus.consumers("alpha")) == (waiting, consumers)
