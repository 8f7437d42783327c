"""The shapes in which publishers wrap an event, and what is wrong with those that are none."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from bridge.core.delivery import Delivery, Envelope
from bridge.core.envelope import check_declared_types, open_envelope, trace_of_refused
from bridge.core.errors import Reason, Refused

KEY = "quota.updated"
EVENT: dict[str, Any] = {"userId": "u1", "timestamp": "2026-11-21T10:00:00.000Z", "quotaId": "q1"}
CLOUD = {"specversion": "1.0", "id": "ce-1", "source": "/user-service", "type": "com.example.quota.updated"}
BINARY = {"cloudEvents:specversion": "1.0", "cloudEvents:id": "ce-1", "cloudEvents:type": KEY}
BODY_BYTES_MAX = 10_000


def delivery(body: object, **properties: Any) -> Delivery:  # noqa: ANN401 - any field of a delivery
    """Return a delivery with this body, as JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Delivery(**{"routing_key": KEY, "received_at": 0.0, "body": data, **properties})


def opened(body: object, **properties: Any) -> Envelope:  # noqa: ANN401 - any field of a delivery
    """Unwrap a delivery."""
    return open_envelope(delivery(body, **properties), body_bytes_max=BODY_BYTES_MAX)


def in_base64(data: bytes) -> str:
    """Return bytes as CloudEvents carries them in JSON."""
    return base64.b64encode(data).decode()


SHAPES = [
    pytest.param(EVENT, {}, id="plain"),
    pytest.param(EVENT, {"content_encoding": "UTF-8"}, id="plain, saying that it is UTF-8"),
    pytest.param({"pattern": KEY, "data": EVENT}, {}, id="pattern and data"),
    pytest.param({"pattern": KEY, "data": EVENT, "id": "request-1"}, {}, id="pattern, data and id"),
    pytest.param({**CLOUD, "data": EVENT}, {}, id="CloudEvents, structured, by its members"),
    pytest.param(
        {**CLOUD, "data": EVENT},
        {"content_type": "application/cloudevents+json; charset=UTF-8"},
        id="CloudEvents, structured, by its content type",
    ),
    pytest.param(
        {**CLOUD, "data": EVENT},
        {"content_type": "Application/CloudEvents+JSON"},
        id="CloudEvents, structured, its content type in other letters",
    ),
    pytest.param(
        {**CLOUD, "data_base64": in_base64(json.dumps(EVENT).encode())},
        {},
        id="CloudEvents, structured, data in base 64",
    ),
    pytest.param({**CLOUD, "data": EVENT, "data_base64": None}, {}, id="CloudEvents, structured, data twice"),
    pytest.param(EVENT, {"headers": BINARY}, id="CloudEvents, binary"),
    pytest.param(
        EVENT,
        {"headers": {key.replace(":", "_"): value for key, value in BINARY.items()}},
        id="CloudEvents, binary, with underscores",
    ),
    pytest.param(
        EVENT,
        {"headers": {key: value.encode() for key, value in BINARY.items()}},
        id="CloudEvents, binary, headers as bytes",
    ),
    pytest.param(
        {**EVENT, "specversion": "ours"},
        {"headers": BINARY},
        id="CloudEvents, binary, and a field of that name",
    ),
]


@pytest.mark.parametrize(("body", "properties"), SHAPES)
def test_every_shape_is_the_same_event(body: object, properties: dict[str, Any]) -> None:
    """Whatever the wrapping, the same event comes out."""
    envelope = opened(body, **properties)

    assert {name: envelope.payload[name] for name in EVENT} == EVENT
    assert envelope.name == KEY
    check_declared_types(envelope, KEY)


IDS = [
    pytest.param(EVENT, {"message_id": "m-1"}, "m-1", id="the AMQP message id"),
    pytest.param(
        {**EVENT, "eventId": "e-1"}, {"message_id": "m-1"}, "m-1", id="the AMQP message id goes first"
    ),
    pytest.param({**EVENT, "eventId": "e-1"}, {}, "e-1", id="else the payload's eventId"),
    pytest.param({**EVENT, "eventId": "e-1"}, {"message_id": ""}, "e-1", id="an empty message id is none"),
    pytest.param(
        {"pattern": KEY, "data": {**EVENT, "eventId": "e-1"}, "id": "r"}, {}, "e-1", id="inside a pattern"
    ),
    pytest.param({**CLOUD, "data": EVENT}, {}, "ce-1", id="the CloudEvents id"),
    pytest.param(
        {**CLOUD, "data": {**EVENT, "eventId": "e-1"}}, {}, "ce-1", id="CloudEvents goes before eventId"
    ),
    pytest.param(EVENT, {"headers": BINARY}, "ce-1", id="the CloudEvents id in binary mode"),
    pytest.param({**EVENT, "eventId": 'ü"\n\x00'}, {}, 'ü"\n\x00', id="any characters"),
]


