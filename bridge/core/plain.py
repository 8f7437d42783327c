"""Reads what most publishers send, the event itself just as it will be sent, by the form of its class.

Never another opinion than that of bridge/core/envelope.py and the class. Of whatever needs another look it
returns None, and they read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec import UNSET, DecodeError
from msgspec.json import Encoder

from bridge.core.catalogue import EventType
from bridge.core.delivery import Delivery
from bridge.core.envelope import says_cloud_event
from bridge.core.event import BaseEvent
from bridge.core.forms import Form
from bridge.core.rooms import user_room
from bridge.core.times import is_iso_utc
from bridge.core.tracecontext import read_traceparent

_encode = Encoder().encode


@dataclass(slots=True)
class ValidEvent:
    """An event that has been read: its fields, where it goes, and what follows from it.

    `data` is its JSON, as it will be sent. `time` says when it occurred, as it is written on the wire, and
    `occurred_at` in seconds since the Unix epoch. `traceparent` is in version 00, or empty.
    """

    fields: Form | BaseEvent
    targets: tuple[str, ...]
    derived: Sequence[BaseEvent]
    event_id: str
    traceparent: str
    time: str
    occurred_at: float
    data: bytes


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
        time = form.timestamp
        if not is_iso_utc(time):
            return None
        timestamp = datetime.fromisoformat(time)
    except (DecodeError, ValueError, RecursionError):
        return None
    if form.pattern is not UNSET or form.specversion is not UNSET:
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
        time,
        timestamp.timestamp(),
        _encode(form),
    )


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
