"""The bulk source on a wire whose other end is written here: races that no broker can be asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from structlog.testing import capture_logs

from bridge.amqp import bulk
from bridge.amqp.bulk import HEARTBEAT_FRAME, SIGN_OF_LIFE_SECONDS, BulkConnection, BulkSource, _Wire
from bridge.amqp.faults import SourceLostError
from bridge.amqp.publisher import PublishFailedError, RefusedByBrokerError
from bridge.core.delivery import Delivery
from tests.amqp.wire import OURS, START, delivery, frames_of, method, returned

Basic, Channel = commands.Basic, commands.Channel
BODY_BYTES_MAX = 10
SECONDS_MAX = 5.0


class Line(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written += data

    def abort(self) -> None:
        """Be gone."""
        self.aborted = True

    @property
    def frames(self) -> list[Any]:
        """What was written, as pamqp reads it; all of it is of our channel."""
        read = list(frames_of(self.written))
        assert all(channel == OURS for _, channel, _ in read)
        return [one for *_, one in read]


class Underlay:
    """The part of aiormq's channel that a source uses; as the AbstractChannel it leads to itself."""

    def __init__(self) -> None:
        self.number = OURS
        self.on_consumer_cancel_callbacks: set[Callable[[Any], None]] = set()
        self.closing = asyncio.get_running_loop().create_future()

    async def get_underlay_channel(self) -> Underlay:
        """Be it."""
        return self

    async def set_qos(self, *, prefetch_count: int) -> None:
        """Be fine with it."""

    async def basic_consume(self, queue: str, callback: object, *, arguments: object) -> None:
        """Be fine with it."""


class Bench:
    """A started source, what it wrote, and what the other side says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.reader = asyncio.StreamReader()
        self.line = Line()
        self.wire = _Wire(self.reader, asyncio.get_running_loop(), lambda: self.now)
        self.wire.connection_made(self.line)
        self.underlay = Underlay()
        self.body_bytes_max = BODY_BYTES_MAX
        self.source = BulkSource(cast(BulkConnection, self), cast(Any, self.underlay), "queue", prefetch=100)

    def says(self, *pieces: bytes) -> None:
        """Have the broker say this, in one read."""
        self.wire.data_received(b"".join(pieces))

    async def passed(self) -> bytes:
        """Return what has been passed on to aio-pika and not been asked for yet."""
        self.reader.feed_eof()
        return await self.reader.read()

    def publish(
        self, routing_key: str = "key", body: bytes = b"{}", **properties: object
    ) -> asyncio.Task[None]:
        """Begin to publish."""
        publishing: Coroutine[Any, Any, None] = self.source.publish("", routing_key, body, properties)
        return asyncio.create_task(publishing)

    @property
    def published(self) -> list[str | None]:
        """The routing keys of what was published, in order."""
        return [one.routing_key for one in self.line.frames if isinstance(one, Basic.Publish)]


@pytest.fixture
async def bench() -> Bench:
    """A source that has been started on a channel."""
    bench = Bench()
    bench.says(START)
    await bench.source.start()
    return bench


async def turn() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def of(tag: int) -> Delivery:
    """Return a delivery of this tag."""
    return Delivery("alpha.happened", b"", received_at=0.0, tag=tag)


# Acks.


async def test_acks_are_written_as_pamqp_reads_them(bench: Bench) -> None:
    """An ack is for all up to a delivery; what is given back is nacked alone, to be queued again."""
    await bench.source.ack(of(2**40))
    await bench.source.requeue(of(7))

    ack, nack = bench.line.frames
    assert (ack.name, ack.delivery_tag, ack.multiple) == ("Basic.Ack", 2**40, True)
    assert (nack.name, nack.delivery_tag, nack.multiple, nack.requeue) == ("Basic.Nack", 7, False, True)


@pytest.mark.parametrize(
    "closing",
    [Channel.CloseOk(), Channel.Close(406, "PRECONDITION_FAILED - x", 60, 80)],
    ids=lambda one: one.name,
)
async def test_nothing_is_written_once_the_channel_is_closed(bench: Bench, closing: Any) -> None:  # noqa: ANN401 - a method
    """From the moment that the end has come in, no late ack is written: it would be another channel's."""
    bench.says(*delivery(OURS, 1), method(closing))

    await bench.source.ack(of(1))
    await bench.source.requeue(of(1))

    assert not bench.source.alive
    assert not bench.line.written
    with pytest.raises(SourceLostError, match="channel closed"):
        await bench.source.read()