@pytest.mark.parametrize(("body", "properties", "event_id"), IDS)
def test_identity(body: object, properties: dict[str, Any], event_id: str) -> None:
    """An event is known by the AMQP message id, else by what it says itself."""
    assert opened(body, **properties).event_id == event_id


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_identity_is_a_hash(nothing: object) -> None:
    """An event without an id is known by its routing key and body: the same again is the same event."""
    event_id = opened({**EVENT, "eventId": nothing}).event_id

    assert len(event_id) == 32
    assert opened({**EVENT, "eventId": nothing}).event_id == event_id
    assert opened({**EVENT, "eventId": nothing, "quotaId": "q2"}).event_id != event_id
    assert opened({**EVENT, "eventId": nothing}, routing_key="quota.alert").event_id != event_id


def test_neither_identity_nor_time() -> None:
    """An event without an id and a time is known by its arrival: equal ones, even of one read, are two."""
    undated = {"userId": "u1"}
    event_id = opened(undated, received_at=1.0, tag=1).event_id

    assert opened(undated, received_at=1.0, tag=1).event_id == event_id
    assert opened(undated, received_at=1.0, tag=2).event_id != event_id
    assert opened(undated, received_at=2.0, tag=1).event_id != event_id


def test_time_outside_of_the_body_tells_events_apart() -> None:
    """Equal bodies with different times in their AMQP properties are two events; with the same, one."""
    undated = {"userId": "u1"}
    nine, ten = datetime(2026, 11, 21, 9, tzinfo=UTC), datetime(2026, 11, 21, 10, tzinfo=UTC)
    event_id = opened(undated, timestamp=nine, tag=1).event_id

    assert opened(undated, timestamp=nine, tag=2).event_id == event_id
    assert opened(undated, timestamp=ten, tag=1).event_id != event_id


def test_the_hash_keeps_key_and_body_apart() -> None:
    """What moves from the end of the routing key to the start of the body is another event."""
    one = opened(b' {"a":1}', routing_key="quota.updated").event_id
    other = opened(b'{"a":1}', routing_key="quota.updated ").event_id

    assert one != other


NINE, TEN = "2026-11-21T09:00:00.000Z", "2026-11-21T10:00:00.000Z"
WITHOUT_TIME = {"userId": "u1"}
TIMES = [
    pytest.param(EVENT, {}, TEN, id="the payload's"),
    pytest.param(
        {**CLOUD, "time": NINE, "data": EVENT}, {}, TEN, id="the payload's before that of CloudEvents"
    ),
    pytest.param({**CLOUD, "time": NINE, "data": WITHOUT_TIME}, {}, NINE, id="else that of CloudEvents"),
    pytest.param(
        WITHOUT_TIME,
        {"headers": {**BINARY, "cloudEvents:time": NINE}},
        NINE,
        id="that of CloudEvents, binary",
    ),
    pytest.param(
        WITHOUT_TIME, {"timestamp": datetime(2026, 11, 21, 9, tzinfo=UTC)}, NINE, id="else the AMQP timestamp"
    ),
    pytest.param(
        WITHOUT_TIME,
        {"timestamp": datetime(2026, 11, 21, 11, tzinfo=timezone(timedelta(hours=2)))},
        NINE,
        id="the AMQP timestamp in UTC",
    ),
    pytest.param(WITHOUT_TIME, {}, None, id="none"),
]


