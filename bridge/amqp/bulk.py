"""Reading deliveries in bulk on a connection that aio-pika made and goes on to run.

aio-pika opens the connection, logs in, opens channels, declares, consumes, answers heartbeats and
closes. Between its socket and its reader stands a Demultiplexer, which takes out what comes by the
thousand; acks and confirmed messages of such a channel are written past it, whole frames each time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, cast

import structlog
from aio_pika import Connection, DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, UnderlayConnection
from aiormq.abc import AbstractChannel as AbstractUnderlayChannel
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat
from yarl import URL

from bridge.amqp.frames import OVERHEAD_BYTES, Demultiplexer, FrameError
from bridge.amqp.publisher import CONFIRM_SECONDS_MAX, PublishFailedError, RefusedByBrokerError
from bridge.amqp.source import StockSource
from bridge.core.delivery import Delivery

log = structlog.get_logger()

HEARTBEAT_FRAME = frame.marshal(Heartbeat(), 0)
SIGN_OF_LIFE_SECONDS = 1.0  # Far less than a heartbeat's interval.
FRAME_BYTES_MAX = 131_072  # Of those written, where the broker sets no limit.
_SETTLE = Struct(">BHIHHQBB")  # A method frame with a delivery tag and a byte of flags.
_SETTLE_BYTES = _SETTLE.size - OVERHEAD_BYTES
_ACK, _NACK = (60, 80), (60, 120)
_MULTIPLE, _REQUEUE = 1, 2


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Wire(asyncio.StreamReaderProtocol):
    """The protocol of a connection: reads what is ours, gives the rest to the stream that aio-pika reads."""

    def __init__(
        self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]
    ) -> None:
        super().__init__(reader, loop=loop)
        self.frames = Demultiplexer()
        self.transport: asyncio.Transport
        self._clock = clock  # Monotonic, in seconds.
        self._passed_at = clock()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        try:
            passed = self.frames.feed(data, time.time())
        except FrameError as exc:
            log.error("amqp.bad_frame", reason=str(exc))  # noqa: TRY400 - no traceback needed
            self.transport.abort()
            return
        now = self._clock()
        if not passed and self.frames.diverting and now - self._passed_at > SIGN_OF_LIFE_SECONDS:
            # Deliveries prove that the broker lives, and it sends no heartbeat beside them; who counts
            # heartbeats must learn of it. Not before there is a channel: a handshake has none.
            passed = HEARTBEAT_FRAME
        if passed:
            self._passed_at = now
            super().data_received(passed)


class _Writer(asyncio.StreamWriter):
    """What aiormq writes with, and ends the connection.

    It does not end our side ahead of that: a source writes until it knows, and asyncio raises then.
    """

    def can_write_eof(self) -> bool:
        return False


class _Factory(TransportFactory):
    """Opens the TCP or TLS connection, as aiormq's own factories do, with our protocol on it."""

    wire: _Wire

    async def create(self, url: URL, **kwargs: Any) -> _Streams:  # noqa: ANN401 - aiormq's
        """Connect. Raises AMQPConnectionError."""
        contexts = kwargs.pop("ssl_context_provider")
        context = await contexts.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        wire = self.wire = _Wire(reader, loop, loop.time)
        try:
            transport, _ = await loop.create_connection(
                lambda: wire, url.host or "", url.port or 0, ssl=context, **kwargs
            )
        except OSError as exc:
            raise AMQPConnectionError(*exc.args) from exc
        return reader, _Writer(transport, wire, reader, loop)


class BulkConnection(Connection):
    """An aio-pika connection on which `BulkSource` can read."""

    def __init__(self, url: URL, **kwargs: Any) -> None:  # noqa: ANN401 - aio-pika's
        """As aio-pika's."""
        super().__init__(url, **kwargs)
        self._factory = _Factory()
        self.kwargs["transport_factory"] = self._factory

    @property
    def wire(self) -> _Wire:
        """The protocol; there once connected."""
        return self._factory.wire

    @property
    def body_bytes_max(self) -> int:
        """How much of a body one frame can hold."""
        agreed = cast(UnderlayConnection, self.transport).connection.connection_tune.frame_max
        return (agreed or FRAME_BYTES_MAX) - OVERHEAD_BYTES


