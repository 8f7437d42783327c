"""What stands in the event log, and where.

Structs of msgspec: as immutable as frozen dataclasses, made six times as fast, and with `gc=False` the
search for reference cycles passes them by, of which there are hundreds of thousands in a window.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from bridge.core.policy import Policy


class Position(NamedTuple):
    """A place in the log. The epoch names one life of the log; offsets grow within it.

    Offset 0 is the birth of the log itself; the first event has a higher one.
    """

    epoch: str
    offset: int


class EventKey(Struct, frozen=True, gc=False):
    """The identity of an event for deduplication: ids are unique within an event type."""

    event_type: str
    event_id: str


class Entry(Struct, frozen=True, gc=False):
    """One event, ready to send, with what a node needs to send it without parsing it.

    `payload` is a JSON object (UTF-8) without offset and room, which differ per frame.
    `conflate_key` is empty unless the policy conflates. Times are seconds since the Unix epoch;
    `expires_at` is None for an event that never becomes worthless. `trace` is its traceparent, or empty.
    """

    key: EventKey
    targets: tuple[str, ...]
    policy: Policy
    conflate_key: str
    occurred_at: float
    expires_at: float | None
    payload: bytes
    trace: str = ""


class Logged(Struct, frozen=True, gc=False):
    """An entry with the offset that the log gave it.

    `logged_at` is in seconds since the Unix epoch, 0 when the log does not say.
    """

    offset: int
    entry: Entry
    logged_at: float = 0.0
