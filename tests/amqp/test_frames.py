"""The reader of frames, byte by byte, beside pamqp: whatever is cut wherever, both see the same."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from pamqp import commands, frame
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.header import ProtocolHeader
from pamqp.heartbeat import Heartbeat

from bridge.amqp import frames
from bridge.amqp.frames import MESSAGE_BYTES_MAX, Demultiplexer, FrameError
from tests.amqp.wire import (
    ALSO_OURS,
    OTHERS,
    OURS,
    RECEIVED_AT,
    START,
    THEIRS,
    Heard,
    delivery,
    message,
    method,
    read_by_pamqp,
    read_by_us,
    returned,
    some,
)

pytestmark = pytest.mark.filterwarnings("ignore:This command is deprecated")  # Says pamqp of some.
Basic, Channel, Connection = commands.Basic, commands.Channel, commands.Connection
HEARTBEAT = frame.marshal(Heartbeat(), 0)
PROPERTIES: dict[str, Any] = {"message_id": "m1", "headers": {"n": 1, "text": "é"}, "priority": 3}


THIRD, FOURTH = delivery(ALSO_OURS, 1, b"taking"), delivery(OURS, 3, b"turns")
CONVERSATION = (
    START,
    method(Channel.OpenOk()),
    method(Basic.ConsumeOk("tag")),
    *delivery(OURS, 1, b"one"),
    *delivery(OURS, 2, b"", **PROPERTIES),
    HEARTBEAT,
    THIRD[0],
    FOURTH[0],  # What follows it is the other channel's.
    *THIRD[1:],
    *FOURTH[1:],
    *delivery(OURS, 4, b"in pieces", body_bytes_max=4, message_id="m3"),
    *delivery(THEIRS, 1, b"not ours", message_id="m4"),
    method(Basic.Ack(1, multiple=False)),
    method(Basic.Nack(3, multiple=True)),
    *returned(OURS),
    method(Basic.Ack(4)),
    *returned(OURS, b""),
    method(Connection.Blocked("memory"), 0),
    method(Connection.Unblocked(), 0),
    method(Basic.Cancel("tag")),
    *delivery(ALSO_OURS, 2, b"\xce" * 20),
    method(Channel.Close(406, "PRECONDITION_FAILED - é", 60, 80)),
    method(Channel.CloseOk(), ALSO_OURS),
    method(Connection.Close(320, "CONNECTION_FORCED", 0, 0), 0),
    *delivery(OURS, 9, b"of a channel that is closed"),
)
STREAM = b"".join(CONVERSATION)


def test_nothing_is_ours_before_it_is_diverted() -> None:
    """Without a sink everything is passed on as it came."""
    assert read_by_us([STREAM])[0] == STREAM


def test_conversation_may_be_cut_anywhere() -> None:
    """Wherever what comes is cut in two, it is read as if it came at once, and as pamqp reads it."""
    whole = read_by_pamqp(STREAM, OURS, ALSO_OURS)
    for at in range(1, len(STREAM)):
        assert read_by_us([STREAM[:at], STREAM[at:]], OURS, ALSO_OURS) == whole, f"cut at {at}"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 64, len(STREAM)])
def test_conversation_may_come_in_pieces(size: int) -> None:
    """However small the pieces are, they are read as if they came at once."""
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]

    assert read_by_us(pieces, OURS, ALSO_OURS) == read_by_pamqp(STREAM, OURS, ALSO_OURS)


def test_what_is_taken_out() -> None:
    """Of a diverted channel, deliveries, confirms, returns and its end are told; all else is passed on."""
    passed, heard = read_by_us([STREAM], OURS)

    assert [(one.tag, one.body) for one in heard[OURS].deliveries] == [
        (1, b"one"),
        (2, b""),
        (3, b"turns"),
        (4, b"in pieces"),
    ]
    assert heard[OURS].news == [
        ("confirm", 1, True),
        ("confirm", 3, False),
        ("return", "312 NO_ROUTE"),
        ("confirm", 4, True),
        ("return", "312 NO_ROUTE"),
        ("close", "406 PRECONDITION_FAILED - é"),
    ]
    assert passed.count(b"not ours") == 1
    assert passed.endswith(CONVERSATION[-1])
    assert b"in pieces"[:4] not in passed


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.name)
def test_every_other_method_is_passed_on(kind: type[Any]) -> None:
    """A method that is none of ours is passed on untouched, whether its channel is diverted or not."""
    stream = START + method(some(kind)) + method(some(kind), THEIRS)

    assert read_by_us([stream], OURS) == (stream, {OURS: Heard()})


@pytest.mark.parametrize(("octet", "redelivered"), [(0, False), (1, True), (2, False), (3, True)])
def test_redelivered_is_one_bit(octet: int, *, redelivered: bool) -> None:
    """Whether it was delivered before is the lowest bit of its octet; the others mean nothing yet."""
    deliver, *rest = delivery(OURS, 5)
    tag = struct.pack(">Q", 5)
    deliver = deliver.replace(tag + b"\0", tag + bytes([octet]))
    _, heard = read_by_us([START, b"".join([deliver, *rest])], OURS)

    assert [one.redelivered for one in heard[OURS].deliveries] == [redelivered]


def test_deliveries_of_one_read_come_together() -> None:
    """What comes in one read is handed over at once, in order, with the time of that read."""
    batches: list[list[int]] = []
    heard = Heard()
    heard.on_deliveries = lambda deliveries: batches.append([one.tag for one in deliveries])  # type: ignore[method-assign]
    demultiplexer = Demultiplexer()
    demultiplexer.divert(OURS, heard)
    stream = START + b"".join(b"".join(delivery(OURS, tag)) for tag in range(1, 8))
    cut = len(stream) - 3

    demultiplexer.feed(stream[:cut], RECEIVED_AT)
    demultiplexer.feed(stream[cut:], RECEIVED_AT)

    assert batches == [[1, 2, 3, 4, 5, 6], [7]]


@pytest.mark.parametrize(
    "closing", [Channel.CloseOk(), Channel.Close(404, "NOT_FOUND", 0, 0)], ids=["by us", "by the broker"]
)
@pytest.mark.parametrize("unfinished", [0, 1, 2])
def test_number_of_a_closed_channel_is_used_again(closing: Frame, unfinished: int) -> None:
    """After a channel's end, even amid a message, its number is another's: passed on until diverted anew."""
    demultiplexer, old, new = Demultiplexer(), Heard(), Heard()
    demultiplexer.divert(OURS, old)
    between = START + method(Channel.OpenOk()) + b"".join(delivery(OURS, 1, b"undiverted"))

    first = b"".join([START, *delivery(OURS, 7, b"old"), *delivery(OURS, 8)[:unfinished], method(closing)])
    passed = demultiplexer.feed(first + between, RECEIVED_AT)
    assert not demultiplexer.diverting
    demultiplexer.divert(OURS, new)
    assert demultiplexer.feed(b"".join(delivery(OURS, 1, b"new")), RECEIVED_AT) == b""

    assert passed == START + method(closing) + between
    assert ([one.body for one in old.deliveries], len(old.news)) == ([b"old"], 1)
    assert ([one.body for one in new.deliveries], new.news) == ([b"new"], [])


def test_end_of_a_channel_is_told_last() -> None:
    """A sink has all its deliveries when it is told of the end, and hears of nothing after it."""
    heard = Heard()
    at_close: list[int] = []
    heard.at_close = lambda: at_close.append(len(heard.deliveries))
    demultiplexer = Demultiplexer()
    demultiplexer.divert(OURS, heard)
    end = method(Channel.CloseOk())

    demultiplexer.feed(b"".join([START, *delivery(OURS, 1), end, *delivery(OURS, 2), end]), RECEIVED_AT)

    assert at_close == [1]
    assert len(heard.deliveries) == 1


# What is no AMQP.


def broken(*pieces: bytes) -> bytes:
    """Put a broken stream behind a sound beginning."""
    return b"".join((START, *pieces))


def raw(kind: int, payload: bytes, channel: int = OURS, end: bytes = b"\xce") -> bytes:
    """Return a frame with anything in it."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def header(body_bytes: int, flags: int = 0, values: bytes = b"") -> bytes:
    """Return a content header with anything in it."""
    return raw(2, struct.pack(">HHQH", 60, 0, body_bytes, flags) + values)


