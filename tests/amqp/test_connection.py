"""The connection that a source reads on: who answers, over what, how it ends, and what it survives."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiormq.connection
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs
from yarl import URL

from bridge.amqp.bulk import BulkConnection, source_on
from bridge.amqp.channels import channel_on
from bridge.amqp.faults import SourceLostError, honest
from bridge.amqp.link import (
    AUTHENTICATION_ERRORS,
    CONNECT_ERRORS,
    RETRYABLE,
    Channel,
    Connection,
    Reader,
    connect,
    is_open,
)
from bridge.amqp.source import StockSource
from tests.amqp.bus import BOTH_READERS, Bus, proxied
from tests.eventually import eventually
from tests.proxy import LOOPBACK
from tests.servers import SharedBroker

SECONDS_MAX = 10.0


@asynccontextmanager
async def attached(connection: Connection, bus: Bus) -> AsyncIterator[StockSource]:
    """Attach to the queue `alpha` over a channel of its own."""
    async with channel_on(connection, confirms=True) as channel:
        yield await started(connection, channel, bus)


async def started(connection: Connection, channel: Channel, bus: Bus) -> StockSource:
    """Attach to the queue `alpha` over this channel."""
    source = source_on(connection, channel, bus.queue("alpha"), prefetch=100)
    await source.start()
    return source


# Who answers.


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Run a server that says this to whoever connects, and hangs up."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answers, LOOPBACK, 0) as server:
        yield f"amqp://{LOOPBACK}:{server.sockets[0].getsockname()[1]}/"


async def refusal(url: str, reader: Reader) -> str:
    """Return how a connection is refused."""
    with pytest.raises(CONNECT_ERRORS) as refused:
        await connect(url, "test", reader)
    return f"{refused.type.__name__}: {refused.value}"


ANSWERS = {
    "AMQP 0-9-1": b"AMQP\0\0\x09\x01",  # So a broker refuses the version (section 4.2.2).
    "AMQP 1.0": b"AMQP\x03\x01\0\0",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "TLS": b"\x15\x03\x01\0\x02\x02\x28",
    "nothing": b"",
    "too little": b"A",
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_answer_that_is_no_connection_is_told_alike(name: str) -> None:
    """Whoever answers in the broker's place, the error is the library's, the same with both readers."""
    async with answering(ANSWERS[name]) as url:
        said = await refusal(url, "bulk")

        assert said == await refusal(url, "stock")
    if name == "AMQP 0-9-1":
        assert "Unexpected AMQP protocol header" in said


async def test_wrong_password_is_told_alike(rabbitmq: SharedBroker) -> None:
    """The broker's refusal is the same error with both readers."""
    url = str(URL(rabbitmq.url).with_password("wrong"))
    with pytest.raises(AUTHENTICATION_ERRORS):
        await connect(url, "test", "bulk")

    assert await refusal(url, "bulk") == await refusal(url, "stock")


async def test_nobody_there_is_told_alike() -> None:
    """A port where nobody listens is the same error with both readers."""
    async with answering(b"") as url:
        pass

    assert await refusal(url, "bulk") == await refusal(url, "stock")


# Over what.


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of `localhost` and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """The server's side of TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@BOTH_READERS
@pytest.mark.usefixtures("topology")
async def test_tls_carries_both_ways(
    bus: Bus, rabbitmq: SharedBroker, reader: Reader, tls: ssl.SSLContext, certificate: Path
) -> None:
    """Over TLS all is as without: deliveries, acks, confirmed messages of many frames, and the end."""
    async with proxied(rabbitmq.url, tls=tls) as (proxy, url):
        trusting = str(URL(url).with_host("localhost").update_query(cafile=str(certificate)))
        async with await connect(trusting, "test", reader) as connection, attached(connection, bus) as source:
            body = b"x" * 1_048_576
            await source.publish("", bus.queue("alpha"), body, {})
            (delivery,) = await asyncio.wait_for(source.read(), SECONDS_MAX)
            await source.ack(delivery)
            await source.publish("", bus.queue("beta"), b"in order: the ack has arrived", {})
            assert delivery.body == body

            await proxy.cut()
            with pytest.raises(SourceLostError):
                await asyncio.wait_for(source.read(), SECONDS_MAX)
    assert await bus.waiting("alpha") == 0


@BOTH_READERS
async def test_untrusted_certificate_is_refused(
    rabbitmq: SharedBroker, reader: Reader, tls: ssl.SSLContext
) -> None:
    """Who is not known to be the broker is not spoken to."""
    async with proxied(rabbitmq.url, tls=tls) as (_, url):
        assert "certificate" in await refusal(str(URL(url).with_host("localhost")), reader)


# How it ends.


@pytest.mark.usefixtures("topology")
async def test_garbage_ends_the_connection_and_nothing_else(bus: Bus, rabbitmq: SharedBroker) -> None:
    """What is no AMQP, in the midst of deliveries, ends the connection; the deliveries come again."""
    async with await connect(rabbitmq.url, "test") as connection, attached(connection, bus) as source:
        assert isinstance(connection, BulkConnection)
        await bus.put("alpha", b"1")
        await asyncio.wait_for(source.read(), SECONDS_MAX)
        with capture_logs() as logs:
            connection.wire.data_received(b"garbage, and no frame")
            with pytest.raises(SourceLostError):
                await asyncio.wait_for(source.read(), SECONDS_MAX)
        await eventually(lambda: not is_open(connection), "closed")
        assert [entry["event"] for entry in logs] == ["amqp.bad_frame"]

    async with attached(bus.connection, bus) as source:
        (again,) = await asyncio.wait_for(source.read(), SECONDS_MAX)
        assert (again.body, again.redelivered) == (b"1", True)


@pytest.mark.usefixtures("topology")
async def test_acks_while_the_connection_closes_are_nothing(
    bus: Bus, rabbitmq: SharedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the moment that a dead connection begins to close, a source that does not know it yet may ack."""
    monkeypatch.setattr(aiormq.connection.Connection, "READER_CLOSE_TIMEOUT", 0)  # For an answer.
    async with proxied(rabbitmq.url) as (proxy, url):
        connection = await connect(url, "test")
        source = await started(connection, await connection.channel(), bus)
        await bus.put("alpha", b"1")
        (delivery,) = await asyncio.wait_for(source.read(), SECONDS_MAX)
        proxy.swallow()
        closing = asyncio.create_task(connection.close())

        async with asyncio.timeout(SECONDS_MAX):
            while source.alive:
                await source.ack(delivery)
                await source.requeue(delivery)
                await asyncio.sleep(0)
        await proxy.cut()
        await asyncio.wait([closing])
        proxy.forward()


