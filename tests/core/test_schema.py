"""The schemas and types of what sockets get."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from bridge.core.catalogue import Catalogue, Domain, EventType
from bridge.core.event import BaseEvent, Count, Flag, FreeJson, Money, Percent, Text, UtcTime
from bridge.core.examples import event_from, published
from bridge.core.policy import MUST_DELIVER
from bridge.core.schema import frame_schema, schema_of
from bridge.core.typescript import typescript_of
from consumers import domains

BUILT_IN = Catalogue(domains())
WORDS = {
    *("$ref", "$schema", "$defs", "title", "description", "type", "const", "enum", "format", "pattern"),
    *("minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "items", "anyOf", "oneOf"),
    *("properties", "required", "additionalProperties"),
}
every_event_type = pytest.mark.parametrize("event_type", BUILT_IN.event_types, ids=lambda each: each.name)


class Scored(BaseEvent):
    """A goal, */ or several."""

    EXAMPLE: ClassVar[dict[str, object]] = {"matchId": "m1", "price": "9.99"}
    TARGETS: ClassVar[tuple[str, ...]] = ("all",)

    match_id: Text
    price: Money
    at: UtcTime | None = None
    note: Text = ""
    share: Percent | None = None
    tags: tuple[Text, ...] = ()
    extra: FreeJson = None
    facts: dict[str, FreeJson] | None = None
    counts: dict[str, Count] | None = None
    done: Flag | None = None

    def targets(self) -> tuple[str, ...]:
        """Return what the class says."""
        return self.TARGETS


def catalogue_with(*names: str, version: int = 1) -> Catalogue:
    """Return a catalogue of one domain with event types that all look like Scored."""
    domain = Domain("match", publisher="", topics=("match.#", "x.#"))
    for name in names:
        for each in range(1, version + 1):
            model = type(f"Scored{each}", (Scored,), {"__doc__": Scored.__doc__})
            domain.event(name, overflow=MUST_DELIVER, version=each)(model)
    return Catalogue([domain])


def schemas_in(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a schema and all that are in it."""
    yield schema
    beside = [schema.get(word) for word in ("items", "additionalProperties")]
    for group in (schema.get("properties", {}), schema.get("$defs", {})):
        beside += group.values()
    for word in ("anyOf", "oneOf"):
        beside += schema.get(word, [])
    for part in beside:
        if isinstance(part, dict):
            yield from schemas_in(part)


def test_words() -> None:
    """A validator knows every word: nothing of pydantic's own is left, and no null."""
    for schema in schemas_in(schema_of(BUILT_IN)):
        assert schema.keys() <= WORDS
        assert schema.get("type") != "null"


@every_event_type
def test_fields(event_type: EventType) -> None:
    """Each example is sent with all fields that its schema requires, and none that it does not know."""
    event = event_from(event_type, published(event_type))
    sent = json.loads(event.__pydantic_serializer__.to_json(event, by_alias=True, exclude_none=True))
    data = frame_schema(event_type)["properties"]["data"]

    assert set(data.get("required", ())) <= sent.keys() <= data["properties"].keys()


def test_what_is_sent_is_described() -> None:
    """Money and times are text, a default is always there, an empty field is missing, and never null."""
    (event_type,) = catalogue_with("match.scored").event_types
    data = frame_schema(event_type)["properties"]["data"]

    assert data["properties"]["price"]["type"] == "string"
    assert re.fullmatch(data["properties"]["price"]["pattern"], "-12.50")
    assert data["properties"]["at"] == {"type": "string", "format": "date-time"}
    assert {"type": "integer", "minimum": 0, "maximum": 100_000} in data["properties"]["share"]["anyOf"]
    assert data["properties"]["extra"] == {}
    assert data["required"] == ["matchId", "price", "note", "tags"]


def test_versions() -> None:
    """Each version of an event type has a definition of its own."""
    schema = schema_of(catalogue_with("match.scored", version=2))

    assert {name: each["properties"]["version"] for name, each in schema["$defs"].items()} == {
        "match.scored": {"const": 1},
        "match.scored-v2": {"const": 2},
    }


def test_what_reaches_no_socket() -> None:
    """An event that goes to no room is exported nowhere: sockets do not get it."""
    domain = Domain("match", publisher="", topics=("match.#",))
    domain.event("match.settled", overflow=MUST_DELIVER)(type("Settled", (Scored,), {"TARGETS": ()}))

    assert schema_of(Catalogue([domain]))["$defs"] == {}
    assert "match.settled" not in typescript_of(Catalogue([domain]))


def test_types() -> None:
    """An interface says what a page reads, with the description of each field."""
    source = typescript_of(catalogue_with("match.scored", version=2))

    assert (
        """
/** `match.scored`: A goal, * / or several. */
export interface MatchScored {
  /** The user concerned, if there is one. */
  userId?: string;
  matchId: string;
  price: string;
  at?: string;
  note: string;
  share?: number;
  tags: Array<string>;
  extra?: JsonValue;
  facts?: {
    [key: string]: JsonValue;
  };
  counts?: {
    [key: string]: number;
  };
  done?: boolean;
}
"""
        in source
    )
    assert (
        '"match.scored": { version: 1; data: MatchScored } | { version: 2; data: MatchScoredV2 };' in source
    )


def test_names_of_types() -> None:
    """No two event types have one name, however alike they are."""
    source = typescript_of(catalogue_with("x.a_b", "x.a.b", "x.ab"))

    assert re.findall(r"export interface (\w+)", source) == ["XAB", "XAB_2", "XAb", "Events"]
