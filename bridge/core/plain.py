"""Reads what most publishers send, the event itself just as it will be sent, by the form of its class.

Never another opinion than that of bridge/core/envelope.py and the class. Of whatever needs another look it
returns None, and they read it.
"""

from __future__ import annotations

from msgspec import UNSET
from msgspec.json import Encoder

from bridge.core.catalogue import EventType
from bridge.core.delivery import Delivery
from bridge.core.envelope import says_cloud_event
from bridge.core.rooms import user_room
from bridge.core.times import plain_time
from bridge.core.tracecontext import read_traceparent
from bridge.core.valid import ValidEvent

# What a form passes over, such as a field that nobody declared, is not looked at as closely as by the reader
# of all JSON. Within these bounds there is nothing that one of them takes and the other does not.
BODY_BYTES_MAX = 4_096
FLAT_BYTES_MAX = 256  # No deeper than half of it: each level has two ends.
BRACKETS_MAX = 128

_encode = Encoder().encode


def read_plain(event_type: EventType, delivery: Delivery, *, body_bytes_max: int) -> ValidEvent | None:
    """Read a valid event from a delivery that has an id and needs no unwrapping; None if it is any other."""
    reader, body, event_id = event_type.form_reader, delivery.body, delivery.message_id
    if (
        reader is None
        or not event_id
        or len(body) > min(body_bytes_max, BODY_BYTES_MAX)
        or delivery.content_encoding
        or says_cloud_event(delivery)
        or not _is_usual(body)
    ):
        return None
    try:
        form = reader.decode(body)
    except (ValueError, RecursionError):
        return None
    time = str(form.timestamp)
    timestamp = plain_time(time)
    if (
        timestamp is None
        or form.pattern is not UNSET
        or form.specversion is not UNSET
        or not (form.declared_type is None or form.declared_type in event_type.usual_names)
    ):
        return None
    form.timestamp, form.declared_type = UNSET, None
    headers, occurred_at = delivery.headers, timestamp.timestamp()
    trace = read_traceparent(headers.get("traceparent")) if headers else ""
    if is_late(event_type, occurred_at, delivery.received_at):
        return ValidEvent(form, event_id, trace, time, occurred_at, True)  # noqa: FBT003 - faster by position
    if not reader.has_say:
        rooms = (user_room(str(form.user_id)),)
        return ValidEvent(form, event_id, trace, time, occurred_at, False, rooms, (), _encode(form))  # noqa: FBT003
    event = reader.event(form, timestamp)
    return ValidEvent(
        event,
        event_id,
        trace,
        time,
        occurred_at,
        late=False,
        targets=tuple(event.targets()),
        derived=event.derived(),
        data=_encode(form),
    )


def is_late(event_type: EventType, occurred_at: float, now: float) -> bool:
    """Tell whether an event is older than its type allows. Times are in seconds since the Unix epoch."""
    age_max = event_type.age_seconds_max
    return age_max is not None and now - occurred_at > age_max


def _is_usual(body: bytes) -> bool:
    """Tell whether a body is UTF-8, and not nested deeply."""
    if len(body) > FLAT_BYTES_MAX and body.count(b"[") + body.count(b"{") > BRACKETS_MAX:
        return False
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
