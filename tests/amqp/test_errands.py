"""An operator's errands on the bus: whatever happens to the broker meanwhile, no letter is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from bridge.amqp.dead import browse
from bridge.amqp.errands import ERRANDS_WAITING_MAX, Errands
from bridge.amqp.link import close, connect
from bridge.amqp.topology import Names, Topology
from bridge.core.console import BODY_SHOWN_BYTES_MAX, BusUnavailableError
from bridge.core.delivery import Delivery
from tests.amqp.bus import Bus
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.servers import SharedBroker

LETTERS = 150  # So that bringing all of them back takes a while.


@pytest.fixture
async def proxy(rabbitmq: SharedBroker) -> AsyncIterator[Proxy]:
    """What stands between the errands and the broker."""
    url = URL(rabbitmq.url)
    async with Proxy(url.host or "", url.port or 5672) as proxy:
        yield proxy


@pytest.fixture
def errands(rabbitmq: SharedBroker, proxy: Proxy, names: Names, topology: Topology) -> Errands:  # noqa: ARG001 - declared
    """Errands through the proxy."""
    url = URL(rabbitmq.url).with_host("127.0.0.1").with_port(proxy.port)
    return Errands(str(url), "test", names)


async def ids_of(bus: Bus) -> list[str]:
    """Return the ids of the dead letters that are ready."""
    async with browse(bus.connection, bus.names, letters_max=1_000) as letters:
        return [letter.id async for letter in letters]


async def count_of(bus: Bus, name: str) -> int:
    """Return how many messages are ready in a queue."""
    queue = await bus.channel.declare_queue(bus.queue(name), passive=True)
    return queue.declaration_result.message_count or 0


@pytest.mark.parametrize("how", ["cut", "cancel"])
async def test_a_replay_that_is_interrupted(errands: Errands, proxy: Proxy, bus: Bus, how: str) -> None:
    """What a replay has not brought back is still among the dead letters; nothing is in neither place."""
    await bus.put("dead", *(b"%d" % number for number in range(LETTERS)))
    ids = await ids_of(bus)
    task = asyncio.create_task(errands.replay(frozenset(ids)))
    await eventually(lambda: count_of(bus, "unrouted"), "the first to be back")

    if how == "cut":
        await proxy.cut()
        with pytest.raises(BusUnavailableError):
            await task
    else:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    async def all_there() -> bool:
        return await count_of(bus, "dead") + await count_of(bus, "unrouted") >= LETTERS

    await eventually(all_there)
    left = frozenset(await ids_of(bus))
    assert await errands.replay(frozenset(ids)) == left
    assert await count_of(bus, "dead") == 0
    await eventually(lambda: not proxy.connections, "its connections to be closed")


async def test_a_large_letter_is_cut(errands: Errands, bus: Bus) -> None:
    """Of a large letter only the beginning is held, and how large it is."""
    await bus.put("dead", b"x" * (BODY_SHOWN_BYTES_MAX + 1))

    (letter,) = (await errands.letters(1)).letters

    assert (len(letter.body), letter.size) == (BODY_SHOWN_BYTES_MAX, BODY_SHOWN_BYTES_MAX + 1)


async def test_too_many_at_once(errands: Errands, proxy: Proxy) -> None:
    """Errands wait for each other, and so many at most; one that is cancelled makes room."""
    proxy.swallow()
    waiting = [asyncio.create_task(errands.letters(1)) for _ in range(ERRANDS_WAITING_MAX)]
    await eventually(lambda: proxy.connections)

    with pytest.raises(BusUnavailableError, match="try again"):
        await errands.letters(1)

    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    proxy.forward()
    await eventually(lambda: not proxy.connections, "the connection to be closed")
    assert (await errands.letters(1)).total == 0


async def test_a_broker_that_does_not_answer(
    errands: Errands, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that takes connections and says nothing is given up after a while."""
    monkeypatch.setattr("bridge.amqp.errands.ERRAND_SECONDS_MAX", 0.3)
    proxy.swallow()

    with pytest.raises(BusUnavailableError, match="did not answer in time"):
        await errands.publish(Delivery("alpha.one", b"{}", received_at=0.0, message_id="m1"))


@pytest.mark.usefixtures("topology")
async def test_a_look_ends_although_nobody_answers(
    rabbitmq: SharedBroker, proxy: Proxy, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has looked at the letters does not wait for a broker that has fallen silent meanwhile."""
    monkeypatch.setattr("bridge.amqp.channels.CLOSE_SECONDS_MAX", 0.2)
    connection = await connect(str(URL(rabbitmq.url).with_host("127.0.0.1").with_port(proxy.port)), "test")
    try:
        async with asyncio.timeout(3.0), browse(connection, names, letters_max=1):
            proxy.swallow()
    finally:
        proxy.forward()
        await close(connection)


async def test_what_cannot_be_published(rabbitmq: SharedBroker, names: Names) -> None:
    """What no queue takes is said to be so, as before the bridge has declared anything."""
    errands = Errands(rabbitmq.url, "test", names)

    with pytest.raises(BusUnavailableError):
        await errands.publish(Delivery("alpha.one", b"{}", received_at=0.0, message_id="m1"))
    with pytest.raises(BusUnavailableError):
        await errands.letters(1)
