"""Reads what most publishers send, the event itself just as it will be sent, by the form of its class.

Never another opinion than that of bridge/core/envelope.py and the class. Of whatever needs another look it
returns None, and they read it.
"""

from __future__ import annotations

from msgspec import UNSET, DecodeError
from msgspec.json import Encoder

from bridge.core.catalogue import EventType
from bridge.core.delivery import Delivery
from bridge.core.envelope import says_cloud_event
from bridge.core.forms import ValidEvent
from bridge.core.rooms import user_room
from bridge.core.times import plain_time
from bridge.core.tracecontext import read_traceparent

_encode = Encoder().encode


def read_plain(event_type: EventType, delivery: Delivery, *, body_bytes_max: int) -> ValidEvent | None:
    """Read a valid event from a delivery that has an id and needs no unwrapping; None if it is any other."""
    forms, body, event_id = event_type.forms, delivery.body, delivery.message_id
    if (
        forms is None
        or not event_id
        or len(body) > body_bytes_max
        or delivery.content_encoding
        or says_cloud_event(delivery)
        or not (body.isascii() or _is_utf8(body))  # In what it passes over, the decoder does not look.
    ):
        return None
    try:
        form = forms.decode(body)
    except (DecodeError, ValueError, RecursionError):
        return None
    time = form.timestamp
    timestamp = plain_time(time)
    if timestamp is None or form.pattern is not UNSET or form.specversion is not UNSET:
        return None
    if form.declared_type is not None:
        if form.declared_type not in event_type.names_inside:
            return None
        form.declared_type = None
    form.timestamp = UNSET
    headers = delivery.headers
    if forms.has_say:
        event = forms.event(form, timestamp)
        targets, derived = tuple(event.targets()), event.derived()
    else:
        targets, derived = (user_room(str(form.user_id)),), ()
    return ValidEvent(
        form,
        targets,
        derived,
        event_id,
        read_traceparent(headers.get("traceparent")) if headers else "",
        str(time),
        timestamp.timestamp(),
        _encode(form),
    )


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