@BOTH_READERS
@pytest.mark.usefixtures("topology")
async def test_number_of_a_closed_channel_is_used_again(bus: Bus) -> None:
    """Sources come and go on one connection over the same channel number; each has its own deliveries."""
    numbers = set()
    for body in (b"1", b"2", b"3"):
        async with channel_on(bus.connection, confirms=True) as channel:
            source = await started(bus.connection, channel, bus)
            numbers.add((await channel.get_underlay_channel()).number)
            await source.publish("", bus.queue("alpha"), body, {})
            (delivery,) = await asyncio.wait_for(source.read(), SECONDS_MAX)
            assert (delivery.body, delivery.tag) == (body, 1)
            await source.ack(delivery)
        assert not source.alive

    assert len(numbers) == 1
    assert await bus.waiting("alpha") == 0


@pytest.mark.usefixtures("topology")
async def test_late_acks_do_not_hurt_the_next_channel(bus: Bus) -> None:
    """A source that is acked after its channel's end leaves alone the one that has its number now."""
    async with attached(bus.connection, bus) as old:
        await bus.put("alpha", b"1", b"2")
        seen = list(await asyncio.wait_for(old.read(), SECONDS_MAX))
    async with attached(bus.connection, bus) as source:
        for delivery in seen:
            await old.ack(delivery)
            await old.requeue(delivery)
        bodies: list[bytes] = []
        while len(bodies) < 2:
            batch = await asyncio.wait_for(source.read(), SECONDS_MAX)
            bodies += [delivery.body for delivery in batch]
            await source.ack(batch[-1])

        await source.publish("", bus.queue("beta"), b"the channel is there", {})
        assert bodies == [b"1", b"2"]
    assert is_open(bus.connection)


# What it survives.


@BOTH_READERS
@pytest.mark.usefixtures("topology")
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 10, 20, 40, 80, 160, 320])
async def test_start_may_be_cancelled_anywhere(bus: Bus, steps: int) -> None:
    """Cancelled at any await of attaching, or after, a source leaves nothing behind on its connection."""
    await bus.put("alpha", b"1")

    async def attach() -> None:
        async with attached(bus.connection, bus):
            await asyncio.Event().wait()

    attaching = asyncio.create_task(attach())
    for _ in range(steps):
        await asyncio.sleep(0)
    attaching.cancel()
    await asyncio.wait([attaching])
    assert attaching.cancelled()

    async with attached(bus.connection, bus) as source:
        (delivery,) = await asyncio.wait_for(source.read(), SECONDS_MAX)
        await source.ack(delivery)
    assert await bus.waiting("alpha") == 0


@BOTH_READERS
@pytest.mark.usefixtures("topology")
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8])
async def test_read_may_be_cancelled_anywhere(bus: Bus, steps: int) -> None:
    """Cancelled while it waits or just as something comes, a read takes nothing with it."""
    async with attached(bus.connection, bus) as source:
        reading = asyncio.ensure_future(source.read())
        await asyncio.sleep(0)
        await bus.put("alpha", b"1")
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])

        batch = (
            await asyncio.wait_for(source.read(), SECONDS_MAX) if reading.cancelled() else reading.result()
        )
        assert [delivery.body for delivery in batch] == [b"1"]


@BOTH_READERS
@pytest.mark.usefixtures("topology")
@pytest.mark.parametrize("steps", [0, 1, 2, 4, 8, 16, 32, 64, 128])
async def test_connection_may_be_cut_while_attaching(
    bus: Bus, rabbitmq: SharedBroker, reader: Reader, steps: int
) -> None:
    """A connection cut at any moment of attaching raises what can go right the next time, and soon."""

    async def attach(url: str) -> None:
        async with await connect(url, "test", reader) as connection, attached(connection, bus) as source:
            with honest():
                await source.read()

    async with proxied(rabbitmq.url) as (proxy, url):
        attaching = asyncio.create_task(attach(url))
        await eventually(lambda: proxy.connections, "a connection")
        for _ in range(steps):
            await asyncio.sleep(0)
        await proxy.cut()

        with pytest.raises(RETRYABLE):
            await asyncio.wait_for(attaching, SECONDS_MAX)