async def test_new_source_on_the_old_number_is_not_disturbed(bench: Bench) -> None:
    """A channel that gets the number of a closed one has its own deliveries, tags and confirms."""
    bench.says(*delivery(OURS, 1), method(Channel.CloseOk()))
    new = BulkSource(cast(BulkConnection, bench), cast(Any, bench.underlay), "queue", prefetch=100)
    await new.start()

    await bench.source.ack(of(1))
    bench.says(*delivery(OURS, 1, b"new"))
    publishing = asyncio.create_task(new.publish("", "key", b"", {}))
    await turn()
    bench.says(method(Basic.Ack(1)))
    await publishing

    assert [one.body for one in await new.read()] == [b"new"]
    assert [one.name for one in bench.line.frames] == ["Basic.Publish", "ContentHeader"]


async def test_doubted_source_settles_nothing(bench: Bench) -> None:
    """A source that was given up writes nothing more, though its channel is there until it is closed."""
    bench.source.lose("the broker does not know the consumer")
    bench.says(*delivery(OURS, 1))

    await bench.source.ack(of(1))

    assert not bench.line.written


# Publishing.


@pytest.mark.parametrize("size", [0, 1, BODY_BYTES_MAX, BODY_BYTES_MAX + 1, 3 * BODY_BYTES_MAX, 35])
async def test_message_is_written_as_pamqp_reads_it(bench: Bench, size: int) -> None:
    """Method, header and body, which is cut where the frames end that the broker allows."""
    body = bytes(range(size))
    publishing = bench.publish("alpha.happened", body, message_id="m1", headers={"n": 1})
    await turn()
    bench.says(method(Basic.Ack(1)))
    await publishing

    publish, header, *pieces = bench.line.frames
    assert (publish.exchange, publish.routing_key, publish.mandatory) == ("", "alpha.happened", True)
    assert isinstance(header, ContentHeader)
    assert header.properties is not None
    assert (header.body_size, header.properties.delivery_mode) == (size, 2)
    assert (header.properties.message_id, header.properties.headers) == ("m1", {"n": 1})
    assert all(isinstance(piece, ContentBody) and 0 < len(piece.value) <= BODY_BYTES_MAX for piece in pieces)
    assert b"".join(piece.value for piece in pieces) == body


@pytest.mark.parametrize("multiple", [False, True])
async def test_each_publisher_gets_its_own_answer(bench: Bench, multiple: bool) -> None:  # noqa: FBT001 - a parameter
    """Of several who publish at once one message is on its way at a time, and its answer is for it alone."""
    first, second, third, fourth = (bench.publish(key) for key in "abcd")
    await turn()
    assert bench.published == ["a"]

    bench.says(method(Basic.Nack(1, multiple=multiple)))
    await turn()
    bench.says(*returned(OURS), method(Basic.Ack(2, multiple=multiple)))
    await turn()
    bench.says(method(Basic.Ack(3, multiple=multiple)))
    await turn()

    with pytest.raises(RefusedByBrokerError, match="queue is full"):
        await first
    with pytest.raises(
        PublishFailedError, match="no queue takes 'b' from the default exchange: 312 NO_ROUTE"
    ):
        await second
    await third
    assert bench.published == ["a", "b", "c", "d"]
    fourth.cancel()


async def test_return_of_a_cancelled_message_is_not_the_next_ones(bench: Bench) -> None:
    """After a caller gave up, the next message waits for that one's answer, and takes it for nothing else."""
    first = bench.publish("nowhere")
    await turn()
    first.cancel()
    second = bench.publish("somewhere")
    await turn()
    assert bench.published == ["nowhere"]

    bench.says(*returned(OURS), method(Basic.Ack(1)))
    await turn()
    assert bench.published == ["nowhere", "somewhere"]
    bench.says(method(Basic.Ack(2)))

    await second


@pytest.mark.parametrize("answer", [Basic.Ack(1), Basic.Nack(1)], ids=lambda one: one.name)
async def test_confirm_after_its_time_is_nobodys(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,  # noqa: ANN401 - a method
) -> None:
    """A message that is not confirmed in time is refused; its answer, once it comes, is no other's."""
    monkeypatch.setattr(bulk, "CONFIRM_SECONDS_MAX", 0.0)
    with pytest.raises(RefusedByBrokerError, match="no confirmation within 0 s"):
        await bench.publish("late")
    with pytest.raises(RefusedByBrokerError, match="no confirmation within 0 s"):
        await bench.publish("waits for that one, and in vain")
    assert bench.published == ["late"]
    monkeypatch.undo()

    bench.says(method(answer))
    publishing = bench.publish("next")
    await turn()
    assert bench.published == ["late", "next"]
    assert not publishing.done()
    bench.says(method(Basic.Ack(2)))
    await publishing


async def test_message_that_cannot_be_written_is_not_counted(bench: Bench) -> None:
    """What pamqp refuses to write raises, and the next message is the first."""
    with pytest.raises(TypeError, match="maximum length of 255"):
        await bench.publish("x" * 300)

    publishing = bench.publish("key")
    await turn()
    bench.says(method(Basic.Ack(1)))
    await asyncio.wait_for(publishing, SECONDS_MAX)


