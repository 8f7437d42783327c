"""A message's properties, read where they lie: what is kept of them, beside what pamqp makes of them."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, strategies as st
from pamqp import commands
from pamqp.header import ContentHeader

from bridge.amqp.frames import FrameError
from bridge.amqp.properties import ANONYMOUS, NO_PROPERTIES, Properties, read_properties
from tests.amqp.wire import OURS, START, delivery, properties_by_pamqp, read_by_us

AT = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
HEAD = struct.Struct(">HHQH")
FLAGS = {"content_type": 0x8000, "headers": 0x2000, "correlation_id": 0x0400, "message_id": 0x0080}
FLAGS |= {"timestamp": 0x0040, "type": 0x0020, "app_id": 0x0008, "cluster_id": 0x0004, "more": 0x0001}
TOO_LATE = b"\xff" * 8

EVERY: dict[str, Any] = {
    "content_type": "application/json",
    "content_encoding": "gzip",
    "headers": {"traceparent": "00-1-2-00"},
    "delivery_mode": 2,
    "priority": 7,
    "correlation_id": "c1",
    "reply_to": "r1",
    "expiration": "60000",
    "message_id": "m1",
    "timestamp": AT,
    "message_type": "alpha.happened",
    "user_id": "guest",
    "app_id": "alpha-service",
}


def written(**properties: Any) -> bytes:  # noqa: ANN401 - of any kind
    """Return the payload of a content header, as pamqp writes it."""
    return ContentHeader(body_size=0, properties=commands.Basic.Properties(**properties)).marshal()


def by_us(payload: bytes) -> Properties:
    """Read the payload of a content header."""
    return read_properties(payload, HEAD.size, len(payload), HEAD.unpack_from(payload)[3])


def by_pamqp(payload: bytes) -> Properties:
    """Read the same with pamqp."""
    header = ContentHeader()
    header.unmarshal(payload)
    assert header.properties is not None
    return properties_by_pamqp(header.properties)


def raw(*named: tuple[str, bytes]) -> bytes:
    """Return the payload of a content header of these flags with any bytes as their values."""
    flags = sum(FLAGS[name] for name, _ in named)
    return HEAD.pack(60, 0, 0, flags) + b"".join(value for _, value in named)


def table(*fields: tuple[bytes, bytes]) -> bytes:
    """Return a field table of these keys and (typed) values (AMQP 0-9-1 section 4.2.5.5)."""
    content = b"".join(bytes([len(key)]) + key + value for key, value in fields)
    return struct.pack(">I", len(content)) + content


def test_message_without_properties_has_none() -> None:
    """No flags, no values."""
    assert by_us(written()) == by_pamqp(written()) == NO_PROPERTIES


@pytest.mark.parametrize("name", EVERY)
def test_each_property_alone(name: str) -> None:
    """Each is read as pamqp reads it, when no other is there."""
    payload = written(**{name: EVERY[name]})

    assert by_us(payload) == by_pamqp(payload)


@pytest.mark.parametrize("name", [*EVERY, "none"])
def test_each_property_missing(name: str) -> None:
    """All but one are read as pamqp reads them: nobody's value is taken for another's."""
    payload = written(**{key: value for key, value in EVERY.items() if key != name})

    assert by_us(payload) == by_pamqp(payload)


def test_what_is_kept() -> None:
    """What ingest reads has its field; what a dead letter keeps is with the others; the rest is let go."""
    assert by_us(written(**EVERY)) == (
        "m1",
        "application/json",
        "gzip",
        AT,
        {"traceparent": "00-1-2-00"},
        {
            "priority": 7,
            "correlation_id": "c1",
            "reply_to": "r1",
            "type": "alpha.happened",
            "app_id": "alpha-service",
        },
    )


def test_property_that_is_no_longer_used_is_read_over() -> None:
    """A cluster_id, which pamqp does not write, is in nobody's way, nor is it kept."""
    payload = raw(("message_id", b"\x02m1"), ("app_id", b"\x01a"), ("cluster_id", b"\x02k1"))

    assert by_us(payload) == ("m1", None, None, None, {}, {"app_id": "a"})