DELIVER, HEADER, BODY = delivery(OURS, 1, b"four")
TWO_BYTES = frame.marshal(ContentBody(b"tw"), OURS)
MALFORMED = {
    "wrong end": broken(raw(1, b"\0\x3c\0\x50" + b"\0" * 9, end=b"\xcd")),
    "wrong end on a channel that is not ours": broken(raw(1, b"\0\x3c\0\x50", THEIRS, end=b"\0")),
    "wrong end of a header": broken(DELIVER, HEADER[:-1] + b"\0", BODY),
    "wrong end of a body": broken(DELIVER, HEADER, BODY[:-1] + b"\0"),
    "frame that is too big": broken(struct.pack(">BHI", 3, OURS, MESSAGE_BYTES_MAX + 1)),
    "message that is too big": broken(DELIVER, header(MESSAGE_BYTES_MAX + 1)),
    "message of more bytes than there are": broken(DELIVER, header(2**64 - 1)),
    "unknown type": broken(raw(4, b"")),
    "unknown type amid a message": broken(DELIVER, raw(0, HEADER)),
    "heartbeat on a channel": broken(raw(8, b"")),
    "heartbeat amid a message": broken(DELIVER, HEADER, raw(8, b"")),
    "header without a method": broken(HEADER),
    "body without a method": broken(BODY),
    "body without a header": broken(DELIVER, BODY),
    "body after the last": broken(DELIVER, HEADER, BODY, BODY),
    "body of an empty message": broken(DELIVER, header(0), BODY),
    "body that is too long": broken(DELIVER, header(3), BODY),
    "second piece that is too long": broken(DELIVER, header(5), BODY, TWO_BYTES),
    "empty piece of a body": broken(DELIVER, HEADER, raw(3, b"")),
    "body in the place of a header": broken(DELIVER, raw(3, HEADER[7:-1]), BODY),
    "second header": broken(DELIVER, HEADER, HEADER),
    "message that breaks off": broken(DELIVER, DELIVER),
    "message that breaks off before a whole one": broken(DELIVER, DELIVER, HEADER, BODY),
    "message that breaks off after its header": broken(DELIVER, HEADER, method(Basic.Ack(1))),
    "return that breaks off": broken(method(Basic.Return(312, "NO_ROUTE", "", "")), DELIVER),
    "method without a name": broken(raw(1, b"\0\x3c\0")),
    "deliver without a tag": broken(raw(1, b"\0\x3c\0\x3c\1"), header(0)),
    "deliver with a key that does not fit": broken(DELIVER.replace(b"\x0ealpha", b"\x0falpha"), header(0)),
    "deliver that is cut off": broken(raw(1, DELIVER[7:-2]), header(0)),
    "the same with a body": broken(raw(1, DELIVER[7:-2]), HEADER, BODY),
    "confirm without a tag": broken(raw(1, b"\0\x3c\0\x50\0\0")),
    "return without a reason": broken(raw(1, b"\0\x3c\0\x32\0")),
    "close without a reason": broken(raw(1, b"\0\x14\0\x28")),
    "header that is cut off": broken(DELIVER, raw(2, HEADER[7:-4])),
    "header that is cut off, with a body": broken(DELIVER, raw(2, HEADER[7:-4]), BODY),
    "properties that are not there": broken(DELIVER, header(0, 0x8000)),
    "properties that are not there, with a body": broken(DELIVER, header(4, 0x0040), BODY),
    "text that does not fit": broken(DELIVER, header(4, 0x0080, b"\x05abc"), BODY),
    "headers that do not fit": broken(DELIVER, header(4, 0x2000, b"\0\0\1\0"), BODY),
    "flags that nobody knows": broken(DELIVER, header(4, 0x0001, b"\0\0"), BODY),
    "http amid the frames": broken(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
}


@pytest.mark.parametrize("stream", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("size", [10_000, 1], ids=["at once", "in bytes"])
def test_what_is_malformed_is_refused(stream: bytes, size: int) -> None:
    """A stream that breaks the rules of framing or content raises FrameError, however it comes."""
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]

    with pytest.raises(FrameError):
        read_by_us(pieces, OURS)


OF_OTHERS = {
    "another version": ProtocolHeader(0, 9, 0).marshal(),
    "AMQP 1.0": b"AMQP\x03\x01\x00\x00",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x28",
    "zeros": b"\0" * 20,
}


@pytest.mark.parametrize("answer", OF_OTHERS.values(), ids=OF_OTHERS)
@pytest.mark.parametrize("size", [100, 1], ids=["at once", "in bytes"])
def test_answer_in_another_protocol_is_passed_on(answer: bytes, size: int) -> None:
    """Who does not speak AMQP is left to the library to complain about: it gets every byte, at once."""
    demultiplexer = Demultiplexer()
    for piece in (answer[at : at + size] for at in range(0, len(answer), size)):
        assert demultiplexer.feed(piece, RECEIVED_AT) == piece


# Limits.


@pytest.mark.skipif(not frames.__file__.endswith(".py"), reason="looks inside of what is compiled here")
def test_large_frame_in_tiny_pieces_is_looked_at_thrice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a frame is whole its pieces are only kept, and no more than they: time and memory are linear."""
    seen: list[int] = []
    read: Callable[..., Any] = Demultiplexer._read

    def counted(self: Demultiplexer, data: bytes, received_at: float) -> Any:  # noqa: ANN401 - as the one it calls
        seen.append(len(data))
        return read(self, data, received_at)

    monkeypatch.setattr(Demultiplexer, "_read", counted)
    demultiplexer, heard = Demultiplexer(), Heard()
    demultiplexer.divert(OURS, heard)
    *before, large = delivery(OURS, 1, b"x" * 200_000)
    demultiplexer.feed(b"".join([START, *before]), RECEIVED_AT)
    seen.clear()

    for at in range(len(large)):
        demultiplexer.feed(large[at : at + 1], RECEIVED_AT)
        assert len(demultiplexer._held) <= at + 1

    assert seen == [1, 7, len(large)]
    assert [len(one.body) for one in heard.deliveries] == [200_000]
    assert not demultiplexer._held


def test_message_of_many_frames_is_joined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body in many frames is kept in pieces until the last has come, and is theirs alone."""
    demultiplexer, heard = Demultiplexer(), Heard()
    demultiplexer.divert(OURS, heard)
    body = bytes(range(256)) * 40
    pieces = delivery(OURS, 1, body, body_bytes_max=10)
    monkeypatch.setattr(frames, "MESSAGE_BYTES_MAX", len(body))  # It may be as large as that.

    demultiplexer.feed(START, RECEIVED_AT)
    for piece in pieces[:-1]:
        assert demultiplexer.feed(piece, RECEIVED_AT) == b""
        assert heard.deliveries == []
    demultiplexer.feed(pieces[-1], RECEIVED_AT)

    assert [one.body for one in heard.deliveries] == [body]


def test_limits_are_of_what_is_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message of the largest size is read, one byte more is refused; the same for a frame."""
    monkeypatch.setattr(frames, "MESSAGE_BYTES_MAX", 100)
    _, heard = read_by_us([START, *delivery(OURS, 1, b"x" * 100)], OURS)
    assert len(heard[OURS].deliveries) == 1

    with pytest.raises(FrameError, match="message has 101 bytes"):
        read_by_us([START, *delivery(OURS, 1, b"x" * 101)], OURS)
    with pytest.raises(FrameError, match="frame has 101 bytes"):
        read_by_us([START, frame.marshal(ContentBody(b"x" * 101), THEIRS)[:-1]], OURS)


def test_reason_may_be_any_text() -> None:
    """Text in a reason that is not UTF-8 is escaped, and one that is cut off is told as far as it goes."""
    close = raw(1, struct.pack(">HHHB", 20, 40, 406, 9) + b"caf\xe9")

    _, heard = read_by_us([START + close], OURS)

    assert heard[OURS].news == [("close", "406 caf\\xe9")]


def test_body_of_a_return_is_nobodys() -> None:
    """What a return carries is read over, of any size."""
    frames_of_it = message(Basic.Return(312, "NO_ROUTE", "", "x"), OURS, b"x" * 50, body_bytes_max=7)
    _, heard = read_by_us([START, *frames_of_it, method(Basic.Ack(1))], OURS)

    assert heard[OURS].news == [("return", "312 NO_ROUTE"), ("confirm", 1, True)]