class BulkSource(StockSource):
    """Reads deliveries, acks and publishes by itself; all else is aio-pika's.

    Nobody else may publish over the channel: aio-pika would count other delivery tags than the broker.
    """

    def __init__(
        self,
        connection: BulkConnection,
        channel: AbstractChannel,
        queue_name: str,
        *,
        prefetch: int,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        """`channel` is one of `connection`'s; else as StockSource."""
        super().__init__(channel, queue_name, prefetch=prefetch, arguments=arguments)
        self._wire = connection.wire
        self._body_bytes_max = connection.body_bytes_max
        self._number = 0  # Of the channel; set once, at the start.
        self._publishing = asyncio.Lock()  # One message at a time: a return does not say which it means.
        self._tag = 0  # Of the message published last.
        self._answered = 0  # The tag that the broker confirmed or refused last.
        self._answer: asyncio.Future[bool] | None = None  # Set while one is awaited: whether it was taken.
        self._returned = ""  # Why the message published last was returned.

    async def ack(self, up_to: Delivery) -> None:
        """Settle this and every earlier unsettled delivery. Never fails: what is lost is delivered again."""
        self._settle(_ACK, up_to.tag, _MULTIPLE)
        self._settled(up_to)

    async def requeue(self, delivery: Delivery) -> None:
        """Give one delivery back. Never fails."""
        self._settle(_NACK, delivery.tag, _REQUEUE)
        self._in_hand = [other for other in self._in_hand if other is not delivery]

    async def publish(
        self, exchange: str, routing_key: str, body: bytes, properties: Mapping[str, Any]
    ) -> None:
        """Publish over the channel, which has confirms; as `publish_confirmed`."""
        message = Message(body, delivery_mode=DeliveryMode.PERSISTENT, **properties)
        frames = self._frames_of(exchange, routing_key, message)
        try:
            async with asyncio.timeout(CONFIRM_SECONDS_MAX), self._publishing:
                if self._answered != self._tag:
                    await self._answered_by_broker()  # The one before, whose caller did not wait so long.
                if self._lost:
                    raise PublishFailedError(f"the channel is gone: {self._lost}")
                self._tag += 1
                self._returned = ""
                self._wire.transport.write(frames)
                taken = await self._answered_by_broker()
                returned = self._returned
        except TimeoutError as exc:
            raise RefusedByBrokerError(f"no confirmation within {CONFIRM_SECONDS_MAX:g} s") from exc
        if returned:
            where = exchange or "the default exchange"
            raise PublishFailedError(f"no queue takes {routing_key!r} from {where}: {returned}")
        if not taken:
            raise RefusedByBrokerError("the broker refused the message: a queue is full")

    def lose(self, reason: str) -> None:
        """Make `read` raise: nothing more will come, and nothing be confirmed."""
        super().lose(reason)
        self._answered = self._tag
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(PublishFailedError(f"the channel is gone: {reason}"))

    # What the demultiplexer calls.

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Keep what came for `read`."""
        if self._waiting:
            self._waiting += deliveries
        else:
            self._waiting = deliveries
        self._changed.set()

    def on_confirm(self, tag: int, *, taken: bool) -> None:
        """Wake whoever waits for it."""
        self._answered = tag
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(taken)

    def on_return(self, reason: str) -> None:
        """Note that the message being published went nowhere."""
        self._returned = reason

    def on_close(self, reason: str) -> None:
        """Be lost before anybody else hears of it: whoever opens a channel next may get this number."""
        self.lose(f"channel closed: {reason}" if reason else "channel closed")

    async def _answered_by_broker(self) -> bool:
        """Wait for the broker's answer to the message published last; tell whether it was taken."""
        self._answer = asyncio.get_running_loop().create_future()
        try:
            return await self._answer
        finally:
            self._answer = None

    def _prepare(self, underlay: AbstractUnderlayChannel) -> None:
        self._number = underlay.number
        self._wire.frames.divert(self._number, self)

    def _settle(self, method: tuple[int, int], tag: int, flags: int) -> None:
        if not self._lost:  # The number may be another channel's by now.
            self._wire.transport.write(
                _SETTLE.pack(1, self._number, _SETTLE_BYTES, *method, tag, flags, 0xCE)
            )

    def _frames_of(self, exchange: str, routing_key: str, message: Message) -> bytes:
        """Return the frames of a message."""
        body, number = message.body, self._number
        header = ContentHeader(body_size=len(body), properties=message.properties)
        pieces = [
            _publish_frame(number, exchange, routing_key),
            frame.marshal(header, number),
        ]
        size = self._body_bytes_max
        pieces += [
            frame.marshal(ContentBody(body[at : at + size]), number) for at in range(0, len(body), size)
        ]
        return b"".join(pieces)


@lru_cache(maxsize=64)  # Each domain has two: the log, and its dead letters.
def _publish_frame(number: int, exchange: str, routing_key: str) -> bytes:
    return frame.marshal(commands.Basic.Publish(0, exchange, routing_key, mandatory=True), number)


def source_on(
    connection: AbstractConnection,
    channel: AbstractChannel,
    queue_name: str,
    *,
    prefetch: int,
    arguments: dict[str, Any] | None = None,
) -> StockSource:
    """Return the fastest source that this connection allows, on one of its channels; it must be started."""
    if isinstance(connection, BulkConnection):
        return BulkSource(connection, channel, queue_name, prefetch=prefetch, arguments=arguments)
    return StockSource(channel, queue_name, prefetch=prefetch, arguments=arguments)
