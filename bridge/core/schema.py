"""JSON Schemas of the events as sockets get them and as they are published, made from the event classes.

What leaves the process differs from what comes in: money and times are text in one form, a field
without a value is missing rather than null, and a default is always there. The words are those that
JSON Schema 2020-12 and draft 7 share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bridge.core.catalogue import Catalogue, EventType
from bridge.core.examples import sample
from bridge.core.times import iso_utc
from bridge.core.tracecontext import PATTERN as TRACE_PATTERN

DIALECT = "https://json-schema.org/draft/2020-12/schema"
EVENT_ID_CHARACTERS_MAX = 255
MONEY_PATTERN = r"^-?[0-9]+(\.[0-9]+)?$"
_DEFINITIONS = "$defs"
_PLACES, _DIGITS = "decimal_places", "max_digits"
_LIMITS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}


class _Plain(GenerateJsonSchema):
    """Leaves out what speaks of Python: defaults, which are the bridge's affair, and titles."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave the default out: who publishes leaves the field out, and a page gets the value."""
        return self.generate_inner(schema["schema"])

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Leave the class's name out: it is nothing to others."""
        written = super().model_schema(schema)
        written.pop("title", None)
        return written

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's signature
        """Leave titles out, which would repeat the names."""
        return False


class _Sent(_Plain):
    """Writes the schema of what is sent, where pydantic's own would tell what could be held."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Leave null out: a field without a value is not sent."""
        return self.generate_inner(schema["schema"])

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,  # noqa: ARG002, FBT001 - pydantic's signature
    ) -> bool:
        """Tell whether the field is always sent: it has a value that is not null."""
        inner = field["schema"]
        if inner["type"] == "default":
            return "default_factory" in inner or inner.get("default") is not None
        return bool(inner["type"] != "nullable")

    def ser_schema(self, schema: Any) -> JsonSchemaValue | None:  # noqa: ANN401 - one of pydantic's many
        """Name the form of a time, which pydantic knows only as text."""
        written = super().ser_schema(schema)
        if written is not None and schema.get("function") is iso_utc:
            return {**written, "format": "date-time"}
        return written


def payload_schema(event_type: EventType) -> dict[str, Any]:
    """Return the schema of an event type's payload, the `data` of its frame. `$defs` are its own."""
    schema = event_type.model.model_json_schema(mode="serialization", schema_generator=_Sent)
    return {**schema, "description": one_line(event_type.model.__doc__ or "")}


def published_schema(event_type: EventType, *, timestamp_required: bool) -> dict[str, Any]:
    """Return the schema of an event type's payload as it may be published, without `$defs` of its own."""
    schema = _inlined(event_type.model.model_json_schema(mode="validation", schema_generator=_Plain))
    allowed = dict.fromkeys((event_type.name, event_type.name.rpartition(".")[2], *event_type.aliases))
    common = {
        "type": {"enum": list(allowed), "description": "The event type; may be left out."},
        "eventId": {
            "type": "string",
            "maxLength": EVENT_ID_CHARACTERS_MAX,
            "description": "Identifies the event where the AMQP message_id does not.",
        },
    }
    required = [name for name in schema["required"] if timestamp_required or name != "timestamp"]
    return {
        "type": "object",
        "description": one_line(event_type.model.__doc__ or ""),
        "properties": common | schema["properties"],
        "required": required,
    }


def frame_schema(event_type: EventType) -> dict[str, Any]:
    """Return the schema of an event type's frame, without `$defs` of its own (docs/protocol.md, Events)."""
    data = _inlined(payload_schema(event_type))
    return {
        "type": "object",
        "description": data.pop("description"),
        "properties": {
            "offset": {"type": "integer", "minimum": 0},
            "room": {"type": "string"},
            "type": {"const": event_type.name},
            "version": {"const": event_type.version},
            "id": {"type": "string", "minLength": 1, "maxLength": EVENT_ID_CHARACTERS_MAX},
            "timestamp": {"type": "string", "format": "date-time"},
            "trace": {
                "type": "string",
                "pattern": TRACE_PATTERN,
                "description": "The publisher's W3C traceparent, if `tracing.frames` is on.",
            },
            "data": data,
        },
        "required": ["offset", "room", "type", "version", "id", "timestamp", "data"],
    }


def sent_types(catalogue: Catalogue) -> list[EventType]:
    """Return the event types that sockets get; others, which go to no room, are the nodes' own affair."""
    return [event_type for event_type in catalogue.event_types if sample(event_type).targets()]


def schema_of(catalogue: Catalogue) -> dict[str, Any]:
    """Return one schema that every event of the catalogue satisfies, each type by name in `$defs`."""
    frames = {key_of(event_type): frame_schema(event_type) for event_type in sent_types(catalogue)}
    return {
        "$schema": DIALECT,
        "title": "Events, as sockets get them",
        "oneOf": [{"$ref": f"#/{_DEFINITIONS}/{key}"} for key in frames],
        _DEFINITIONS: frames,
    }


def one_line(text: str) -> str:
    """Return a docstring as one line."""
    return " ".join(text.split())


def key_of(event_type: EventType) -> str:
    """Return a name for an event type and its version: the first version has the type's.

    A hyphen is in no event type's name, so no two have the same; AsyncAPI allows it in a key, and no colon.
    """
    return event_type.name if event_type.version == 1 else f"{event_type.name}-v{event_type.version}"


def _odd(part: Mapping[str, Any]) -> bool:
    """Tell whether pydantic's own words are in a schema; a property of such a name holds a schema."""
    return any(isinstance(part.get(word), int | float) for word in (*_LIMITS, _PLACES, _DIGITS))


def _standard(part: Mapping[str, Any]) -> dict[str, Any]:
    """Write pydantic's own words as JSON Schema knows them."""
    money = {"pattern": MONEY_PATTERN} if _PLACES in part else {}
    return {
        _LIMITS.get(word, word): value for word, value in part.items() if word not in (_PLACES, _DIGITS)
    } | money


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with its references replaced by what they mean: names could clash between types.

    Raises:
        ValueError: a class refers to itself, which no event may, as its size would have no limit.
    """
    definitions = schema.get(_DEFINITIONS, {})

    def resolve(part: Any, inside: tuple[str, ...]) -> Any:  # noqa: ANN401 - any part of a schema
        match part:
            case {"$ref": str(reference), **beside}:
                name = reference.rpartition("/")[2]
                if name in inside:
                    raise ValueError(f"{name} refers to itself")
                return {**resolve(definitions[name], (*inside, name)), **resolve(beside, inside)}
            case dict() if _odd(part):
                return resolve(_standard(part), inside)
            case dict():
                return {key: resolve(value, inside) for key, value in part.items() if key != _DEFINITIONS}
            case list():
                return [resolve(value, inside) for value in part]
            case _:
                return part

    inlined: dict[str, Any] = resolve(schema, ())
    return inlined
