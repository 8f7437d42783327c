"""Takes the shapes in which publishers wrap an event apart: plain, pattern/data, CloudEvents.

Three shapes are understood: the plain JSON event; `{"pattern": …, "data": …}`, as NestJS
publishes it; CloudEvents 1.0, structured or in binary mode (AMQP binding, section 3).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jiter

from bridge.core.delivery import Delivery, Envelope
from bridge.core.errors import Reason, Refused, shown
from bridge.core.names import split_version
from bridge.core.times import iso_utc
from bridge.core.tracecontext import read_traceparent

ID_CHARACTERS_MAX = 255
_PLAIN_ENCODINGS = ("", "utf-8", "utf8", "identity")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PATTERN_KEYS = {"pattern", "data", "id"}  # All that NestJS puts around a payload.
_CLOUD_EVENTS_TYPE = "application/cloudevents"
_CLOUD_EVENTS_PREFIXES = ("cloudEvents:", "cloudEvents_")


def open_envelope(delivery: Delivery, *, body_bytes_max: int, exact: bool = True) -> Envelope:
    """Unwrap a delivery. Numbers with a fraction become decimals if they have to be `exact`, else floats.

    Raises:
        Refused: the body is not one of the shapes above.
    """
    payload = _read_json(delivery, body_bytes_max, exact=exact)
    declared: list[tuple[str, object]] = []
    event_id = delivery.message_id or None
    trace = read_traceparent(delivery.headers.get("traceparent")) if delivery.headers else ""
    attributes = _cloud_event_attributes(delivery, payload)
    if attributes is not None:
        if attributes is payload:
            payload = _cloud_event_data(payload, exact=exact)  # In binary mode the body is the data already.
        if attributes.get("type") is not None:
            declared.append(("type", _last_names(attributes["type"], delivery.routing_key)))
        event_id = event_id or _text_or_none(attributes.get("id"), "id")
        if attributes.get("time") is not None:
            payload.setdefault("timestamp", attributes["time"])
        trace = trace or read_traceparent(attributes.get("traceparent"))
    elif "pattern" in payload and "data" in payload:
        payload = _pattern_data(payload, declared)
    if payload.get("type") is not None:
        declared.append(("type", payload["type"]))
    if not event_id:
        event_id = _text_or_none(payload.get("eventId"), "eventId")
    if "timestamp" not in payload and delivery.timestamp is not None:
        payload["timestamp"] = iso_utc(delivery.timestamp.astimezone(UTC))
    return Envelope(
        delivery.routing_key,
        payload,
        event_id or _fingerprint(delivery, payload.get("timestamp")),
        tuple(declared),
        trace,
    )


def says_cloud_event(delivery: Delivery) -> bool:
    """Tell whether the properties of a delivery, and not its body, say that it is a CloudEvent."""
    content_type, headers = delivery.content_type, delivery.headers
    if content_type and content_type.lower().startswith(_CLOUD_EVENTS_TYPE):
        return True
    return bool(headers) and any(key.startswith(_CLOUD_EVENTS_PREFIXES) for key in headers)


def trace_of_refused(delivery: Delivery, *, body_bytes_max: int) -> str:
    """Return the traceparent of a delivery that cannot be unwrapped, as far as it can be read; empty if not.

    The message's own header comes first: it is of the newest hop. The attribute of CloudEvents is of the
    first (CloudEvents, Distributed Tracing extension).
    """
    headers = delivery.headers
    for name in ("traceparent", *(f"{prefix}traceparent" for prefix in _CLOUD_EVENTS_PREFIXES)):
        if trace := read_traceparent(headers.get(name)):
            return trace
    if (delivery.content_type or "").lower().startswith(_CLOUD_EVENTS_TYPE):
        try:
            return read_traceparent(_read_json(delivery, body_bytes_max, exact=False).get("traceparent"))
        except Refused:
            return ""
    return ""


def check_declared_types(envelope: Envelope, canonical: str) -> None:
    """Check that what the publisher wrote inside agrees with the routing key.

    It may write nothing, the full name, or its last part.

    Raises:
        Refused: it wrote something else.
    """
    names = {canonical, envelope.name, split_version(envelope.name)[0]}
    allowed = names | {name.rpartition(".")[2] for name in names}
    for field, declared in envelope.declared_types:
        if not isinstance(declared, str) or declared not in allowed:
            raise Refused(
                Reason.WRONG_TYPE,
                f"{field} says {shown(declared)}, but the routing key says {envelope.name!r}; "
                f"leave it out, or write {canonical!r} or {canonical.rpartition('.')[2]!r}",
                field=field,
            )


def fill_timestamp(payload: dict[str, Any], received_at: float) -> None:
    """Give a payload without a time the time of receipt; for types whose publishers send none."""
    payload.setdefault("timestamp", iso_utc(datetime.fromtimestamp(received_at, UTC)))


def _read_json(delivery: Delivery, body_bytes_max: int, *, exact: bool) -> dict[str, Any]:
    body = delivery.body
    if not body:
        raise Refused(Reason.EMPTY, "the body is empty; publish a JSON object")
    if len(body) > body_bytes_max:
        raise Refused(
            Reason.TOO_LARGE,
            f"the body has {len(body)} bytes; at most {body_bytes_max} are accepted (ingest.body_bytes_max)",
        )
    encoding = delivery.content_encoding
    if encoding and encoding.lower() not in _PLAIN_ENCODINGS:
        raise Refused(
            Reason.WRONG_ENCODING,
            f"content encoding {delivery.content_encoding!r} is not understood; publish plain UTF-8",
            field="content_encoding",
        )
    return _parse_object(body, exact=exact)


def _parse_object(body: bytes, field: str = "", *, exact: bool) -> dict[str, Any]:
    what = field or "the body"
    try:
        value = jiter.from_json(body, float_mode="decimal" if exact else "float", allow_inf_nan=False)
    except ValueError as exc:
        raise _not_json(body, what, field, exc) from exc
    if not isinstance(value, dict):
        raise Refused(
            Reason.NOT_AN_OBJECT, f"{what} is {shown(value)}; it must be a JSON object", field=field
        )
    return value


def _not_json(body: bytes, what: str, field: str, error: ValueError) -> Refused:
    if body.startswith(_BYTE_ORDER_MARK):
        return Refused(
            Reason.WRONG_ENCODING, f"{what} begins with a byte order mark; leave it out", field=field
        )
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        return Refused(
            Reason.WRONG_ENCODING, f"{what} is not UTF-8: byte {wrong.start} cannot be read", field=field
        )
    # What the reader cannot hold it calls an internal error of its own: an exponent of 19 digits and more.
    text = "a number in it is out of range" if str(error).startswith("Internal error") else str(error)
    return Refused(Reason.NOT_JSON, f"{what} is not JSON: {text}", field=field)


def _cloud_event_attributes(delivery: Delivery, payload: dict[str, Any]) -> Mapping[str, Any] | None:
    """Return the CloudEvents attributes of a delivery in either mode, None if it is not one."""
    attributes: Mapping[str, Any]
    content_type = delivery.content_type
    if (content_type and content_type.lower().startswith(_CLOUD_EVENTS_TYPE)) or (
        "specversion" in payload and ("data" in payload or "data_base64" in payload)
    ):
        attributes = payload
    elif not delivery.headers:
        return None
    else:
        attributes = {
            key[len(prefix) :]: value.decode(errors="replace") if isinstance(value, bytes) else value
            for key, value in delivery.headers.items()
            for prefix in _CLOUD_EVENTS_PREFIXES
            if key.startswith(prefix)
        }
        if "specversion" not in attributes:
            return None
    if attributes.get("specversion") != "1.0":
        raise Refused(
            Reason.BAD_ENVELOPE,
            f'CloudEvents specversion {shown(attributes.get("specversion"))} is not understood; use "1.0"',
            field="specversion",
        )
    return attributes


def _pattern_data(payload: dict[str, Any], declared: list[tuple[str, object]]) -> dict[str, Any]:
    """Take off what NestJS puts around a payload; an event with two fields of these names stays as it is."""
    data = payload["data"]
    if isinstance(data, dict):
        declared.append(("pattern", payload["pattern"]))
        return data
    if payload.keys() <= _PATTERN_KEYS:
        raise Refused(Reason.BAD_ENVELOPE, f"data is {shown(data)}; it must be a JSON object", field="data")
    return payload


def _cloud_event_data(payload: dict[str, Any], *, exact: bool) -> dict[str, Any]:
    encoded = payload.get("data_base64")
    data = payload.get("data")
    if encoded is not None and data is None:
        try:
            data = _parse_object(base64.b64decode(encoded, validate=True), "data_base64", exact=exact)
        except (binascii.Error, TypeError, ValueError) as exc:
            raise Refused(Reason.BAD_ENVELOPE, "data_base64 is not base64", field="data_base64") from exc
    if not isinstance(data, dict):
        raise Refused(
            Reason.BAD_ENVELOPE,
            f"the CloudEvent's data is {shown(data)}; it must be a JSON object",
            field="data",
        )
    return data


def _last_names(declared: object, routing_key: str) -> object:
    """Accept a CloudEvents type with a reverse-DNS prefix, as the specification recommends."""
    if isinstance(declared, str) and declared.endswith(f".{routing_key}"):
        return routing_key
    return declared


def _text_or_none(value: object, field: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > ID_CHARACTERS_MAX:
        raise Refused(
            Reason.BAD_FIELD, f"{field} must be text of at most {ID_CHARACTERS_MAX} characters", field=field
        )
    return value


def _fingerprint(delivery: Delivery, time: object) -> str:
    """Identify an event that carries no id by what it says and when; without a time, by its arrival.

    Equal bodies can be two events: a connection opens, closes, and opens again. All that
    comes in one read has one time of receipt, so the delivery tag belongs to the arrival as well.
    """
    digest = hashlib.blake2b(delivery.routing_key.encode(), digest_size=16)
    if time is not None:
        digest.update(str(time).encode())  # It can be the message's own, outside of the body.
    elif not delivery.redelivered:
        digest.update(f"{delivery.received_at!r} {delivery.tag}".encode())
    digest.update(b"\0")
    digest.update(delivery.body)
    return digest.hexdigest()
