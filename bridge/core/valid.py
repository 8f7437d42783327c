"""An event that has been read and is valid, in whichever way it was read."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bridge.core.event import BaseEvent
from bridge.core.forms import Form


class ValidEvent(Struct, gc=False):
    """What is to be logged of an event: of one that is `late` nothing, and the last three are empty.

    `fields` has the attributes of its class. `targets` are the rooms it goes to, `derived` is what follows
    from it, and `data` its JSON, as it will be sent. `time` says when it occurred, as it is written on the
    wire, `occurred_at` in seconds since the Unix epoch. `traceparent` is in version 00, or empty.
    """

    fields: Form | BaseEvent
    event_id: str
    traceparent: str
    time: str
    occurred_at: float
    late: bool
    targets: tuple[str, ...] = ()
    derived: Sequence[BaseEvent] = ()
    data: bytes = b""
