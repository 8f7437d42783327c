"""What an event looks like, from the example of its class: as it is published, and as a socket gets it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jiter

from bridge.core.by_hand import judge
from bridge.core.catalogue import Catalogue, EventType
from bridge.core.delivery import Delivery
from bridge.core.event import BaseEvent
from bridge.core.intake import make_entry
from bridge.core.rooms import parse_room
from bridge.core.trace import where

USER = "u1"
TIMESTAMP = "2026-11-21T10:00:00.000Z"
EVENT_ID = "evt-1"
OFFSET = 58
_NEVER_LATE = 0.0  # The example's time of receipt.


def published(event_type: EventType, **fields: object) -> dict[str, Any]:
    """Return the example payload of an event type as it could be published, with these fields over it."""
    owner = {"userId": USER} if event_type.model.model_fields["user_id"].is_required() else {}
    return {**owner, "timestamp": TIMESTAMP, **event_type.model.EXAMPLE, **fields}


def event_from(event_type: EventType, payload: Mapping[str, object]) -> BaseEvent:
    """Return the event that a payload makes, its numbers read as the bridge reads them."""
    body = json.dumps(payload).encode()
    read = jiter.from_json(body, float_mode="decimal" if event_type.exact else "float")
    return event_type.model.model_validate(read)


def sample(event_type: EventType) -> BaseEvent:
    """Return an event of this type made from its example, of a user even where none is needed."""
    return event_from(event_type, published(event_type, userId=USER))


def wrong(catalogue: Catalogue) -> Iterator[tuple[EventType, str]]:
    """Yield each event type whose example is no event of it, or goes to no room, and what is wrong."""
    for event_type in catalogue.event_types:
        if problem := _problem(catalogue, event_type):
            yield event_type, problem


def _problem(catalogue: Catalogue, event_type: EventType) -> str:
    """Return what is wrong with an example, empty if nothing is."""
    try:
        body = json.dumps(published(event_type)).encode()
        delivery = Delivery(f"{event_type.name}:v{event_type.version}", body, _NEVER_LATE)
        verdict = judge(catalogue, delivery, body_bytes_max=len(body))
    except Exception as exc:  # noqa: BLE001 - it is the class's own: an example is no secret
        return f"{type(exc).__name__}: {exc} ({where(exc)})"
    if verdict.refused is not None:
        return verdict.refused.message if event_type.model.EXAMPLE else f"none; {verdict.refused.message}"
    rooms = [room for entry in verdict.entries for room in entry.targets if parse_room(room) is None]
    return f"it goes to {rooms[0]!r}, which is no room" if rooms else ""


def frame(event_type: EventType) -> dict[str, Any] | None:
    """Return the example as a socket gets it; None if it goes to no room."""
    event = event_from(event_type, published(event_type))
    entry = make_entry(event_type, event, EVENT_ID)
    if not entry.targets:
        return None
    return {"offset": OFFSET, "room": entry.targets[0], **json.loads(entry.payload)}