@pytest.mark.parametrize(("body", "properties", "timestamp"), TIMES)
def test_time(body: object, properties: dict[str, Any], timestamp: str | None) -> None:
    """The time of an event is what is written nearest to it."""
    assert opened(body, **properties).payload.get("timestamp") == timestamp


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
IN_BINARY = {**BINARY, "cloudEvents:traceparent": OTHER}
TRACES: list[tuple[object, dict[str, Any], str]] = [
    (EVENT, {"headers": {"traceparent": TRACE}}, TRACE),
    (EVENT, {"headers": {"traceparent": "00-1-2-00"}}, ""),
    (EVENT, {}, ""),
    ({**CLOUD, "traceparent": OTHER, "data": EVENT}, {}, OTHER),
    ({**CLOUD, "traceparent": 5, "data": EVENT}, {}, ""),
    ({**CLOUD, "traceparent": OTHER, "data": EVENT}, {"headers": {"traceparent": TRACE}}, TRACE),
    ({**CLOUD, "traceparent": OTHER, "data": EVENT}, {"headers": {"traceparent": "x"}}, OTHER),
    (EVENT, {"headers": IN_BINARY}, OTHER),
    ({**EVENT, "traceparent": TRACE}, {}, ""),
]


@pytest.mark.parametrize(("body", "properties", "trace"), TRACES)
def test_trace(body: object, properties: dict[str, Any], trace: str) -> None:
    """The trace is that of the message's header, else the attribute of CloudEvents; no field of a payload."""
    assert opened(body, **properties).traceparent == trace


REFUSED: list[tuple[bytes, dict[str, Any], str]] = [
    (b"", {"headers": {"traceparent": TRACE}}, TRACE),
    (b"{", {"headers": IN_BINARY}, OTHER),
    (b'{"traceparent": "%b"}' % OTHER.encode(), {"content_type": "application/cloudevents+json"}, OTHER),
    (b"{", {"content_type": "application/cloudevents+json"}, ""),
    (b'{"traceparent": "%b"}' % OTHER.encode(), {}, ""),
]


@pytest.mark.parametrize(("body", "properties", "trace"), REFUSED)
def test_trace_of_refused(body: bytes, properties: dict[str, Any], trace: str) -> None:
    """The trace of a delivery that is no event is read as far as it can be."""
    refused = Delivery(KEY, body, 0.0, **properties)

    assert trace_of_refused(refused, body_bytes_max=1000) == trace


ALIAS = "subscription-updated:v2"
AGREEING = [
    (KEY, KEY, KEY, "the full name"),
    (KEY, KEY, "updated", "the last part"),
    (KEY, KEY, None, "nothing"),
    ("device.status.changed", "device.status.changed", "changed", "the last of three parts"),
    (ALIAS, "subscription.updated", "subscription.updated", "the canonical name of an alias"),
    (ALIAS, "subscription.updated", "subscription-updated:v2", "the alias as published"),
    (ALIAS, "subscription.updated", "subscription-updated", "the alias without its version"),
    (ALIAS, "subscription.updated", "updated", "the last part of the canonical name"),
]


@pytest.mark.parametrize(
    ("key", "canonical", "declared"), [pytest.param(*row[:3], id=row[3]) for row in AGREEING]
)
@pytest.mark.parametrize("wrap", ["plain", "pattern", "cloud"])
def test_type_that_agrees(key: str, canonical: str, declared: str | None, wrap: str) -> None:
    """A publisher may write the full name, its last part, or nothing, wherever the type is written."""
    body = {
        "plain": {**EVENT, "type": declared},
        "pattern": {"pattern": declared or key, "data": EVENT},
        "cloud": {**CLOUD, "type": declared, "data": EVENT},
    }[wrap]

    check_declared_types(opened(body, routing_key=key), canonical)


DISAGREEING: list[object] = [
    "quota.alert",
    "quota",
    "UPDATED",
    "",
    "x" * 2000,
    5,
    True,
    1.5,
    [KEY],
    {"is": KEY},
]


