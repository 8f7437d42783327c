"""TypeScript types of the events as sockets get them, written from their JSON Schemas.

One interface for each event type's payload, and one that maps each event type to its payloads by
version. The names are made from the event types': `quota.updated` is `QuotaUpdated`, its second
version `QuotaUpdatedV2`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from typing import Any

from bridge.core.catalogue import Catalogue, EventType
from bridge.core.schema import frame_schema, one_line, sent_types

HEAD = """\
// Written by `python -m bridge export typescript`. Do not edit: write it anew.

/** Any JSON value; where a payload has one, what is in it is the publisher's affair. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
"""
_PLAIN_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*", re.ASCII)
_INDENT = "  "


def typescript_of(catalogue: Catalogue) -> str:
    """Return the source of a module that exports the types of a catalogue's events."""
    names = _interface_names(sent_types(catalogue))
    interfaces = (_interface(event_type, name) for event_type, name in names)
    return "\n".join((HEAD, *interfaces, _events(names)))


def _interface_names(event_types: Sequence[EventType]) -> list[tuple[EventType, str]]:
    """Name each event type's interface; where `a.b_c` and `a.b.c` would clash, the later gets a number."""
    taken = {"JsonValue", "Events"}
    names: list[tuple[EventType, str]] = []
    for event_type in event_types:
        version = "" if event_type.version == 1 else f"V{event_type.version}"
        wanted = "".join(_pascal(part) for part in event_type.name.split(".")) + version
        name = next(
            name for name in chain([wanted], map(f"{wanted}_{{}}".format, count(2))) if name not in taken
        )
        taken.add(name)
        names.append((event_type, name))
    return names


def _pascal(part: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in part.split("_"))


def _interface(event_type: EventType, name: str) -> str:
    frame = frame_schema(event_type)
    body = "\n".join(_members(frame["properties"]["data"], _INDENT))
    comment = _comment(f"`{event_type.name}`: {frame['description']}", "")
    return f"{comment}export interface {name} {{\n{body}\n}}\n"


def _events(names: Sequence[tuple[EventType, str]]) -> str:
    """Write the interface that maps each event type to its versions and payloads."""
    pairs: dict[str, list[str]] = {}
    for event_type, name in names:
        pair = f"{{ version: {event_type.version}; data: {name} }}"
        pairs.setdefault(event_type.name, []).append(pair)
    return "\n".join(
        (
            "/** Each event type with the versions and payloads that it may have. */",
            "export interface Events {",
            *(f"{_INDENT}{json.dumps(name)}: {' | '.join(each)};" for name, each in pairs.items()),
            "}",
            "",
        )
    )


def _members(schema: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Yield the lines between an object type's braces."""
    required = schema.get("required", ())
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    for name, member in properties.items():
        if description := member.get("description"):
            yield _comment(one_line(description), indent).rstrip("\n")
        mark = "" if name in required else "?"
        yield f"{indent}{_key(name)}{mark}: {_type(member, indent)};"
    if (more := schema.get("additionalProperties")) not in (None, False):
        # An optional member may be undefined, which an index signature has to allow.
        undefined = " | undefined" if set(properties) - set(required) else ""
        yield f"{indent}[key: string]: {_type(more, indent)}{undefined};"


def _type(schema: Any, indent: str) -> str:  # noqa: ANN401, PLR0911 - a table
    match schema:
        case True:
            return "JsonValue"
        case {"const": value}:
            return json.dumps(value)
        case {"enum": list(values)}:
            return " | ".join(json.dumps(value) for value in values)
        case {"anyOf": list(branches)}:
            return " | ".join(dict.fromkeys(_type(branch, indent) for branch in branches))
        case {"type": "array", "items": items}:
            return f"Array<{_type(items, indent)}>"
        case {"type": "object"}:
            members = "\n".join(_members(schema, indent + _INDENT))
            return f"{{\n{members}\n{indent}}}" if members else "{ [key: string]: JsonValue }"
        case {"type": "integer" | "number"}:
            return "number"
        case {"type": "string" | "boolean" | "null" as plain}:
            return str(plain)
        case {"type": other}:
            raise ValueError(f"no TypeScript for the type {other!r}")
        case _:
            return "JsonValue"


def _key(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)


def _comment(text: str, indent: str) -> str:
    return f"{indent}/** {text.replace('*/', '* /')} */\n"
