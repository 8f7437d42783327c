"""What can be said of an event type to people: its rooms, its fields, how it is treated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bridge.core.catalogue import Catalogue, EventType
from bridge.core.event import IDENTIFIER_CHARACTERS_MAX
from bridge.core.examples import event_from, published
from bridge.core.policy import Policy
from bridge.core.rooms import ROOM_ID_PATTERN
from bridge.core.schema import published_schema

_ROOM_ID = "room id"
_SLOW = {Policy.DROP_OLDEST: "the oldest give way", Policy.MUST_DELIVER: "none gives way"}


class FieldRow(NamedTuple):
    """A field of a payload. `word` names its type as docs/events.md explains it."""

    name: str
    word: str
    required: bool
    description: str


class Audience(NamedTuple):
    """Where an event goes: room names with the fields that name them in braces, and what follows from it."""

    rooms: Sequence[str]
    derived: Sequence[str]


def fields_of(catalogue: Catalogue, event_type: EventType) -> list[FieldRow]:
    """Return the fields that an event type declares, the common ones first."""
    owner = catalogue.owner_of(event_type)
    schema = published_schema(event_type, timestamp_required=owner is None or owner.timestamp_required)
    return [
        FieldRow(
            name, _word(field), name in schema["required"], " ".join(field.get("description", "").split())
        )
        for name, field in schema["properties"].items()
        if name not in ("type", "eventId")
    ]


def audience_of(catalogue: Catalogue, event_type: EventType) -> Audience:
    """Return where an event of this type goes."""
    rows = fields_of(catalogue, event_type)
    payload = published(event_type)
    # A user that need not be there names no room.
    names = {row.name: f"{{{row.name}}}" for row in rows if row.word == _ROOM_ID and row.name in payload}
    event = event_from(event_type, payload | names)
    derived = [catalogue.of_class(type(each)).name for each in event.derived()]
    return Audience(list(event.targets()), derived)


def slow_of(event_type: EventType) -> str:
    """Say what happens to an event on a socket that does not read."""
    keys = " and ".join(f"`{name}`" for name in event_type.overflow.key_fields)
    return _SLOW.get(event_type.overflow.policy, f"the newest per {keys} stays")


def routing_key_of(catalogue: Catalogue, event_type: EventType) -> str:
    """Return the routing key that means this type and version: the newest needs no suffix."""
    newest = catalogue.resolve(event_type.name) is event_type
    return event_type.name if newest else f"{event_type.name}:v{event_type.version}"


def _word(field: Mapping[str, Any]) -> str:
    match field:
        case {"enum": list(values)}:
            return ", ".join(f"`{value}`" for value in values)
        case {"anyOf": list(branches)}:
            words = dict.fromkeys(_word(branch) for branch in branches)
            return _union([word for word in words if word != "null"])
        case {"type": "string"}:
            return _text(field)
        case {"type": "object", "additionalProperties": {"anyOf": _}}:
            return "counters"
        case {"type": "array", "items": items}:
            return f"list of {_word(items)}"
        case _:
            return "whole number" if field.get("type") == "integer" else str(field.get("type", "any JSON"))


def _text(field: Mapping[str, Any]) -> str:
    if field.get("format") == "date-time":
        return "time"
    if field.get("pattern") == ROOM_ID_PATTERN:
        return _ROOM_ID
    return "id" if field.get("maxLength") == IDENTIFIER_CHARACTERS_MAX else "text"


def _union(words: list[str]) -> str:
    match words:
        case ["whole number", "number", *others]:
            return " or ".join(["number", *others])
        case ["number", "text"]:
            return "money"
        case _:
            return " or ".join(words)