def test_id_that_nobody_gave_is_none() -> None:
    """A message that had no message_id when it was passed on has none, whatever the library gave it."""
    assert by_us(written(message_id="invented", headers={ANONYMOUS: True}))[0] is None
    assert by_us(written(message_id="given", headers={"x": True}))[0] == "given"


TEXTS = st.text(min_size=1, max_size=60)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
ANY = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys((name for name, value in EVERY.items() if isinstance(value, str)), TEXTS),
        "headers": st.dictionaries(TEXTS, VALUES, max_size=4),
        "delivery_mode": st.integers(1, 2),
        "priority": st.integers(0, 255),
        "timestamp": st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - it is given one
    },
)


@given(ANY)
def test_any_properties_are_read_as_pamqp_reads_them(properties: dict[str, Any]) -> None:
    """Whatever there is, and whatever it is, both see the same."""
    payload = written(**properties)

    assert by_us(payload) == by_pamqp(payload)


@given(ANY, st.data())
def test_properties_that_are_cut_off_do_not_fit(properties: dict[str, Any], data: st.DataObject) -> None:
    """Cut off anywhere, they raise what the reader of frames expects, and are not read in part."""
    payload = written(**properties)
    size = data.draw(st.integers(HEAD.size, max(HEAD.size, len(payload) - 1)))

    flags = HEAD.unpack_from(payload)[3]
    assume(size < len(payload))

    with pytest.raises((IndexError, struct.error)):
        by_us(payload[:size])
    with pytest.raises((IndexError, struct.error)):
        read_properties(payload, HEAD.size, size, flags)  # What follows is another frame's.


@given(st.integers(0, 0xFFFF), st.binary(max_size=80))
def test_any_bytes_are_read_or_do_not_fit(flags: int, values: bytes) -> None:
    """Any flags before any bytes raise nothing else."""
    try:
        by_us(HEAD.pack(60, 0, 0, flags) + values)
    except (IndexError, struct.error):
        return


@given(st.binary(max_size=200))
def test_any_table_is_read_or_is_empty(content: bytes) -> None:
    """Any bytes in place of a table raise nothing: the message around it is whole."""
    headers = by_us(raw(("headers", struct.pack(">I", len(content)) + content)))[4]

    assert isinstance(dict(headers), dict)


TABLE_VALUES: dict[str, tuple[bytes, Any]] = {
    "boolean": (b"t\x01", True),
    "signed octet": (b"b\xff", -1),
    "octet": (b"B\xff", 255),
    "signed 16 bits": (b"s\xff\xfe", -2),
    "16 bits": (b"u\xff\xfe", 65534),
    "signed 32 bits": (b"I\xff\xff\xff\xfd", -3),
    "32 bits": (b"i\xff\xff\xff\xfd", 2**32 - 3),
    "signed 64 bits": (b"l" + b"\xff" * 7 + b"\xfc", -4),
    "64 bits": (b"L" + b"\xff" * 7 + b"\xfc", -4),
    "float": (b"f" + struct.pack(">f", 0.5), 0.5),
    "double": (b"d" + struct.pack(">d", 1e300), 1e300),
    "decimal": (b"D\x02" + struct.pack(">I", 314), Decimal("3.14")),
    "long text": (b"S\0\0\0\x05caf\xc3\xa9", "café"),
    "long text that is not UTF-8": (b"S\0\0\0\x04caf\xe9", b"caf\xe9"),
    "bytes": (b"x\0\0\0\x03\0\x01\xff", b"\0\x01\xff"),
    "time": (b"T" + struct.pack(">Q", int(AT.timestamp())), AT),
    "time in microseconds": (b"T" + struct.pack(">Q", 1_700_000_000_000_000), None),
    "time of all ones": (b"T" + TOO_LATE, None),
    "nothing": (b"V", None),
    "array": (b"A\0\0\0\x04b\x01t\x01", [1, True]),
    "array without anything": (b"A\0\0\0\0", []),
    "table": (b"F" + table((b"n", b"b\x01")), {"n": 1}),
    "table in a table": (b"F" + table((b"t", b"F" + table((b"n", b"V")))), {"t": {"n": None}}),
    "table in an array": (b"A\0\0\0\x09F" + table((b"n", b"V")) + b"V", [{"n": None}, None]),
}
"""Typed values (https://www.rabbitmq.com/docs/amqp-0-9-1-errata, section 3), and what they are read as."""


