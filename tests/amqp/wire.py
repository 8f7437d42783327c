"""What a broker puts on the wire, written and read by pamqp: a second opinion about our own reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pamqp import commands, frame
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.frame import FrameTypes
from pamqp.header import ContentHeader

from bridge.amqp.frames import Demultiplexer
from bridge.amqp.properties import ANONYMOUS, Properties
from bridge.core.delivery import Delivery

RECEIVED_AT = 1763719200.5
OURS, ALSO_OURS, THEIRS = 1, 2, 3  # Channels: the first two are mostly diverted.
START = frame.marshal(commands.Connection.Start(), 0)
"""What every broker says first."""

_PASSED_ON = {"priority": "priority", "correlation_id": "correlation_id", "reply_to": "reply_to"}
_PASSED_ON |= {"message_type": "type", "app_id": "app_id"}


@dataclass
class Heard:
    """A sink that keeps what it was told. Deliveries come at the end of a read, so they are kept apart."""

    deliveries: list[Delivery] = field(default_factory=list)
    news: list[tuple[Any, ...]] = field(default_factory=list)
    at_close: Callable[[], None] = lambda: None

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Keep deliveries."""
        assert deliveries, "told of nothing"
        self.deliveries += deliveries

    def on_confirm(self, tag: int, *, taken: bool) -> None:
        """Keep a confirm."""
        self.news.append(("confirm", tag, taken))

    def on_return(self, reason: str) -> None:
        """Keep a return."""
        self.news.append(("return", reason))

    def on_close(self, reason: str) -> None:
        """Keep the end."""
        self.news.append(("close", reason))
        self.at_close()


def message(
    method: Frame,
    channel: int,
    body: bytes = b"",
    *,
    body_bytes_max: int = 0,
    **properties: Any,  # noqa: ANN401 - of any kind
) -> list[bytes]:
    """Return the frames of a message; `body_bytes_max` bounds the piece of the body in each."""
    size = body_bytes_max or len(body) or 1
    header = ContentHeader(body_size=len(body), properties=commands.Basic.Properties(**properties))
    pieces = [ContentBody(body[at : at + size]) for at in range(0, len(body), size)]
    frames: list[FrameTypes] = [method, header, *pieces]
    return [frame.marshal(one, channel) for one in frames]


def delivery(
    channel: int,
    tag: int,
    body: bytes = b"{}",
    *,
    body_bytes_max: int = 0,
    **properties: Any,  # noqa: ANN401 - of any kind
) -> list[bytes]:
    """Return the frames of a delivery."""
    method = commands.Basic.Deliver(
        "tag", tag, redelivered=False, exchange="in", routing_key="alpha.happened"
    )
    return message(method, channel, body, body_bytes_max=body_bytes_max, **properties)


def some(kind: type[Any]) -> Frame:
    """Return a method of this kind, with something in each field that has to have something."""
    by_type = {"bit": True, "shortstr": "text", "longstr": "text"}
    one: Frame = kind()
    for name in one.attributes():
        if getattr(one, name) is None:
            setattr(one, name, by_type.get(one.amqp_type(name), 1))
    return one


def returned(channel: int, body: bytes = b"{}", **properties: Any) -> list[bytes]:  # noqa: ANN401 - of any kind
    """Return the frames of a message that no queue takes."""
    return message(commands.Basic.Return(312, "NO_ROUTE", "in", "nowhere"), channel, body, **properties)


def method(one: Frame, channel: int = OURS) -> bytes:
    """Return a method's frame."""
    return frame.marshal(one, channel)


_OF_A_MESSAGE = {"Basic.Deliver", "Basic.Return", "Basic.GetOk", "Basic.Publish"}
_TOLD = {"Basic.Ack", "Basic.Nack", "Channel.Close", "Channel.CloseOk"}
_KINDS: list[type[Any]] = list(commands.INDEX_MAPPING.values())
OTHERS = [kind for kind in _KINDS if kind.name not in _OF_A_MESSAGE | _TOLD]
"""Every method that is none of ours and is followed by no content."""


def read_by_us(pieces: Iterable[bytes], *diverted: int) -> tuple[bytes, dict[int, Heard]]:
    """Return what is passed on, and what the sinks of these channels hear. Raises FrameError."""
    demultiplexer = Demultiplexer()
    sinks = {channel: Heard() for channel in diverted}
    for channel, sink in sinks.items():
        demultiplexer.divert(channel, sink)
    return b"".join([demultiplexer.feed(piece, RECEIVED_AT) for piece in pieces]), sinks


def read_by_pamqp(stream: bytes, *diverted: int) -> tuple[bytes, dict[int, Heard]]:
    """Return the same as read_by_us, as pamqp sees it. The stream is whole."""
    sinks = {channel: Heard() for channel in diverted}
    open_sinks = dict(sinks)
    contents: dict[int, list[Any]] = {}  # By channel: method, header, body so far.
    passed = b""
    for raw, channel, one in frames_of(stream):
        sink = open_sinks.get(channel)
        if sink is None or not _told(sink, one, contents.setdefault(channel, [])):
            passed += raw
        if isinstance(one, commands.Channel.Close | commands.Channel.CloseOk):
            open_sinks.pop(channel, None)
    return passed, sinks


def _told(sink: Heard, one: Any, content: list[Any]) -> bool:  # noqa: ANN401 - any frame
    """Tell a sink of a frame; tell whether it is for the sink alone. `content` is of the last message."""
    match one:
        case commands.Basic.Deliver():
            content[:] = [one, None, b""]
        case commands.Basic.Return():
            content[:] = [one, None, b""]
            sink.on_return(f"{one.reply_code} {one.reply_text}")
        case ContentHeader():
            content[1] = one
        case ContentBody():
            content[2] += one.value
        case commands.Basic.Ack() | commands.Basic.Nack():
            assert one.delivery_tag is not None
            sink.on_confirm(one.delivery_tag, taken=isinstance(one, commands.Basic.Ack))
        case commands.Channel.Close():
            sink.on_close(f"{one.reply_code} {one.reply_text}")
            return False
        case commands.Channel.CloseOk():
            sink.on_close("")
            return False
        case _:
            return False
    whole = isinstance(one, ContentHeader | ContentBody) and len(content[2]) == content[1].body_size
    if whole and isinstance(content[0], commands.Basic.Deliver):
        sink.on_deliveries([_delivery(*content)])
    return True


def frames_of(stream: bytes) -> Iterator[tuple[bytes, int, Any]]:
    """Yield each frame of a stream: as bytes, its channel, and as pamqp sees it."""
    while stream:
        used, channel, one = frame.unmarshal(stream)
        yield stream[:used], channel, one
        stream = stream[used:]


def properties_by_pamqp(properties: commands.Basic.Properties) -> Properties:
    """Return what a delivery keeps of properties that pamqp has read."""
    headers = properties.headers or {}
    return (
        None if ANONYMOUS in headers else properties.message_id,
        properties.content_type,
        properties.content_encoding,
        properties.timestamp,
        headers,
        {
            ours: value
            for name, ours in _PASSED_ON.items()
            if (value := getattr(properties, name)) is not None
        },
    )


def _delivery(method: commands.Basic.Deliver, header: ContentHeader, body: bytes) -> Delivery:
    assert header.properties is not None
    return Delivery(
        method.routing_key or "",
        body,
        RECEIVED_AT,
        method.delivery_tag or 0,
        bool(method.redelivered),
        *properties_by_pamqp(header.properties),
    )
