"""What an event looks like, from the example of its class: as it is published, and as a socket gets it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jiter

from bridge.core.by_hand import judge
from bridge.core.catalogue import Catalogue, EventType
from bridge.core.delivery import Delivery
from bridge.core.errors import Refused
from bridge.core.event import BaseEvent
from bridge.core.intake import make_entry

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


def wrong(catalogue: Catalogue, *, body_bytes_max: int) -> Iterator[tuple[EventType, Refused]]:
    """Yield each event type whose example the bridge would refuse, and why it would."""
    for event_type in catalogue.event_types:
        body = json.dumps(published(event_type)).encode()
        key = f"{event_type.name}:v{event_type.version}"
        verdict = judge(catalogue, Delivery(key, body, _NEVER_LATE), body_bytes_max=body_bytes_max)
        if verdict.refused is not None:
            yield event_type, verdict.refused


def frame(event_type: EventType) -> dict[str, Any] | None:
    """Return the example as a socket gets it; None if it goes to no room."""
    event = event_from(event_type, published(event_type))
    entry = make_entry(event_type, event, EVENT_ID)
    if not entry.targets:
        return None
    return {"offset": OFFSET, "room": entry.targets[0], **json.loads(entry.payload)}
