"""Makes the part of docs/publishing.md that says what can be published, from the catalogue.

`python -m tests.doc_tables` writes it; tests/test_docs.py fails when it is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jiter

from bridge.core.catalogue import Domain, EventType
from bridge.core.event import IDENTIFIER_CHARACTERS_MAX, BaseEvent
from bridge.core.policy import Policy
from bridge.core.rooms import ROOM_ID_PATTERN
from consumers import domains

PAGE = Path(__file__).parents[1] / "docs" / "publishing.md"
BEGIN = "<!-- What follows is written by `python -m tests.doc_tables`. -->"
END = "<!-- What was written ends here. -->"
COMMON_FIELDS = ("userId", "timestamp")
TIMESTAMP = "2026-11-21T10:00:00.000Z"
SLOW = {Policy.DROP_OLDEST: "the oldest give way", Policy.MUST_DELIVER: "none gives way"}


class Row(NamedTuple):
    """A payload field as one or more event types of a domain have it."""

    name: str
    word: str
    description: str


def main() -> None:
    """Bring docs/publishing.md up to date."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def with_tables(page: str) -> str:
    """Return the page with its tables as they should be. Raises ValueError if it lacks the marks."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has lost its marks {BEGIN} and {END}")
    tables = "\n".join(line for domain in domains() for line in _domain(domain))
    return f"{head}{BEGIN}\n\n{tables}\n{END}{tail}"


def payload_of(event_type: EventType, **fields: object) -> dict[str, Any]:
    """Return the example payload of an event type, as it could be published."""
    owner = {"userId": "u1"} if "user_id" in _required(event_type.model) else {}
    return {**owner, "timestamp": TIMESTAMP, **event_type.model.EXAMPLE, **fields}


def event_of(event_type: EventType, payload: Mapping[str, object]) -> BaseEvent:
    """Return the event that a payload makes, numbers read as the bridge reads them."""
    read = jiter.from_json(json.dumps(payload).encode(), float_mode="decimal")
    return event_type.model.model_validate(read)


def _required(model: type[BaseEvent]) -> set[str]:
    return {name for name, field in model.model_fields.items() if field.is_required()}


def _domain(domain: Domain) -> Iterator[str]:
    topics = ", ".join(f"`{topic}`" for topic in domain.topics)
    yield f"### {domain.name}"
    yield ""
    yield (
        f"Published by: {domain.publisher}. Topics: {topics}. "
        + ("`timestamp` is required." if domain.timestamp_required else "`timestamp` may be left out.")
    )
    yield ""
    yield "| event type | meaning | goes to | on a slow socket | too late after |"
    yield "|---|---|---|---|---|"
    for event_type in domain.event_types:
        cells = (cell(event_type) for cell in (_name, _meaning, _targets, _slow, _age))
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "| field | type | meaning | required in | optional in |"
    yield "|---|---|---|---|---|"
    yield from _fields(domain)
    yield ""
    yield "```text"
    for event_type in domain.event_types:
        yield f"{event_type.name}  {json.dumps(payload_of(event_type), ensure_ascii=False)}"
    yield "```"
    yield ""


def _name(event_type: EventType) -> str:
    also = ", ".join(f"`{alias}`" for alias in event_type.aliases)
    version = f" version {event_type.version}" if event_type.version > 1 else ""
    return f"`{event_type.name}`{version}" + (f"<br>also {also}" if also else "")


def _meaning(event_type: EventType) -> str:
    once = " and ".join(f"`{name}`" for name in event_type.once_by)
    durable = " Waits in the [inbox](database.md#inboxes)." if event_type.durable else ""
    return _one_line(event_type.model.__doc__ or "") + (f" Once per {once}." if once else "") + durable


def _targets(event_type: EventType) -> str:
    """Return the rooms of an event type, with the fields that name them in braces."""
    schema = event_type.model.model_json_schema()
    definitions = schema.get("$defs", {})
    names = {name for name, field in schema["properties"].items() if _word(field, definitions) == "room id"}
    event = event_of(event_type, payload_of(event_type, **{name: f"{{{name}}}" for name in names}))
    rooms = ", ".join(f"`{room}`" for room in event.targets())
    derived = ", ".join(f"`{_derived_name(each)}`" for each in event.derived())
    return (rooms or "no browser") + (f"; followed by {derived}" if derived else "")


def _derived_name(event: BaseEvent) -> str:
    names = {each.model: each.name for domain in domains() for each in domain.event_types}
    return names[type(event)]


def _slow(event_type: EventType) -> str:
    overflow = event_type.overflow
    keys = ", ".join(f"`{name}`" for name in overflow.key_fields)
    return SLOW.get(overflow.policy, f"the newest per {keys} stays")


def _age(event_type: EventType) -> str:
    return "never" if event_type.age_seconds_max is None else f"{event_type.age_seconds_max:g} s"


def _fields(domain: Domain) -> Iterator[str]:
    required: dict[Row, list[str]] = {}
    optional: dict[Row, list[str]] = {}
    for event_type in domain.event_types:
        schema = event_type.model.model_json_schema()
        definitions = schema.get("$defs", {})
        for name, field in schema["properties"].items():
            if name in COMMON_FIELDS:
                continue
            row = Row(name, _word(field, definitions), _one_line(field.get("description", "")))
            here, there = (required, optional) if name in schema["required"] else (optional, required)
            here.setdefault(row, []).append(event_type.name)
            there.setdefault(row, [])
    names = [event_type.name for event_type in domain.event_types]
    for row, must in required.items():
        may = optional[row]
        others = must and len(may) > 1 and len(must) + len(may) == len(names)
        lists = (_events(must, names), "the others" if others else _events(may, names))
        yield f"| `{row.name}` | {row.word} | {row.description} | {' | '.join(lists)} |"


def _events(some: list[str], every: list[str]) -> str:
    if not some:
        return "–"
    return "all" if some == every else ", ".join(f"`{name}`" for name in some)


def _word(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Name the type of a field as docs/publishing.md explains it."""
    match field:
        case {"$ref": str(reference)}:
            return _word(definitions[reference.rpartition("/")[2]], definitions)
        case {"enum": list(values)}:
            return ", ".join(f"`{value}`" for value in values)
        case {"anyOf": list(branches)}:
            words = dict.fromkeys(_word(branch, definitions) for branch in branches)
            return _union([word for word in words if word != "null"])
        case {"type": "string"}:
            return _text(field)
        case {"type": "object", "additionalProperties": {"anyOf": _}}:
            return "counters"
        case _:
            return "whole number" if field["type"] == "integer" else str(field["type"])


def _text(field: Mapping[str, Any]) -> str:
    if field.get("format") == "date-time":
        return "time"
    if field.get("pattern") == ROOM_ID_PATTERN:
        return "room id"
    return "id" if field.get("maxLength") == IDENTIFIER_CHARACTERS_MAX else "text"


def _union(words: list[str]) -> str:
    match words:
        case ["whole number", "number", *others]:
            return " or ".join(["number", *others])
        case ["number", "text"]:
            return "money"
        case _:
            return " or ".join(words)


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
