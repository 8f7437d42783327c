"""Judges example events of a publisher's as the bridge would judge them, and finds every problem at once.

Text comes in, findings go out. A text holds events as JSON: one, a list, or one after the other (JSON lines).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bridge.core.catalogue import Catalogue, EventType
from bridge.core.delivery import Delivery
from bridge.core.describe import FieldRow, fields_of
from bridge.core.envelope import open_envelope
from bridge.core.errors import Reason, Refused, shown
from bridge.core.event_text import Broken, Item, items_of, lines_of
from bridge.core.intake import passed
from bridge.core.names import letters
from bridge.core.verdict import Fate, Verdict

NO_ROUTING_KEY = "no_routing_key"
NO_EVENT = "no_event"
UNDECLARED = "undeclared_field"
DROPPED = "dropped"

_NEVER_LATE = 0.0  # An example's time of receipt: nothing that has a date since 1970 is late by then.
_COMMON = ("type", "timestamp", "eventId")  # They are read, but stand elsewhere in a frame, or nowhere.
_DECLARE = "correct the name, or have the event type declared in the bridge"
_REMEDIES = {
    Reason.NOT_JSON: "correct the JSON",
    Reason.TOO_LARGE: "send ids instead of contents",
    Reason.UNKNOWN_TYPE: _DECLARE,
    Reason.UNKNOWN_VERSION: "publish one of these versions, or have yours declared in the bridge",
}


class Level(StrEnum):
    """How bad a finding is: an event with an error would be dead-lettered."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend. `line` and `index`, of the event in its text, count from 1; index 0 is the text."""

    level: Level
    line: int
    index: int
    event_type: str
    field: str
    reason: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one text, and how many events it holds."""

    events: int
    findings: tuple[Finding, ...]


class Linter:
    """Finds what is wrong with the events of a text."""

    def __init__(
        self,
        catalogue: Catalogue,
        judge: Callable[[Delivery], Verdict],
        *,
        body_bytes_max: int,
        routing_key: str | None = None,
    ) -> None:
        """`judge` is the bridge's; `routing_key` is that of every event, else each names its own."""
        self._catalogue = catalogue
        self._judge = judge
        self._body_bytes_max = body_bytes_max
        self._routing_key = routing_key
        self._rows: dict[EventType, Mapping[str, FieldRow]] = {}  # Of the types that were looked at.

    def lint(self, text: str, *, by_line: bool) -> Report:
        """Judge every event of a text. With `by_line` each line is one, and a broken one spoils no other."""
        events, findings = 0, list[Finding]()
        for item in lines_of(text) if by_line else items_of(text):
            if isinstance(item, Broken):
                findings.append(_error(item, Reason.NOT_JSON, f"not JSON: {item.why}", "correct the JSON"))
                continue
            events += 1
            findings.extend(self._findings(item))
        if not events and not findings:
            nothing = Broken(line=1, index=0, why="")
            findings.append(_error(nothing, NO_EVENT, "there is no event here", "name a file with events"))
        return Report(events, tuple(findings))

    def _findings(self, item: Item) -> Iterator[Finding]:
        if not isinstance(item.value, dict):
            message = f"an event is {shown(item.value)}; it must be a JSON object"
            yield _error(item, Reason.NOT_AN_OBJECT, message, "write an object, or a list of objects")
            return
        key = self._routing_key or self._named(item.value)
        if key is None:
            message = "nothing says which event this is"
            remedy = "write its whole name into type, such as quota.updated, or give --routing-key"
            yield _error(item, NO_ROUTING_KEY, message, remedy)
            return
        delivery = Delivery(key, item.text.encode(), _NEVER_LATE)
        verdict = self._judge(delivery)
        event_type = self._event_type(key)
        if verdict.refused is not None and verdict.refused.reason is Reason.WRONG_TYPE:
            yield self._refused(item, event_type, key, verdict.refused)
            delivery.body = _with_names(item.value, key)
            verdict = self._judge(delivery)
        if verdict.refused is not None:
            for refused in (verdict.refused, *verdict.refused.others):
                yield self._refused(item, event_type, key, refused)
        if verdict.fate is Fate.DROPPED:
            message = f"no domain declares {key}, and the bridge is told to drop such events"
            yield Finding(Level.WARNING, item.line, item.index, key, "", DROPPED, message, _DECLARE)
        if event_type is None and verdict.entries:
            event_type = passed(key)
        if event_type is not None:
            yield from self._undeclared(item, event_type, delivery, verdict)

    def _named(self, value: Mapping[str, object]) -> str | None:
        """Return the routing key that an event names itself, None if it names none."""
        name = value["pattern"] if value.keys() >= {"pattern", "data"} else value.get("type")
        if not isinstance(name, str):
            return None
        # A CloudEvent's type may begin with the publisher's domain.
        parts = name.split(".") if "specversion" in value else [name]
        ends = (".".join(parts[start:]) for start in range(len(parts)))
        known = next((end for end in ends if self._event_type(end) is not None), name)
        is_last_part = known.isidentifier() and known == known.lower() and self._event_type(known) is None
        return None if is_last_part else known

    def _event_type(self, key: str) -> EventType | None:
        try:
            return self._catalogue.resolve(key)
        except Refused:
            return None

    def _refused(self, item: Item, event_type: EventType | None, key: str, refused: Refused) -> Finding:
        remedy = _REMEDIES.get(refused.reason, "")
        if event_type is not None and refused.reason in (Reason.MISSING_FIELD, Reason.BAD_FIELD):
            row = self._rows_of(event_type).get(refused.field.partition(".")[0])
            verb = "add it" if refused.reason is Reason.MISSING_FIELD else "correct it"
            remedy = verb if row is None else f"{verb}; {row.name} ({row.word}): {row.description}"
        name = event_type.name if event_type is not None else key
        return Finding(
            Level.ERROR,
            item.line_of(refused.field),
            item.index,
            name,
            refused.field,
            refused.reason,
            refused.message,
            remedy,
        )

    def _rows_of(self, event_type: EventType) -> Mapping[str, FieldRow]:
        if event_type not in self._rows:
            self._rows[event_type] = {row.name: row for row in fields_of(self._catalogue, event_type)}
        return self._rows[event_type]

    def _undeclared(
        self, item: Item, event_type: EventType, delivery: Delivery, verdict: Verdict
    ) -> Iterator[Finding]:
        """Yield a warning for each field that will not leave the bridge."""
        try:
            payload = open_envelope(delivery, body_bytes_max=self._body_bytes_max).payload
        except Refused:
            return
        names = _declared_names(event_type)
        lost = [name for name, value in payload.items() if name not in names and value is not None]
        for entry in verdict.entries[:1]:  # Those behind it were derived from it.
            sent = json.loads(entry.payload)["data"]
            for name in (name for name in payload if name in sent):
                lost += _lost(payload[name], sent[name], name)
        for path in lost:
            meant = next((name for name in names if letters(name) == letters(path)), None)
            yield Finding(
                Level.WARNING,
                item.line_of(path),
                item.index,
                event_type.name,
                path,
                UNDECLARED,
                f"{path} is not declared for {event_type.name} and will not leave the bridge",
                f"write {meant}" if meant else "leave it out, or have it declared in the bridge",
            )


