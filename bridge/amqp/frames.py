"""Takes the frames that come by the thousand out of what a broker sends, in bulk. Pure.

A delivery is three frames: basic.deliver, a content header, a body. A client library makes an object
of each and hands it through queues and tasks, which costs twenty times what reading them does. Here
they are read where they lie in the buffer. All else that a broker says is passed on as it came,
whole frames in their order, to the library that runs the connection.

    bytes ──► Demultiplexer ──┬──► Sink     deliveries, confirms, returns, closing of channels with one
                              └──► bytes    everything else

Source: AMQP 0-9-1 section 4.2 (framing), 2.3.5.2 (content), class basic; RabbitMQ's extension
basic.nack (https://www.rabbitmq.com/docs/confirms).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct, error as StructError  # noqa: N812 - it is an exception
from typing import Protocol

from bridge.amqp.properties import NO_PROPERTIES, Properties, read_properties
from bridge.amqp.tolerant import read_short_text
from bridge.core.delivery import Delivery

MESSAGE_BYTES_MAX = 536_870_912  # RabbitMQ's largest, and no frame is larger: 131,072 unless set otherwise.
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
OVERHEAD_BYTES = 8  # Of a frame: its head and its end.
HEAD_BYTES = 7

_HEAD = Struct(">BHI")  # Type, channel, payload bytes.
_CONTENT_HEAD = Struct(">BHIHHQH")  # The same, class, weight, body bytes, property flags.
_CONTENT_HEAD_BYTES = _CONTENT_HEAD.size
_TAG = Struct(">Q")
_TAG_FLAG_LENGTH = Struct(">QBB")
_REPLY = Struct(">HB")  # A reply code, and how long its text is.
_CLASS_AND_METHOD = Struct(">HH")
_CONTENT_HEAD_PAYLOAD = Struct(">HHQH")

_BASIC, _CHANNEL = 60, 20
_DELIVER, _RETURNED, _ACK, _NACK = (_BASIC, 60), (_BASIC, 50), (_BASIC, 80), (_BASIC, 120)
_CLOSE = (_CHANNEL, 40)
_CLOSED = (_CLOSE, (_CHANNEL, 41))  # By the broker; by us, and the broker agrees.


class FrameError(Exception):
    """What came is no AMQP. The connection cannot go on, since nobody knows where the next frame begins."""


class Sink(Protocol):
    """Who gets the deliveries and confirms of one channel. No method may block or raise."""

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Take what came in one read, in order."""

    def on_confirm(self, tag: int, *, taken: bool) -> None:
        """Note that the broker has taken, or refuses, the message of this tag.

        Whether it means all before that one too is not told: one message at a time may be on its way.
        """

    def on_return(self, reason: str) -> None:
        """Note that the message which will be confirmed next could not be routed."""

    def on_close(self, reason: str) -> None:
        """Note that nothing more comes, and write nothing more: the number may soon be another channel's.

        `reason` is the broker's; empty if the channel was closed from here.
        """


@dataclass(slots=True)
class _Content:
    """A message that has begun to come. `method` is the payload of basic.deliver; empty, it is a return."""

    method: bytes
    missing: int = -1  # Bytes of the body; -1 before the header.
    properties: Properties = NO_PROPERTIES
    chunks: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Channel:
    sink: Sink
    fresh: list[Delivery] = field(default_factory=list)  # Of this read.
    content: _Content | None = None  # Set while a message is incomplete.

    def hand_out(self) -> None:
        """Give the sink what is fresh."""
        deliveries, self.fresh = self.fresh, []
        self.sink.on_deliveries(deliveries)


class Demultiplexer:
    """Divides what one connection receives."""

    def __init__(self) -> None:
        """Pass everything on, until a channel has a sink."""
        self._channels: dict[int, _Channel] = {}
        self._amqp: bool | None = None  # Whether the other side speaks it; known from its first byte.
        self._held = bytearray()  # Of a frame that is not complete.
        self._needed_bytes = HEAD_BYTES  # So many must be held before there is anything to look at.

    def divert(self, channel: int, sink: Sink) -> None:
        """Give deliveries, confirms and returns of a channel to `sink` from now on, until it closes.

        It must not be in the middle of a message, nor use basic.get.
        """
        self._channels[channel] = _Channel(sink)

    @property
    def diverting(self) -> bool:
        """Whether any channel has a sink."""
        return bool(self._channels)

    def feed(self, data: bytes, received_at: float) -> bytes:
        """Read bytes, however they are cut. Returns what is to be passed on: whole frames.

        If the first byte is that of no method frame, nobody there speaks AMQP 0-9-1: then everything
        is passed on as it is, because the library knows what to say of it.

        `received_at` (seconds since the Unix epoch) is noted in the deliveries.

        Raises:
            FrameError: what came is no AMQP; feed nothing more.
        """
        if self._amqp is None and data:
            self._amqp = data[0] == METHOD
        if not self._amqp:
            return data
        if self._held:
            if len(self._held) + len(data) < self._needed_bytes:
                self._held += data
                return b""
            data = b"".join((self._held, data))
        try:
            read, passed = self._read(data, received_at)
        except (StructError, IndexError, UnicodeDecodeError) as exc:
            raise FrameError(f"a frame cannot be read: {exc}") from exc
        self._held = bytearray(data[read:])
        for channel in self._channels.values():
            if channel.fresh:
                channel.hand_out()
        return b"".join(passed)

    def _read(self, data: bytes, received_at: float) -> tuple[int, list[bytes]]:
        """Read all whole frames. Returns how many bytes they had, and those to be passed on."""
        at, end = 0, len(data)
        passed: list[bytes] = []
        channels = self._channels
        while end - at >= HEAD_BYTES:
            kind, number, size = _HEAD.unpack_from(data, at)
            after = at + size + OVERHEAD_BYTES
            if after > end:
                if size > MESSAGE_BYTES_MAX:
                    raise FrameError(f"a frame has {size} bytes")
                self._needed_bytes = after - at
                return at, passed
            if data[after - 1] != FRAME_END:
                raise FrameError("a frame does not end where it says")
            channel = channels.get(number)
            if channel is None:
                passed.append(data[at:after])
            elif kind == METHOD and (whole := _whole_delivery(data, at, after, end, channel, received_at)):
                after = whole
            elif kind != METHOD:
                _take_content(channel, kind, data[at + HEAD_BYTES : after - 1], received_at)
            elif not self._take_method(number, channel, data[at + HEAD_BYTES : after - 1]):
                passed.append(data[at:after])
            at = after
        self._needed_bytes = HEAD_BYTES
        return at, passed

    def _take_method(self, number: int, channel: _Channel, payload: bytes) -> bool:
        """Handle a method that may have content; tell whether it was one of ours."""
        name = _CLASS_AND_METHOD.unpack_from(payload)
        if name in _CLOSED:
            reason = _reply(payload) if name == _CLOSE else ""
            del self._channels[number]
            if channel.fresh:
                channel.hand_out()
            channel.sink.on_close(reason)
            return False
        if channel.content is not None:
            raise FrameError("a message breaks off")
        if name == _DELIVER:
            channel.content = _Content(payload)
        elif name in (_ACK, _NACK):
            channel.sink.on_confirm(_TAG.unpack_from(payload, 4)[0], taken=name == _ACK)
        elif name == _RETURNED:
            channel.sink.on_return(_reply(payload))
            channel.content = _Content(b"")
        else:
            return False
        return True