@pytest.mark.parametrize("name", TABLE_VALUES)
def test_every_type_of_a_table_is_read(name: str) -> None:
    """A header of any type is read, and so is what follows it."""
    value, meant = TABLE_VALUES[name]
    payload = raw(("headers", table((b"h", value), (b"next", b"b\x07"))), ("message_id", b"\x02m1"))

    message_id, *_, headers, _ = by_us(payload)

    assert headers == {"h": meant, "next": 7}
    assert type(headers["h"]) in {type(meant), bytearray}
    assert message_id == "m1"


DAMAGED = {
    "unknown type": table((b"h", b"?")),
    "value that is missing": table((b"h", b"l\0")),
    "array that is too long": table((b"h", b"A\0\0\0\xff")),
    "array of an unknown type": table((b"h", b"A\0\0\0\x01?")),
    "table that is damaged": table((b"h", b"F" + table((b"n", b"?")))),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_table_is_empty(name: str) -> None:
    """A table that is wrong inside is as none; the properties behind it are read."""
    payload = raw(("headers", DAMAGED[name]), ("message_id", b"\x02m1"))

    assert by_us(payload) == ("m1", None, None, None, {}, {})


def test_table_that_is_nested_too_deeply_is_empty() -> None:
    """However deep a table is nested, nothing is raised, and the rest is read."""
    inner = table()
    for _ in range(3_000):
        inner = table((b"t", b"F" + inner))

    message_id, *_, headers, _ = by_us(raw(("headers", inner), ("message_id", b"\x02m1")))

    assert message_id == "m1"
    assert isinstance(dict(headers), dict)


@pytest.mark.parametrize("value", [TOO_LATE, struct.pack(">Q", 1_700_000_000_000_000)], ids=["ones", "µs"])
def test_time_out_of_range_is_none(value: bytes) -> None:
    """A timestamp past the year 9999 is as none; what follows is read."""
    assert by_us(raw(("timestamp", value), ("app_id", b"\x01a"))) == (
        None,
        None,
        None,
        None,
        {},
        {"app_id": "a"},
    )


@pytest.mark.parametrize("name", ["content_type", "correlation_id", "message_id", "type", "app_id"])
def test_text_that_is_not_utf8_is_escaped(name: str) -> None:
    """Bytes that are not UTF-8 are escaped, as pamqp does here, and two that differ stay two."""
    payloads = [raw((name, b"\x04caf" + last)) for last in (b"\xe9", b"\xe8")]

    one, two = (by_us(payload) for payload in payloads)

    assert one != two
    assert [one, two] == [by_pamqp(payload) for payload in payloads]


def test_long_text_that_is_not_utf8_can_be_written_again() -> None:
    """Escaped text is never longer than a short string can be, in a property and in a routing key."""
    odd = b"\xff" * 255
    message_id = by_us(raw(("message_id", b"\xff" + odd)))[0]
    assert message_id is not None
    assert len(message_id.encode()) <= 255

    deliver, *rest = delivery(OURS, 1)
    key = b"\x0ealpha.happened"
    assert key in deliver
    payload = deliver[7:-1].replace(key, b"\xff" + odd)
    odd_deliver = struct.pack(">BHI", 1, OURS, len(payload)) + payload + b"\xce"
    for pieces in ([b"".join([START, odd_deliver, *rest])], [START, odd_deliver, *rest]):
        _, heard = read_by_us(pieces, OURS)
        assert len(heard[OURS].deliveries[0].routing_key.encode()) <= 255


def test_flags_that_the_specification_does_not_have_are_refused() -> None:
    """More flags than there are properties cannot be read, so that nothing is taken for something else."""
    with pytest.raises(IndexError, match="more property flags"):
        by_us(raw(("more", b"\0\0")))

    header = struct.pack(">BHI", 2, OURS, HEAD.size) + HEAD.pack(60, 0, 0, FLAGS["more"]) + b"\xce"
    with pytest.raises(FrameError):
        read_by_us([START, delivery(OURS, 1)[0], header], OURS)