def _declared_names(event_type: EventType) -> list[str]:
    """Return every name by which a field of the payload is read."""
    names = list(_COMMON)
    for attribute, info in event_type.model.model_fields.items():
        alias = info.validation_alias or info.alias or attribute
        names += [choice for choice in getattr(alias, "choices", [alias]) if isinstance(choice, str)]
    return names


def _lost(given: object, sent: object, path: str) -> Iterator[str]:
    """Yield the path of each field inside that was given and is not sent."""
    match given, sent:
        case dict(), dict():
            for name, value in given.items():
                if name in sent:
                    yield from _lost(value, sent[name], f"{path}.{name}")
                elif value is not None:
                    yield f"{path}.{name}"
        case list(), list():
            for number, (one, other) in enumerate(zip(given, sent, strict=False)):
                yield from _lost(one, other, f"{path}.{number}")


def _with_names(value: Mapping[str, object], key: str) -> bytes:
    """Return an event with the right name wherever it has one, to see what else is wrong with it."""

    def named(part: Mapping[str, object]) -> dict[str, object]:
        return {**part, **{name: key for name in ("type", "pattern") if name in part}}

    data = value.get("data")
    inner = {"data": named(data)} if isinstance(data, dict) else {}
    return json.dumps({**named(value), **inner}).encode()


def _error(at: Item | Broken, reason: str, message: str, remedy: str) -> Finding:
    return Finding(Level.ERROR, at.line, at.index, "", "", reason, message, remedy)
