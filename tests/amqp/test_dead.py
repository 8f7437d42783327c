"""Reading the dead-letter queue: look without taking, replay to the bridge alone, purge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace as changed
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest
from aio_pika.abc import AbstractIncomingMessage

from bridge.amqp.channels import channel_on
from bridge.amqp.dead import DeadLetter, Letters, browse, purge, replay
from bridge.amqp.publisher import Publisher, PublishFailedError
from bridge.amqp.source import StockSource
from bridge.amqp.topology import Topology
from bridge.core.delivery import Delivery
from bridge.core.errors import Reason, Refused
from tests.amqp.bus import Bus
from tests.amqp.conftest import DELIVERY_LIMIT
from tests.eventually import eventually

AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)


@pytest.fixture
def publisher(bus: Bus, topology: Topology) -> Publisher:
    """A publisher on the bus's channel."""
    return Publisher(topology.names, bus.channel)


async def bury(publisher: Publisher, *routing_keys: str, reason: Reason = Reason.NOT_JSON) -> None:
    """Bury a delivery for each routing key, whose body is the key."""
    for key in routing_keys:
        delivery = Delivery(key, key.encode(), received_at=0.0, message_id=f"id of {key}")
        await publisher.bury(delivery, key.partition(".")[0], Refused(reason, f"{key} is bad", field="f"))


async def look(bus: Bus, count: int, *, letters_max: int = 100) -> list[DeadLetter]:
    """Return the dead letters, once there are so many: those that were looked at take a moment to return."""

    async def are_ready() -> bool:
        return await bus.waiting("dead") == count

    await eventually(are_ready, f"{count} dead letters")
    async with browse(bus.connection, bus.names, letters_max=letters_max) as letters:
        return [letter async for letter in letters]


def keyed(*keys: str) -> Callable[[DeadLetter], bool]:
    """Return a filter that lets the letters of these routing keys through, all if there is none."""
    return lambda letter: not keys or letter.routing_key in keys


async def test_no_letters(publisher: Publisher, bus: Bus) -> None:
    """In an empty dead-letter queue there is nothing to see, replay or purge."""
    assert await look(bus, 0) == []
    assert await replay(bus.connection, bus.names, publisher, wanted=keyed(), letters_max=9) == []
    assert await purge(bus.connection, bus.names, wanted=keyed(), letters_max=9) == []


async def test_looking_shows_each_letter(publisher: Publisher, bus: Bus) -> None:
    """A look shows reason, field, message, domain, routing key, id and body, oldest first."""
    await bury(publisher, "alpha.one", "beta.two")

    letters = await look(bus, 2)

    assert [letter.routing_key for letter in letters] == ["alpha.one", "beta.two"]
    first = letters[0]
    assert (first.reason, first.field, first.message) == ("not_json", "f", "alpha.one is bad")
    assert (first.domain, first.message_id, first.body) == ("alpha", "id of alpha.one", b"alpha.one")
    assert datetime.fromisoformat(first.dead_at).tzinfo is not None


async def test_looking_takes_nothing(publisher: Publisher, bus: Bus) -> None:
    """However often one looks, the letters stay, in order, under the same ids."""
    await bury(publisher, *(f"alpha.{number}" for number in range(40)))

    looks = [[letter.id for letter in await look(bus, 40)] for _ in range(DELIVERY_LIMIT + 3)]

    assert len(looks[0]) == 40
    assert looks == [looks[0]] * len(looks)


async def test_alike_letters_have_their_own_ids(publisher: Publisher, bus: Bus) -> None:
    """Letters that differ in body, key or message_id have different ids."""
    for key, body, message_id in (
        ("a.b", b"1", "m"),
        ("a.b", b"2", "m"),
        ("a.c", b"1", "m"),
        ("a.b", b"1", "n"),
    ):
        delivery = Delivery(key, body, received_at=0.0, message_id=message_id)
        await publisher.bury(delivery, "alpha", Refused(Reason.NOT_JSON, "bad"))

    assert len({letter.id for letter in await look(bus, 4)}) == 4


async def test_look_has_a_limit(publisher: Publisher, bus: Bus) -> None:
    """No more letters are looked at than asked for: the oldest."""
    await bury(publisher, "alpha.1", "alpha.2", "alpha.3")

    assert [letter.routing_key for letter in await look(bus, 3, letters_max=2)] == ["alpha.1", "alpha.2"]


@pytest.mark.usefixtures("topology")
async def test_brokers_own_letters_are_explained(bus: Bus) -> None:
    """What the broker dead-lettered itself shows its reason, queue and key; older deaths do not matter."""
    death = {"reason": "expired", "queue": "theirs.retry", "routing-keys": ["theirs"], "count": 2}
    former = {"x-death": [death]}
    await bus.publish("alpha.happened", b"broken", headers=former, message_id="m1")
    async with channel_on(bus.connection, confirms=False) as channel:
        source = StockSource(channel, bus.queue("alpha"), prefetch=1)
        await source.start()
        for _ in range(DELIVERY_LIMIT + 1):
            (delivery,) = await source.read()
            await source.requeue(delivery)

    (letter,) = await look(bus, 1)

    assert (letter.reason, letter.domain, letter.routing_key) == ("delivery_limit", "alpha", "alpha.happened")
    assert "failed each time" in letter.message
    assert (letter.message_id, letter.body) == ("m1", b"broken")
    assert letter.dead_at


