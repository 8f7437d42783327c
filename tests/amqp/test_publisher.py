"""Confirmed publishing, and dead letters: the untouched original with the reason beside it."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.amqp.channels import channel_on
from bridge.amqp.link import connect
from bridge.amqp.publisher import Publisher, PublishFailedError
from bridge.amqp.source import StockSource
from bridge.amqp.topology import Topology
from bridge.core.delivery import Delivery
from bridge.core.errors import DeadLettersFullError, Reason, Refused
from tests.amqp.bus import Bus, proxied
from tests.servers import SharedBroker

REFUSED = Refused(Reason.BAD_FIELD, "amount must be a number (got true)", field="items.0.amount")
AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)


def table(*fields: tuple[bytes, bytes]) -> bytes:
    """Return a field table of these keys and (typed) values as it is on the wire (AMQP 0-9-1, 4.2.5.5)."""
    content = b"".join(bytes([len(key)]) + key + value for key, value in fields)
    return struct.pack(">I", len(content)) + content


def short(text: bytes) -> bytes:
    """Return a short string as it is on the wire."""
    return bytes([len(text)]) + text


def long(text: bytes) -> bytes:
    """Return a long string as a table's value is on the wire."""
    return b"S" + struct.pack(">I", len(text)) + text


def nested(levels: int) -> bytes:
    """Return a table in a table, so many deep."""
    inner = table()
    for _ in range(levels):
        inner = table((b"t", b"F" + inner))
    return inner


ODD = {
    "timestamp in microseconds": {"timestamp": struct.pack(">Q", 1_700_000_000_000_000)},
    "timestamp of all ones": {"timestamp": b"\xff" * 8},
    "message_id that is not UTF-8": {"message_id": short(b"caf\xe9")},
    "content type that is not UTF-8": {"content_type": short(b"\xff\xfe")},
    "header key that is not UTF-8": {"headers": table((b"caf\xe9", b"t\x01"))},
    "header text that is not UTF-8": {"headers": table((b"name", long(b"caf\xe9")))},
    "header time in microseconds": {"headers": table((b"at", b"T" + b"\xff" * 8))},
    "header with a large double": {"headers": table((b"n", b"d" + struct.pack(">d", 1e300)))},
    "header with a long decimal": {"headers": table((b"n", b"D\x02" + b"\xff" * 4))},
    "nested headers": {"headers": table((b"t", b"F" + table((b"\xe9", b"T" + b"\xff" * 8))))},
    "header without a value": {"headers": table((b"n", b"V"))},
}
"""What RabbitMQ passes on without a word, and pamqp would not read, or not write again."""


@pytest.fixture
def publisher(bus: Bus, topology: Topology) -> Publisher:
    """A publisher on the bus's channel."""
    return Publisher(topology.names, bus.channel)


async def delivery_from(bus: Bus, name: str) -> Delivery:
    """Take the next delivery of a queue as ingest gets it."""
    async with channel_on(bus.connection, confirms=False) as channel:
        source = StockSource(channel, bus.queue(name), prefetch=1)
        await source.start()
        (delivery,) = await source.read()
        await source.ack(delivery)
    return delivery


async def test_published_message_is_in_the_queue(publisher: Publisher, bus: Bus) -> None:
    """When publishing returns, the message is in its queue."""
    await publisher.publish(bus.names.inbound, "alpha.happened", b"1", {"message_id": "m1"})

    assert await bus.waiting("alpha") == 1
    assert (await bus.take("alpha")).message_id == "m1"


async def test_what_no_queue_takes_is_an_error(publisher: Publisher, bus: Bus) -> None:
    """A message that reaches no queue raises, and the channel goes on."""
    with pytest.raises(PublishFailedError, match="no queue takes 'nowhere'"):
        await publisher.publish("", "nowhere", b"1", {"message_id": "m1"})

    await publisher.publish("", bus.queue("alpha"), b"2", {"message_id": "m2"})


async def test_missing_exchange_is_an_error(publisher: Publisher, bus: Bus) -> None:
    """Publishing to an exchange that is not there raises."""
    await bus.channel.exchange_delete(bus.names.inbound)

    with pytest.raises(PublishFailedError, match="no exchange"):
        await publisher.publish(bus.names.inbound, "alpha.happened", b"1", {})