@pytest.mark.parametrize("others", [0, 2])
async def test_lost_channel_ends_every_publish(bench: Bench, others: int) -> None:
    """When the channel goes, who waits for an answer, or for their turn, is told; so is who comes later."""
    publishing = [bench.publish() for _ in range(1 + others)]
    await turn()

    bench.says(method(Channel.Close(404, "NOT_FOUND - no exchange", 60, 40)))

    for one in (*publishing, bench.publish()):
        with pytest.raises(PublishFailedError, match="404 NOT_FOUND - no exchange"):
            await asyncio.wait_for(one, SECONDS_MAX)
    assert bench.published == ["key"]


async def test_channel_lost_while_an_earlier_answer_is_awaited(bench: Bench) -> None:
    """Who waits for the answer to a message before is told as well."""
    first = bench.publish("first")
    await turn()
    first.cancel()
    second = bench.publish("second")
    await turn()

    bench.says(method(Channel.CloseOk()))

    with pytest.raises(PublishFailedError, match="channel is gone"):
        await asyncio.wait_for(second, SECONDS_MAX)
    with pytest.raises(PublishFailedError, match="channel is gone"):
        await asyncio.wait_for(bench.publish("third"), SECONDS_MAX)
    assert bench.published == ["first"]


async def test_answer_and_end_in_one_read(bench: Bench) -> None:
    """A message that is confirmed just before the channel goes is confirmed; the next one is not sent."""
    first, second = bench.publish("first"), bench.publish("second")
    await turn()

    bench.says(method(Basic.Ack(1)), method(Channel.CloseOk()))

    await first
    with pytest.raises(PublishFailedError, match="channel is gone"):
        await second
    assert bench.published == ["first"]


async def test_answers_that_nobody_waits_for_are_nothing(bench: Bench) -> None:
    """Confirms and returns that come twice, or of nothing, raise nothing."""
    bench.says(
        method(Basic.Ack(1)), *returned(OURS), method(Basic.Nack(9, multiple=True)), method(Basic.Ack(0))
    )
    publishing = bench.publish()
    await turn()
    bench.says(method(Basic.Ack(1)), method(Basic.Ack(1)), method(Basic.Nack(1)))
    await publishing


# The wire.


async def test_all_else_reaches_aio_pika(bench: Bench) -> None:
    """What is not ours is passed on, in order, with what came before the channel was diverted."""
    bench.says(*delivery(OURS, 1), method(Basic.CancelOk("tag")), method(Basic.Ack(1)), *delivery(7, 1))

    assert await bench.passed() == START + method(Basic.CancelOk("tag")) + b"".join(delivery(7, 1))


async def test_deliveries_are_a_sign_of_life(bench: Bench) -> None:
    """While only deliveries come, aio-pika is given heartbeats, which it counts, but not many."""
    for _ in range(40):
        bench.now += SIGN_OF_LIFE_SECONDS / 4
        bench.says(*delivery(OURS, 1))

    passed = (await bench.passed()).removeprefix(START)
    assert passed == HEARTBEAT_FRAME * (len(passed) // len(HEARTBEAT_FRAME))
    assert 5 <= len(passed) // len(HEARTBEAT_FRAME) <= 10
    assert frame.unmarshal(HEARTBEAT_FRAME)[2].name == "Heartbeat"


async def test_no_sign_of_life_beside_others(bench: Bench) -> None:
    """While other frames come, no heartbeat is made up."""
    for _ in range(8):
        bench.now += SIGN_OF_LIFE_SECONDS * 2
        bench.says(*delivery(OURS, 1), method(Basic.Qos()))

    assert await bench.passed() == START + method(Basic.Qos()) * 8


async def test_slow_handshake_has_no_sign_of_life() -> None:
    """A first frame that comes in pieces, seconds apart, is passed on as it is: there is no channel yet."""
    bench = Bench()
    for at in range(len(START)):
        bench.now += 3 * SIGN_OF_LIFE_SECONDS
        bench.says(START[at : at + 1])

    assert await bench.passed() == START


async def test_bad_frame_ends_the_connection(bench: Bench) -> None:
    """What is no AMQP ends the connection, and is logged; nothing of it is passed on."""
    with capture_logs() as logs:
        bench.says(b"\x01\0\0\0\0\0\x04\0\x3c\0\x0b?")

    assert bench.line.aborted
    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        ("amqp.bad_frame", "a frame does not end where it says")
    ]
    assert await bench.passed() == START


async def test_what_waits_is_given_at_once(bench: Bench) -> None:
    """What came in several reads is read together, in order; what comes after that is another batch."""
    bench.says(*delivery(OURS, 1), *delivery(OURS, 2))
    bench.says(*delivery(OURS, 3))
    first = await bench.source.read()
    bench.says(*delivery(OURS, 4))

    assert [one.tag for one in first] == [1, 2, 3]
    assert [one.tag for one in await bench.source.read()] == [4]
    assert [one.tag for one in first] == [1, 2, 3]