async def test_replay_goes_to_the_bridge_alone(publisher: Publisher, bus: Bus) -> None:
    """A replayed letter arrives in its domain's queue, and at no other consumer of the bus."""
    theirs = await bus.channel.declare_queue(bus.queue("beta.theirs"), exclusive=True)
    await theirs.bind(bus.names.exchange, "#")
    await bury(publisher, "alpha.one")

    (replayed,) = await replay(bus.connection, bus.names, publisher, wanted=keyed(), letters_max=9)

    assert replayed.routing_key == "alpha.one"
    assert (await bus.take("alpha")).routing_key == "alpha.one"
    assert await bus.waiting("beta.theirs") == 0
    assert await look(bus, 0) == []


async def test_replayed_letter_is_the_original(publisher: Publisher, bus: Bus) -> None:
    """A replayed letter has the original's body, properties and headers, and none of ours or the broker's."""
    delivery = Delivery(
        "alpha.happened",
        b"\x00\xff",
        received_at=0.0,
        message_id="m1",
        content_type="application/json",
        content_encoding="utf-8",
        timestamp=AT,
        headers={"traceparent": "00-1-2-00", "x-delivery-count": 4},
        others={"app_id": "alpha-service", "type": "t"},
    )
    await publisher.bury(delivery, "alpha", Refused(Reason.NOT_JSON, "bad"))

    await replay(bus.connection, bus.names, publisher, wanted=keyed(), letters_max=9)

    message = await bus.take("alpha")
    assert (message.body, message.message_id, message.timestamp) == (b"\x00\xff", "m1", AT)
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")
    assert (message.app_id, message.type) == ("alpha-service", "t")
    assert message.headers == {"traceparent": "00-1-2-00"}


async def test_letter_without_id_is_replayed_without(publisher: Publisher, bus: Bus) -> None:
    """Replaying invents no message_id: the event keeps the identity that its content gives it."""
    delivery = Delivery("alpha.one", b"1", received_at=0.0)
    await publisher.bury(delivery, "alpha", Refused(Reason.NOT_JSON, "bad"))

    await replay(bus.connection, bus.names, publisher, wanted=keyed(), letters_max=9)

    async with channel_on(bus.connection, confirms=False) as channel:
        source = StockSource(channel, bus.queue("alpha"), prefetch=1)
        await source.start()
        (replayed,) = await source.read()
        await source.ack(replayed)
    assert replayed.message_id is None


async def test_only_the_wanted_are_replayed(publisher: Publisher, bus: Bus) -> None:
    """Letters that are not wanted stay where they are, in order."""
    await bury(publisher, "alpha.1", "beta.2", "alpha.3", "beta.4")

    wanted = keyed("beta.2", "alpha.3")
    replayed = await replay(bus.connection, bus.names, publisher, wanted=wanted, letters_max=9)

    assert [letter.routing_key for letter in replayed] == ["beta.2", "alpha.3"]
    assert [letter.routing_key for letter in await look(bus, 2)] == ["alpha.1", "beta.4"]


async def test_letter_stays_when_it_cannot_be_published(publisher: Publisher, bus: Bus) -> None:
    """A letter is removed only once its replay is confirmed: if that fails, it and the rest stay."""
    await bury(publisher, "alpha.1", "alpha.2")
    await bus.channel.exchange_delete(bus.names.inbound)

    with pytest.raises(PublishFailedError):
        await replay(bus.connection, bus.names, publisher, wanted=keyed(), letters_max=9)

    bus = changed(bus, channel=await bus.connection.channel())  # The other was closed by the broker.
    assert [letter.routing_key for letter in await look(bus, 2)] == ["alpha.1", "alpha.2"]


async def test_replay_ends_when_letters_come_back(publisher: Publisher, bus: Bus) -> None:
    """Letters that are refused again while they are replayed are not replayed again and again."""
    await bury(publisher, "alpha.1", "alpha.2", "alpha.3")

    class Refusing(Publisher):
        """Stands for a bridge that refuses at once what is replayed."""

        async def publish(self, *arguments: object) -> None:
            await bury(publisher, str(arguments[1]))

    refusing = Refusing(bus.names, bus.channel)
    replayed = await replay(bus.connection, bus.names, refusing, wanted=keyed(), letters_max=1000)

    assert len(replayed) == 3
    assert len(await look(bus, 3)) == 3


async def test_purge_removes_the_wanted(publisher: Publisher, bus: Bus) -> None:
    """Purged letters are gone for good, the others stay."""
    await bury(publisher, "alpha.1", "alpha.2", "alpha.3")

    removed = await purge(bus.connection, bus.names, wanted=keyed("alpha.2"), letters_max=9)

    assert [letter.routing_key for letter in removed] == ["alpha.2"]
    assert [letter.routing_key for letter in await look(bus, 2)] == ["alpha.1", "alpha.3"]
    assert await bus.waiting("alpha") == 0


async def test_lost_cancellation_is_obeyed_before_the_next_letter() -> None:
    """Who is cancelled in the midst of a letter, and goes on, gets no other."""
    waiting: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
    for body in (b"1", b"2"):
        message = SimpleNamespace(headers={}, routing_key="a.b", message_id=None, body=body)
        waiting.put_nowait(cast("AbstractIncomingMessage", message))
    seen = []

    async def work() -> None:
        async for letter in Letters(waiting, 2, 2):
            seen.append(letter.body)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await eventually(lambda: seen, "the first letter")
    working.cancel()
    await asyncio.wait([working], timeout=5)

    assert working.cancelled()
    assert seen == [b"1"]