async def test_refused_message_is_an_error(bus: Bus, publisher: Publisher) -> None:
    """A queue that is full and rejects raises, and the channel goes on."""
    full = await bus.channel.declare_queue(
        bus.queue("beta.full"), exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    await publisher.publish("", full.name, b"1", {})

    with pytest.raises(PublishFailedError, match="a queue is full"):
        await publisher.publish("", full.name, b"2", {})

    await full.purge()
    await publisher.publish("", full.name, b"3", {})


async def test_cut_connection_is_an_error(bus: Bus, topology: Topology, rabbitmq: SharedBroker) -> None:
    """A connection that breaks before the confirmation raises."""
    async with proxied(rabbitmq.url) as (proxy, url), await connect(url, "test") as connection:
        publisher = Publisher(topology.names, await connection.channel(on_return_raises=True))
        proxy.swallow()
        publishing = asyncio.create_task(publisher.publish("", bus.queue("alpha"), b"1", {}))

        await proxy.cut()

        with pytest.raises(PublishFailedError):
            await publishing
        proxy.forward()


async def test_dead_letter_says_why(publisher: Publisher, bus: Bus) -> None:
    """A dead letter carries reason, field, message, domain, original routing key and the time, for people."""
    delivery = Delivery("alpha.happened", b'{"amount": true}', received_at=0.0)
    before = datetime.now(UTC)

    await publisher.bury(delivery, "alpha", REFUSED)

    letter = await bus.take("dead")
    headers = letter.headers
    assert headers["x-bridge-reason"] == "bad_field"
    assert headers["x-bridge-field"] == "items.0.amount"
    assert headers["x-bridge-message"] == "amount must be a number (got true)"
    assert headers["x-bridge-domain"] == "alpha"
    assert headers["x-bridge-routing-key"] == "alpha.happened"
    dead_at = datetime.fromisoformat(str(headers["x-bridge-dead-at"]))
    assert abs((dead_at - before).total_seconds()) < 60


@pytest.mark.parametrize("body", [b"", b"\x00\xff\xfe", b"x" * 5_000_000], ids=["empty", "binary", "5 MB"])
async def test_dead_letter_is_the_untouched_original(body: bytes, publisher: Publisher, bus: Bus) -> None:
    """Body, properties and headers of a dead letter are those that were published."""
    properties: dict[str, Any] = {
        "message_id": "m1",
        "content_type": "application/cloudevents+json",
        "content_encoding": "utf-8",
        "timestamp": AT,
        "app_id": "alpha-service",
        "correlation_id": "c1",
        "reply_to": "r1",
        "type": "alpha.happened",
        "priority": 3,
    }
    headers = {"traceparent": "00-1-2-00", "nested": {"list": [1, "two", 3.25, None, True]}, "at": AT}
    await bus.publish("alpha.happened", body, headers=headers, **properties)

    await publisher.bury(await delivery_from(bus, "alpha"), "alpha", REFUSED)

    letter = await bus.take("dead")
    assert letter.body == body
    assert {name: getattr(letter, name) for name in properties} == properties
    assert {key: letter.headers[key] for key in headers} == headers


async def test_dead_letter_outlives_a_broker(publisher: Publisher, bus: Bus) -> None:
    """A dead letter is persistent, whatever the original was, and does not expire as that would have."""
    await bus.publish("alpha.happened", delivery_mode=1, expiration=60)

    await publisher.bury(await delivery_from(bus, "alpha"), "alpha", REFUSED)

    letter = await bus.take("dead")
    assert (letter.delivery_mode, letter.expiration) == (2, None)


async def test_another_users_message_can_be_buried(publisher: Publisher, bus: Bus) -> None:
    """A message that names its user, which the broker checks, does not make burying fail."""
    await bus.publish("alpha.happened", user_id="guest")
    delivery = await delivery_from(bus, "alpha")

    await publisher.bury(delivery, "alpha", REFUSED)

    assert (await bus.take("dead")).user_id is None


async def test_former_reason_is_replaced(publisher: Publisher, bus: Bus) -> None:
    """A message that was a dead letter before carries only its new reason."""
    delivery = Delivery("alpha.happened", b"", received_at=0.0, headers={"x-bridge-old": 1, "kept": 2})

    await publisher.bury(delivery, "alpha", REFUSED)

    headers = (await bus.take("dead")).headers
    assert "x-bridge-old" not in headers
    assert headers["kept"] == 2


@pytest.mark.parametrize("header", ["CC", "BCC"])
async def test_dead_letter_goes_nowhere_else(header: str, publisher: Publisher, bus: Bus) -> None:
    """A message that names further queues is buried once: its copies would come back as bad messages."""
    await bus.put("alpha", b"there before")
    delivery = Delivery(
        "alpha.happened", b"bad", received_at=0.0, headers={header: [bus.names.prefix + ".alpha"]}
    )

    await publisher.bury(delivery, "alpha", REFUSED)

    assert header not in (await bus.take("dead")).headers
    assert (await bus.take("alpha")).body == b"there before"


async def test_headers_that_do_not_fit_are_left_out(publisher: Publisher, bus: Bus) -> None:
    """A letter whose headers no frame can hold is kept without them, and says so."""
    delivery = Delivery("alpha.happened", b"bad", received_at=0.0, headers={"big": "x" * 130_000})

    await publisher.bury(delivery, "alpha", REFUSED)

    letter = await bus.take("dead")
    assert letter.body == b"bad"
    assert letter.headers["x-bridge-headers-dropped"] is True
    assert letter.headers["x-bridge-reason"] == "bad_field"
    assert "big" not in letter.headers


async def test_deeply_nested_headers_are_read_and_left_out(publisher: Publisher, bus: Bus) -> None:
    """Headers nested deeper than anybody means stop nobody: the letter is kept without them."""
    await bus.put_raw("alpha", b"odd", headers=nested(1_500))
    async with channel_on(bus.connection, confirms=False) as channel:
        source = StockSource(channel, bus.names.prefix + ".alpha", prefetch=1)
        await source.start()
        (delivery,) = await source.read()

        await publisher.bury(delivery, "alpha", REFUSED)
        await source.ack(delivery)

    letter = await bus.take("dead")
    assert letter.body == b"odd"
    assert letter.headers["x-bridge-reason"] == "bad_field"


@pytest.mark.parametrize("name", list(ODD))
async def test_odd_message_is_read_and_buried(name: str, publisher: Publisher, bus: Bus) -> None:
    """Whatever RabbitMQ takes in properties can be read, buried and read again; the connection stays."""
    await bus.put_raw("alpha", b"odd", **ODD[name])
    await bus.put("alpha", b"next")

    odd = await delivery_from(bus, "alpha")
    await publisher.bury(odd, "alpha", REFUSED)

    assert odd.body == b"odd"
    again = await delivery_from(bus, "dead")
    assert again.body == b"odd"
    assert (again.message_id, again.content_type, again.timestamp) == (
        odd.message_id,
        odd.content_type,
        odd.timestamp,
    )
    assert {key: again.headers[key] for key in odd.headers} == odd.headers
    assert (await delivery_from(bus, "alpha")).body == b"next"


async def test_message_without_id_stays_without(publisher: Publisher, bus: Bus) -> None:
    """A message_id that nobody gave is not invented on the way, since it would be the event's identity."""
    await publisher.bury(Delivery("alpha.happened", b"", received_at=0.0), "alpha", REFUSED)

    assert (await delivery_from(bus, "dead")).message_id is None


async def test_full_dead_letter_queue_is_told(bus: Bus, publisher: Publisher) -> None:
    """When the dead-letter queue takes nothing, the error names it and what to do."""
    await bus.channel.queue_delete(bus.names.dead)
    await bus.channel.declare_queue(
        bus.names.dead, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    delivery = Delivery("alpha.happened", b"", received_at=0.0)
    await publisher.bury(delivery, "alpha", REFUSED)

    with pytest.raises(DeadLettersFullError, match=f"{bus.names.dead}.*purge"):
        await publisher.bury(delivery, "alpha", REFUSED)
