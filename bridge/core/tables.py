"""Domains that are declared in the settings, without Python.

A `[[domain]]` table becomes the same `Domain` that a file in `consumers/` would have made:

    # [[domain]]
    # name = "match"                           # its queue is named after it
    # publisher = "score-service"              # for people
    # topics = ["match.#"]                     # AMQP topic patterns that its queue is bound by
    # unknown = "dead_letter"                  # or "pass" or "drop": event types not named below
    # timestamp_required = true                # false: the time of receipt stands in for a missing one
    #
    # [[domain.event]]
    # name = "match.scored"                    # the routing key
    # version = 1
    # aliases = ["goal:v1"]                    # old routing keys that mean this event type
    # targets = ["match:{matchId}", "user:{userId}", "role:admin", "all"]
    # overflow = { conflate = ["matchId"] }    # or "must_deliver" or "drop_oldest" (the default)
    # age_seconds_max = 60                     # older is worthless; leave it out for never
    # durable = false                          # true: it also waits in its user's inbox
    # fields = { matchId = "id", score = "number", price = "money", at = "time", note = "text",
    #            done = "boolean", extra = "json", tags = "list of text", "nick?" = "text" }

(TOML 1.0 wants an inline table on one line; a `[domain.event.fields]` table is the same.)

The keys of `fields` are the names on the wire, exactly; `?` at the end marks a field that may be
missing. What is not declared never leaves the process. `userId`, `timestamp` and `type` are part
of every event and are not declared; the user is required when a target or a conflation names it.

A target is `all`, a room, or a room whose whole id is one declared `id` field in braces.

| word      | takes                                    | writes                      |
|-----------|------------------------------------------|-----------------------------|
| `id`      | 1–128 characters that may name a room    | the same                    |
| `text`    | at most 4,096 characters                 | the same                    |
| `number`  | a number                                 | a number                    |
| `money`   | a number or text, exact                  | text                        |
| `time`    | ISO 8601                                 | ISO 8601 in UTC             |
| `boolean` | true or false                            | the same                    |
| `json`    | anything                                 | the same                    |
| `list of` | a list of any of these but `json`        | a list                      |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    Strict,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import ErrorDetails

from bridge.core.catalogue import UNROUTED, Catalogue, Domain, UnknownRule
from bridge.core.event import BaseEvent, Flag, FreeJson, Money, Number, RoomId, Text, UtcTime
from bridge.core.names import is_alias, is_name, is_topic, topic_matches
from bridge.core.policy import DROP_OLDEST, MUST_DELIVER, Overflow, conflate
from bridge.core.rooms import EVERYONE, parse_room

EVENTS_MAX = 256  # In one domain; the same for its topics.
FIELDS_MAX = 64
TARGETS_MAX = 16
LIST_ITEMS_MAX = 1000  # Of a `list of` field.

_USER = "userId"
_OWN_ROOM = f"user:{{{_USER}}}"
_LIST = "list of "
_TYPES: dict[str, tuple[Any, object]] = {  # Each word's type, and a value for the example.
    "boolean": (Flag, True),
    "id": (RoomId, "example-1"),
    "json": (FreeJson, {"key": "value"}),
    "money": (Money, "9.99"),
    "number": (Number, 1),
    "text": (Text, "example"),
    "time": (UtcTime, "2026-11-21T10:00:00.000Z"),
}
_WORDS = ", ".join(f'"{word}"' for word in _TYPES) + ' or "list of …"'
_RESERVED = {
    _USER: "it is part of every event, and required where a target names it",
    "timestamp": "it is part of every event, and stands in the frame",
    "type": "it is part of every event, and stands in the frame",
}
_RESERVED_DOMAINS = ("dead", "log", UNROUTED)  # Queues of the bridge's own are called so.
_DOMAIN_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_TEMPLATE = re.compile(r"(?P<kind>[a-z][a-z0-9_]{0,31}):\{(?P<field>[^{}]+)\}")
_OVERFLOW_ADVICE = 'write "must_deliver", "drop_oldest" or { conflate = ["…"] }'


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class FieldTable(NamedTuple):
    """One entry of `fields`: its name on the wire, its word, and whether it may be missing."""

    name: str
    word: str
    optional: bool

    @classmethod
    def parse(cls, key: str, word: str) -> FieldTable:
        """Take an entry of `fields` apart; whether it makes sense is checked elsewhere."""
        return cls(key.removesuffix("?"), word, optional=key.endswith("?"))

    @property
    def is_list(self) -> bool:
        """Tell whether the field holds a list."""
        return self.word.startswith(_LIST)

    @property
    def element(self) -> str:
        """The word of what the field holds, or of what its list holds."""
        return self.word.removeprefix(_LIST)

    @property
    def example(self) -> object:
        """A value that the field takes."""
        value = _TYPES[self.element][1]
        return [value] if self.is_list else value

    @property
    def definition(self) -> tuple[Any, Any]:
        """The field as `pydantic.create_model` wants it."""
        annotation: Any = _TYPES[self.element][0]
        if self.is_list:
            annotation = Annotated[tuple[annotation, ...], Field(max_length=LIST_ITEMS_MAX)]
        if self.optional:
            annotation |= None
        default = None if self.optional else ...
        description = f"Declared as {self.word!r} in the settings."
        return annotation, Field(default, alias=self.name, title=self.name, description=description)


class ConflateTable(_Table):
    """Keep the newest frame per value of these fields."""

    conflate: Annotated[tuple[str, ...], Strict(strict=False), Field(min_length=1, max_length=FIELDS_MAX)]


class EventTable(_Table):
    """One `[[domain.event]]` table; see the module's description of the settings."""

    name: str
    version: int = Field(default=1, ge=1, le=9999)
    aliases: Annotated[tuple[str, ...], Strict(strict=False), Field(max_length=TARGETS_MAX)] = ()
    targets: Annotated[tuple[str, ...], Strict(strict=False), Field(min_length=1, max_length=TARGETS_MAX)]
    overflow: Literal["must_deliver", "drop_oldest"] | ConflateTable = "drop_oldest"
    age_seconds_max: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    durable: bool = False
    fields: dict[str, str] = Field(default_factory=dict, max_length=FIELDS_MAX)

    @property
    def declared(self) -> Sequence[FieldTable]:
        """The entries of `fields`, taken apart."""
        return [FieldTable.parse(key, word) for key, word in self.fields.items()]

    @property
    def conflate_fields(self) -> tuple[str, ...]:
        """The wire names that conflation goes by; empty for another policy."""
        return self.overflow.conflate if isinstance(self.overflow, ConflateTable) else ()

    @property
    def user_required(self) -> bool:
        """Tell whether the event needs a user."""
        return _USER in self.conflate_fields or f"{{{_USER}}}" in "".join(self.targets)


