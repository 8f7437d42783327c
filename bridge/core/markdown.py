"""A page about every event that can be published, written from the event classes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from bridge.core.catalogue import Catalogue, Domain, EventType
from bridge.core.describe import audience_of, fields_of, routing_key_of, slow_of
from bridge.core.examples import frame, published
from bridge.core.schema import key_of, one_line

HEAD = """\
# Events

Every event that can be published, and what a socket gets of it. Written from the event classes by
`python -m bridge export markdown`; do not edit it, write it anew. How to publish:
[publishing.md](publishing.md). What a page does with them: [protocol.md](protocol.md).
"""

READING = """\
## How to read this

Types of fields:

| type | what to send | what a page gets |
|---|---|---|
| room id | 1 to 128 characters without white space, comma and `*` | the same |
| id | text of 1 to 255 characters | the same |
| text | text of at most 4,096 characters (65,536 for a QR code) | the same |
| money | a number or text, exact: `29.90` or `"29.90"` | text: `"29.90"` |
| number | a number, without quotes | a number |
| whole number | a whole number, not negative | the same |
| counters | an object whose values are numbers; any key is allowed | the same |
| time | ISO 8601 | ISO 8601 in UTC: `2026-11-21T10:00:00.000Z` |
| boolean | `true` or `false` | the same |
| object | any JSON object | the same |
| any JSON | any JSON value | the same |
| list of … | a list of any of these, of at most 1,000 items | the same |

What a number counts, its unit, stands with its meaning. `null` for an optional field counts as left out.
A field that is not listed is dropped on arrival, and never leaves the process. `type` and `eventId` may be in
every payload ([publishing.md](publishing.md#names)). `timestamp` stands in the frame, beside the payload.

*On a slow socket* says what happens when a page does not read fast enough and its outbox is full.
*The newest per … stays*: older ones with the same values give way silently, as for a gauge. *The oldest
give way*: the page is told by a `gap`. *None gives way*: the socket is closed with 4008, and the page
comes back. See [guarantees.md](guarantees.md#5-bounded-everything).

*Too late after*: an event that is older is counted and logged as late, and not sent. *Once per*: the event is
known by these fields, whatever id it carries. *Waits in the inbox*: see [database.md](database.md#inboxes).
"""


def markdown_of(catalogue: Catalogue, *, exchange: str) -> str:
    """Return the page. `exchange` is where events are published."""
    domains = [domain for domain in catalogue.domains.values() if domain.event_types]
    parts = [HEAD, "\n".join(_index(domains)), READING]
    for domain in domains:
        parts.append("\n".join(_domain(domain)))
        parts.extend("\n".join(_event(catalogue, each, exchange)) for each in domain.event_types)
    return "\n".join(parts)


def _index(domains: list[Domain]) -> Iterator[str]:
    yield "| domain | published by | event types |"
    yield "|---|---|---|"
    for domain in domains:
        links = " · ".join(f"[{each.name}](#{_anchor(key_of(each))})" for each in domain.event_types)
        yield f"| [{domain.name}](#{_anchor(domain.name)}) | {domain.publisher} | {links} |"
    yield ""


def _domain(domain: Domain) -> Iterator[str]:
    topics = ", ".join(f"`{topic}`" for topic in domain.topics)
    time = "is required" if domain.timestamp_required else "may be left out"
    yield f"## {domain.name}"
    yield ""
    yield f"Published by: {domain.publisher}. Topics: {topics}. `timestamp` {time}."
    yield ""


def _event(catalogue: Catalogue, event_type: EventType, exchange: str) -> Iterator[str]:
    yield f"### {key_of(event_type)}"
    yield ""
    yield one_line(event_type.model.__doc__ or "")
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in _treatment(catalogue, event_type).items():
        if value:
            yield f"| {name} | {value} |"
    yield ""
    yield "| field | type | required | meaning |"
    yield "|---|---|---|---|"
    for row in fields_of(catalogue, event_type):
        yield f"| `{row.name}` | {row.word} | {'yes' if row.required else 'no'} | {row.description} |"
    yield ""
    yield f"Published to `{exchange}` with the routing key `{routing_key_of(catalogue, event_type)}`:"
    yield ""
    yield from _block(published(event_type))
    if (sent := frame(event_type)) is not None:
        yield "On a socket:"
        yield ""
        yield from _block(sent)


def _treatment(catalogue: Catalogue, event_type: EventType) -> Mapping[str, str]:
    audience = audience_of(catalogue, event_type)
    age = event_type.age_seconds_max
    return {
        "goes to": ", ".join(f"`{room}`" for room in audience.rooms) or "no browser",
        "followed by": ", ".join(f"`{name}`" for name in audience.derived),
        "on a slow socket": slow_of(event_type),
        "too late after": "never" if age is None else f"{age:g} s",
        "once per": " and ".join(f"`{name}`" for name in event_type.once_by),
        "waits in the inbox": "yes" if event_type.durable else "",
        "version": "" if event_type.version == 1 else str(event_type.version),
        "old names": ", ".join(f"`{alias}`" for alias in event_type.aliases),
    }


def _block(value: Mapping[str, object]) -> Iterator[str]:
    yield "```json"
    yield json.dumps(value, ensure_ascii=False)
    yield "```"
    yield ""


def _anchor(title: str) -> str:
    """Return the anchor that a heading gets where Markdown is shown: dots go."""
    return title.replace(".", "").lower()