@pytest.mark.parametrize("declared", DISAGREEING, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize(("wrap", "field"), [("plain", "type"), ("pattern", "pattern"), ("cloud", "type")])
def test_type_that_disagrees(declared: object, wrap: str, field: str) -> None:
    """Any other type is refused, whatever JSON value it is, and the message says what to write."""
    body = {
        "plain": {**EVENT, "type": declared},
        "pattern": {"pattern": declared, "data": EVENT},
        "cloud": {**CLOUD, "type": declared, "data": EVENT},
    }[wrap]

    with pytest.raises(Refused) as caught:
        check_declared_types(opened(body), KEY)

    assert (caught.value.reason, caught.value.field) == (Reason.WRONG_TYPE, field)
    assert "leave it out, or write 'quota.updated' or 'updated'" in caught.value.message
    assert len(caught.value.message) < 300


def test_both_types_are_checked() -> None:
    """Where wrapping and payload both name a type, both must agree with the routing key."""
    with pytest.raises(Refused, match=r'^type says "quota\.alert"'):
        check_declared_types(opened({"pattern": KEY, "data": {**EVENT, "type": "quota.alert"}}), KEY)


def nested(depth: int) -> bytes:
    """Return a JSON object that deep."""
    return b'{"a":' * depth + b"1" + b"}" * depth


BAD_BODIES = [
    # body                        reason                 field           the message tells
    (b"", Reason.EMPTY, "", "the body is empty; publish a JSON object"),
    (b"x" * 10_001, Reason.TOO_LARGE, "", "the body has 10001 bytes; at most 10000 are accepted"),
    (b"hello", Reason.NOT_JSON, "", "the body is not JSON: expected value at line 1 column 1"),
    (b"   ", Reason.NOT_JSON, "", "the body is not JSON: EOF"),
    (b'{"a": 1', Reason.NOT_JSON, "", "the body is not JSON: EOF"),
    (b'{"a": 1}{}', Reason.NOT_JSON, "", "the body is not JSON: trailing characters"),
    (b"{'a': 1}", Reason.NOT_JSON, "", "the body is not JSON"),
    (b'{"a": NaN}', Reason.NOT_JSON, "", "the body is not JSON"),
    (b'{"a": -Infinity}', Reason.NOT_JSON, "", "the body is not JSON"),
    (b'{"a": "\n"}', Reason.NOT_JSON, "", "the body is not JSON: control character"),
    (b'{"a": "\\ud800"}', Reason.NOT_JSON, "", "the body is not JSON"),
    (b'{"\\udfff": 1}', Reason.NOT_JSON, "", "the body is not JSON"),
    (nested(250), Reason.NOT_JSON, "", "recursion limit"),
    (b'{"a": 1e1000000000000000000}', Reason.NOT_JSON, "", "a number in it is out of range"),
    (b'{"a": 1e99999999999999999999999}', Reason.NOT_JSON, "", "a number in it is out of range"),
    (b'{"a": "caf\xe9"}', Reason.WRONG_ENCODING, "", "the body is not UTF-8: byte 10 cannot be read"),
    (b'{"a": "\xed\xa0\x80"}', Reason.WRONG_ENCODING, "", "the body is not UTF-8: byte 7 cannot be read"),
    ('{"a": 1}'.encode("utf-16"), Reason.WRONG_ENCODING, "", "the body is not UTF-8: byte 0 cannot be read"),
    (b"\xef\xbb\xbf{}", Reason.WRONG_ENCODING, "", "the body begins with a byte order mark; leave it out"),
    (b"[]", Reason.NOT_AN_OBJECT, "", "the body is []; it must be a JSON object"),
    (b"null", Reason.NOT_AN_OBJECT, "", "the body is null; it must be a JSON object"),
    (b'"text"', Reason.NOT_AN_OBJECT, "", 'the body is "text"; it must be a JSON object'),
    (b"1.50", Reason.NOT_AN_OBJECT, "", "the body is 1.50; it must be a JSON object"),
    (b"true", Reason.NOT_AN_OBJECT, "", "the body is true; it must be a JSON object"),
    ({**EVENT, "eventId": 5}, Reason.BAD_FIELD, "eventId", "eventId must be text of at most 255 characters"),
    ({**EVENT, "eventId": "x" * 256}, Reason.BAD_FIELD, "eventId", "eventId must be text of at most 255"),
    ({**EVENT, "eventId": ["x"]}, Reason.BAD_FIELD, "eventId", "eventId must be text of at most 255"),
    ({"pattern": KEY, "data": "x"}, Reason.BAD_ENVELOPE, "data", 'data is "x"; it must be a JSON object'),
    ({"pattern": KEY, "data": None}, Reason.BAD_ENVELOPE, "data", "data is null; it must be a JSON object"),
    (
        {**CLOUD, "specversion": "0.3", "data": EVENT},
        Reason.BAD_ENVELOPE,
        "specversion",
        'specversion "0.3" is not',
    ),
    ({**CLOUD, "specversion": 1.0, "data": EVENT}, Reason.BAD_ENVELOPE, "specversion", 'use "1.0"'),
    (
        {**CLOUD, "specversion": "x" * 900, "data": {}},
        Reason.BAD_ENVELOPE,
        "specversion",
        "x… is not understood",
    ),
    ({**CLOUD, "data": [EVENT]}, Reason.BAD_ENVELOPE, "data", "the CloudEvent's data is [{"),
    ({**CLOUD, "data": None}, Reason.BAD_ENVELOPE, "data", "the CloudEvent's data is null"),
    ({**CLOUD, "data": EVENT, "id": 5}, Reason.BAD_FIELD, "id", "id must be text of at most 255 characters"),
    ({**CLOUD, "data_base64": "?"}, Reason.BAD_ENVELOPE, "data_base64", "data_base64 is not base64"),
    ({**CLOUD, "data_base64": "ü"}, Reason.BAD_ENVELOPE, "data_base64", "data_base64 is not base64"),
    ({**CLOUD, "data_base64": 5}, Reason.BAD_ENVELOPE, "data_base64", "data_base64 is not base64"),
    ({**CLOUD, "data_base64": ["e30="]}, Reason.BAD_ENVELOPE, "data_base64", "data_base64 is not base64"),
    ({**CLOUD, "data_base64": ""}, Reason.NOT_JSON, "data_base64", "data_base64 is not JSON: EOF"),
    ({**CLOUD, "data_base64": in_base64(b"[]")}, Reason.NOT_AN_OBJECT, "data_base64", "data_base64 is []"),
    (
        {**CLOUD, "data_base64": in_base64(b"\xff")},
        Reason.WRONG_ENCODING,
        "data_base64",
        "is not UTF-8: byte 0",
    ),
]


@pytest.mark.parametrize(
    ("body", "reason", "field", "message"), BAD_BODIES, ids=lambda value: repr(value)[:40]
)
def test_bad_body(body: object, reason: Reason, field: str, message: str) -> None:
    """What cannot be unwrapped is refused with a reason, the part at fault, and words for a person."""
    with pytest.raises(Refused) as caught:
        opened(body)

    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert message in caught.value.message


BAD_PROPERTIES = [
    ({"content_encoding": "gzip"}, Reason.WRONG_ENCODING, "content_encoding", "'gzip' is not understood"),
    (
        {"content_type": "application/cloudevents+json"},
        Reason.BAD_ENVELOPE,
        "specversion",
        "specversion null",
    ),
    (
        {"headers": {"cloudEvents:specversion": "2.0"}},
        Reason.BAD_ENVELOPE,
        "specversion",
        'specversion "2.0"',
    ),
    ({"headers": {**BINARY, "cloudEvents:id": 7}}, Reason.BAD_FIELD, "id", "id must be text"),
]


@pytest.mark.parametrize(("properties", "reason", "field", "message"), BAD_PROPERTIES)
def test_bad_properties(properties: dict[str, Any], reason: Reason, field: str, message: str) -> None:
    """AMQP properties that do not fit the body are refused likewise."""
    with pytest.raises(Refused) as caught:
        opened(EVENT, **properties)

    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert message in caught.value.message


def test_five_megabytes_are_not_parsed() -> None:
    """A body past the limit is refused by its length alone."""
    with pytest.raises(Refused) as caught:
        opened(b"\xff" * 5_000_000)

    assert caught.value.reason is Reason.TOO_LARGE


def test_numbers_are_read_exactly() -> None:
    """Numbers keep every digit, since some of them are money."""
    payload = opened(b'{"a": 0.1, "b": 12345678901234567890.123, "c": 10}').payload

    assert {name: str(value) for name, value in payload.items()} == {
        "a": "0.1",
        "b": "12345678901234567890.123",
        "c": "10",
    }


def test_last_of_two_equal_keys_counts() -> None:
    """Of a key that stands twice in an object the last counts, as for JavaScript."""
    assert opened(b'{"a": 1, "a": 2}').payload == {"a": 2}


def test_pattern_and_data_may_be_fields() -> None:
    """A plain event may have fields called pattern and data, unless data is an object."""
    payload = {**EVENT, "pattern": "stripes", "data": 5}

    assert opened(payload).payload == payload
    with pytest.raises(Refused):
        check_declared_types(opened({**payload, "data": {}}), KEY)


@pytest.mark.parametrize("text", ["x" * 100_000, "\n" * 5_000])
def test_what_travels_in_headers_is_short(text: str) -> None:
    """A refusal fits into an AMQP header, whatever it quotes."""
    refused = Refused(Reason.BAD_FIELD, text, field=text)

    assert len(refused.message) <= 1_000
    assert len(refused.field) <= 200