class DomainTable(_Table):
    """One `[[domain]]` table; a mistake anywhere in it is a ValueError that names every one."""

    name: str
    publisher: str = ""
    topics: Annotated[tuple[str, ...], Strict(strict=False), Field(min_length=1, max_length=EVENTS_MAX)]
    unknown: Literal["dead_letter", "pass", "drop"] = "dead_letter"
    timestamp_required: bool = True
    event: Annotated[tuple[EventTable, ...], Strict(strict=False), Field(max_length=EVENTS_MAX)] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _validated(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 - any TOML value
        try:
            table = handler(data)
        except ValidationError as error:
            # A union reports one mistake once per branch; dict.fromkeys keeps the first of each.
            problems = list(dict.fromkeys(_in_words(data, each) for each in error.errors()))
            raise ValueError("; ".join(problems)) from error
        problems = list(_domain_problems(table))
        if problems:
            raise ValueError("; ".join(problems))
        try:
            Catalogue([build(table)])
        except ValueError as exc:
            raise ValueError(f"domain {table.name!r}: {exc}; remove one of the two") from exc
        return table


class Target(NamedTuple):
    """A room, or its beginning and the attribute of the event whose value ends it."""

    beginning: str
    attribute: str | None = None


class TableEvent(BaseEvent):
    """The base of every event class that was declared in the settings."""

    TARGETS: ClassVar[tuple[Target, ...]] = ()

    def targets(self) -> Sequence[str]:
        """Return the rooms of the declared targets, in their order."""
        return tuple(
            beginning if attribute is None else beginning + getattr(self, attribute)
            for beginning, attribute in self.TARGETS
        )


def build(table: DomainTable) -> Domain:
    """Make the domain that a validated table declares, with a class for each event type."""
    domain = Domain(
        table.name,
        publisher=table.publisher or table.name,
        topics=table.topics,
        unknown=UnknownRule(table.unknown),
        timestamp_required=table.timestamp_required,
    )
    for event in table.event:
        domain.event(
            event.name,
            overflow=_overflow(event),
            version=event.version,
            age_seconds_max=event.age_seconds_max,
            aliases=event.aliases,
            durable=event.durable,
        )(_event_class(event))
    return domain


def _event_class(event: EventTable) -> type[TableEvent]:
    # The attributes have names of their own, since a wire name may be a word that pydantic or Python keeps.
    attributes = {field.name: f"field_{number}" for number, field in enumerate(event.declared)}
    definitions: dict[str, Any] = {attributes[field.name]: field.definition for field in event.declared}
    if event.user_required:
        definitions["user_id"] = (RoomId, Field(description="The user the event belongs to."))
    version = f"V{event.version}" if event.version > 1 else ""
    model = create_model(
        "".join(part.capitalize() for part in re.split(r"[._]", event.name)) + version,
        __base__=TableEvent,
        __doc__=f"{event.name}, as declared in the settings.",
        __module__=__name__,
        **definitions,
    )
    model.TARGETS = tuple(_target(template, {_USER: "user_id", **attributes}) for template in event.targets)
    model.EXAMPLE = {field.name: field.example for field in event.declared}
    return model


def _target(template: str, attributes: dict[str, str]) -> Target:
    match = _TEMPLATE.fullmatch(template)
    return Target(f"{match['kind']}:", attributes[match["field"]]) if match else Target(template)


def _overflow(event: EventTable) -> Overflow:
    match event.overflow:
        case "must_deliver":
            return MUST_DELIVER
        case "drop_oldest":
            return DROP_OLDEST
        case ConflateTable(conflate=key_fields):
            return conflate(*key_fields)


def _domain_problems(table: DomainTable) -> Iterator[str]:
    where = f"domain {table.name!r}"
    if not _DOMAIN_NAME.fullmatch(table.name):
        yield f"{where}: the name must be a lower-case word of at most 32 letters, digits and underscores"
    if table.name in _RESERVED_DOMAINS:
        yield f"{where}: a queue of the bridge's own has this name; choose another"
    for topic in table.topics:
        if set(topic) <= set("*#."):
            yield f"{where}: topic {topic!r} takes other domains' events; begin it with a word"
        elif not is_topic(topic):
            yield f"{where}: topic {topic!r} is not words, '*' and '#' with dots between; correct it"
    for event in table.event:
        within = f"{where}, event {event.name!r}"
        yield from (f"{within}{problem}" for problem in _event_problems(table, event))


def _durable_problems(event: EventTable) -> Iterator[str]:
    if _OWN_ROOM not in event.targets:
        yield f": it is durable, but goes to no user's own room; add {_OWN_ROOM!r} to targets"
    if event.age_seconds_max is not None:
        yield ": it is durable, and so cannot become too old; leave out age_seconds_max"


def _event_problems(table: DomainTable, event: EventTable) -> Iterator[str]:
    """Yield what is wrong with an event type, each to follow its name."""
    if not is_name(event.name):
        yield ": the name is not of the form entity.action in lower case; rename it"
    elif not any(topic_matches(topic, event.name) for topic in table.topics):
        topic = f"{event.name.partition('.')[0]}.#"
        yield f": no topic of the domain covers the name; add {topic!r} to topics"
    if event.durable:
        yield from _durable_problems(event)
    yield from (
        f": alias {alias!r} cannot be a routing key; write it without white space, '*' and '#'"
        for alias in event.aliases
        if not is_alias(alias)
    )
    seen: set[str] = set()
    for field in event.declared:
        if problem := _field_problem(field, seen):
            yield f", field {field.name!r}: {problem}"
        seen.add(field.name)
    fields = {field.name: field for field in (*event.declared, FieldTable(_USER, "id", optional=False))}
    for template in event.targets:
        if problem := _target_problem(template, fields):
            yield f", target {template!r}: {problem}"
    for name in event.conflate_fields:
        if problem := _conflation_problem(name, fields):
            yield f", field {name!r}: {problem}"


def _field_problem(field: FieldTable, seen: set[str]) -> str:
    if field.name in _RESERVED:
        return f"{_RESERVED[field.name]}; remove it from fields"
    if not _FIELD_NAME.fullmatch(field.name):
        return "a name is at most 64 letters, digits, '_' and '-', and begins with a letter or '_'; rename it"
    if field.name in seen:
        return "it is declared twice; remove one of the two"
    if field.element not in _TYPES or field.word == f"{_LIST}json":
        return f"{field.word!r} is not a type; write {_WORDS}"
    return ""


def _target_problem(template: str, fields: dict[str, FieldTable]) -> str:
    if "{" not in template and "}" not in template:
        return "" if parse_room(template) else "it is not a room; write 'all', 'kind:id' or 'kind:{field}'"
    match = _TEMPLATE.fullmatch(template)
    if match is None or match["kind"] == EVERYONE:
        return "one field in braces has to be the whole id; write it as 'kind:{field}'"
    field = fields.get(match["field"])
    if field is None:
        return f'the field {match["field"]!r} is not declared; add {match["field"]} = "id" to fields'
    if field.word != "id":
        return f"the field {field.name!r} is declared as {field.word!r}; declare it as 'id'"
    if field.optional:
        return f"the field {field.name!r} may be missing; declare it without '?'"
    return ""


def _conflation_problem(name: str, fields: dict[str, FieldTable]) -> str:
    field = fields.get(name)
    if field is None:
        return "the event conflates by it, but it is not declared; add it to fields"
    if field.optional:
        return "the event conflates by it, but it may be missing; declare it without '?'"
    if field.is_list or field.word == "json":
        return f"the event conflates by it, but it is declared as {field.word!r}; conflate by an 'id'"
    return ""


def _in_words(data: object, error: ErrorDetails) -> str:
    """Say what is wrong with a table's form, naming the domain and the event instead of their numbers."""
    names = [f"domain {_name_of(data)!r}"]
    location = list(error["loc"])
    if location[:1] == ["event"] and len(location) > 1 and isinstance(data, dict):
        names.append(f"event {_name_of(_item(data['event'], location[1]))!r}")
        location = location[2:]
    if location[:1] == ["overflow"]:
        return f"{', '.join(names)}: overflow is not understood; {_OVERFLOW_ADVICE}"
    key = ".".join(map(str, location))
    match error["type"]:
        case "extra_forbidden":
            problem = f"the key {key!r} is unknown; correct its spelling or remove it"
        case "missing":
            problem = f"the key {key!r} is missing; add it"
        case _:
            problem = f"{key or 'the table'}: {_in_toml_words(error['msg'])}; correct it"
    return f"{', '.join(names)}: {problem}"


def _in_toml_words(message: str) -> str:
    """Call what pydantic checked by the names that TOML has for it."""
    return re.sub(r"(?i)\btuple\b", "list", re.sub(r"dictionary( or instance of \w+)?", "table", message))


def _item(items: object, index: object) -> object:
    return items[index] if isinstance(items, list | tuple) and isinstance(index, int) else None


def _name_of(table: object) -> object:
    return table.get("name", "?") if isinstance(table, dict) else "?"