def _reply(payload: bytes) -> str:
    """Return code and text of what the broker gives as its reason, which stand first."""
    code, length = _REPLY.unpack_from(payload, 4)
    return f"{code} {payload[7 : 7 + length].decode(errors='backslashreplace')}"


def _take_content(channel: _Channel, kind: int, payload: bytes, received_at: float) -> None:
    """Read the header of a message or a piece of its body; with the last one it is whole."""
    content = channel.content
    if content is None or kind != (HEADER if content.missing < 0 else BODY):
        raise FrameError(f"a frame of type {kind} comes where it must not")
    if kind == HEADER:
        _, _, content.missing, flags = _CONTENT_HEAD_PAYLOAD.unpack_from(payload)
        if content.missing > MESSAGE_BYTES_MAX:
            raise FrameError(f"a message has {content.missing} bytes")
        content.properties = read_properties(payload, _CONTENT_HEAD_PAYLOAD.size, len(payload), flags)
    else:
        if not payload:  # Any number of such would be no progress.
            raise FrameError("a piece of a body is empty")
        content.missing -= len(payload)
        content.chunks.append(payload)
        if content.missing < 0:
            raise FrameError("a body is longer than its header says")
    if content.missing == 0:
        channel.content = None
        method, body = content.method, b"".join(content.chunks)
        if method:
            channel.fresh.append(_delivery(method, 0, len(method), content.properties, body, received_at))


def _whole_delivery(  # noqa: PLR0917 - where a frame lies, and what to do with it
    data: bytes, at: int, header_at: int, end: int, channel: _Channel, received_at: float
) -> int:
    """Read a delivery all of which lies at hand in three frames. Returns where it ends, 0 if it does not.

    Nearly every one does, so this is the path that counts; the other one is right in all cases.
    """
    if data[at + 7 : at + 11] != b"\0\x3c\0\x3c" or end - header_at < _CONTENT_HEAD_BYTES + 1:
        return 0
    kind, number, size, _, _, body_bytes, flags = _CONTENT_HEAD.unpack_from(data, header_at)
    body_at: int = header_at + size + OVERHEAD_BYTES
    if kind != HEADER or channel.content is not None or number != int.from_bytes(data[at + 1 : at + 3]):
        return 0
    if body_bytes:
        after: int = body_at + body_bytes + OVERHEAD_BYTES
        if (
            after > end
            or _HEAD.unpack_from(data, body_at) != (BODY, number, body_bytes)
            or data[after - 1] != FRAME_END
        ):
            return 0
        body = data[body_at + HEAD_BYTES : after - 1]
    elif body_at > end:
        return 0
    else:
        after, body = body_at, b""
    if data[body_at - 1] != FRAME_END:
        return 0
    properties = read_properties(data, header_at + _CONTENT_HEAD_BYTES, body_at - 1, flags)
    channel.fresh.append(_delivery(data, at + HEAD_BYTES, header_at - 1, properties, body, received_at))
    return after


def _delivery(  # noqa: PLR0917 - where it lies, and what belongs to it
    data: bytes, at: int, end: int, properties: Properties, body: bytes, received_at: float
) -> Delivery:
    """Make a delivery from the payload of basic.deliver, which lies in `data` between `at` and `end`."""
    at += 5 + data[at + 4]  # Behind class, method and consumer tag.
    tag, redelivered, length = _TAG_FLAG_LENGTH.unpack_from(data, at)
    at += 10 + length  # Behind the exchange.
    after = at + 1 + data[at]
    if after > end:
        raise FrameError("a delivery is longer than its frame")
    key = data[at + 1 : after]
    return Delivery(
        key.decode() if key.isascii() else read_short_text(data[at:after])[1],
        body,
        received_at,
        tag,
        redelivered & 1 == 1,
        *properties,
    )
