"""Which events exist: domains, their event types, and how a routing key finds its class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import TypeVar

from pydantic.errors import PydanticUndefinedAnnotation

from bridge.core.errors import Reason, Refused
from bridge.core.event import BaseEvent
from bridge.core.forms import FormReader, form_reader_of
from bridge.core.names import corrected, is_alias, is_name, letters, split_version, topic_matches
from bridge.core.policy import Overflow

RESERVED_NAMES = frozenset({"in", "dead", "log"})  # The bridge's own, beside the queues of domains.
UNROUTED = "unrouted"  # The domain that catches what no other binds.

E = TypeVar("E", bound=BaseEvent)


class UnknownRule(StrEnum):
    """What a domain does with a well-formed event type that it does not know."""

    DEAD_LETTER = "dead_letter"
    PASS = "pass"  # noqa: S105 - a rule, not a password
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class EventType:
    """One event type: its canonical name and version, its class, and how it is treated.

    `age_seconds_max` is the age past which the event is worthless, None for never.
    `aliases` are old routing keys that mean this type and version. `once_by` are the payload
    fields that together can happen only once; they identify the event whatever id it carries.
    A durable event also waits in the inbox of each user whose own room it goes to.
    """

    name: str
    model: type[BaseEvent]
    overflow: Overflow
    version: int = 1
    age_seconds_max: float | None = None
    aliases: tuple[str, ...] = ()
    once_by: tuple[str, ...] = ()
    durable: bool = False
    conflate_attributes: tuple[str, ...] = field(init=False)  # Of the class, for `overflow.key_fields`.
    once_attributes: tuple[str, ...] = field(init=False)  # Of the class, for `once_by`.
    usual_names: frozenset[str] = field(init=False)  # What an event calls itself, if not in another way.
    head: bytes = field(init=False)  # How every payload of this type begins, up to its id.
    form_reader: FormReader | None = field(init=False)  # None if only the class can read its events.
    exact: bool = field(init=False)  # Whether it holds money: then its JSON is read without rounding.

    def __post_init__(self) -> None:
        """Raise ValueError for a declaration that could not work."""
        if not is_name(self.name):
            raise ValueError(f"event type {self.name!r} is not of the form entity.action in lower case")
        _require_complete(self.name, self.model)
        for what, names in (("aliases", self.aliases), ("once_by", self.once_by)):
            _require_tuple(f"{what} of {self.name}", names)
        if self.version < 1:
            raise ValueError(f"{self.name} has the version {self.version}; the first is 1")
        for alias in self.aliases:
            if not is_alias(alias):
                raise ValueError(f"alias {alias!r} of {self.name} cannot be a routing key")
        if self.durable and not self.model.model_fields["user_id"].is_required():
            raise ValueError(f"{self.name} is durable, but need not have a user whose inbox it is for")
        if self.durable and self.age_seconds_max is not None:
            raise ValueError(f"{self.name} is durable, and so cannot become too old; leave out its age")
        object.__setattr__(
            self, "conflate_attributes", self._attributes("conflates", self.overflow.key_fields)
        )
        object.__setattr__(self, "once_attributes", self._attributes("is once", self.once_by))
        object.__setattr__(self, "usual_names", frozenset({self.name, self.name.rpartition(".")[2]}))
        head = b'{"type":"%b","version":%d,"id":' % (self.name.encode(), self.version)
        object.__setattr__(self, "head", head)
        reader = form_reader_of(self.model, self.conflate_attributes + self.once_attributes)
        object.__setattr__(self, "form_reader", reader)
        object.__setattr__(self, "exact", _holds_money(self.model.__pydantic_core_schema__))

    def _attributes(self, verb: str, wire_names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the class's attributes for payload fields named in a declaration."""
        attributes = {info.alias or name: name for name, info in self.model.model_fields.items()}
        for wire_name in wire_names:
            if wire_name not in attributes:
                raise ValueError(f"{self.name} {verb} by {wire_name!r}, which it does not declare")
        return tuple(attributes[wire_name] for wire_name in wire_names)


@dataclass(slots=True)
class Domain:
    """One consumer and its queue: a name, the topics it binds, and its event types.

    `publisher` names the service, for people. `topics` are AMQP topic patterns. Where the
    timestamp is not required, the time of receipt stands in for a missing one. One domain
    catches what no other domain's topics match.
    """

    name: str
    publisher: str
    topics: tuple[str, ...]
    unknown: UnknownRule = UnknownRule.DEAD_LETTER
    timestamp_required: bool = True
    catches_unrouted: bool = False
    event_types: list[EventType] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise ValueError for topics that are none."""
        _require_tuple(f"topics of the domain {self.name}", self.topics)

    def event(
        self,
        name: str,
        *,
        overflow: Overflow,
        version: int = 1,
        age_seconds_max: float | None = None,
        aliases: tuple[str, ...] = (),
        once_by: tuple[str, ...] = (),
        durable: bool = False,
    ) -> Callable[[type[E]], type[E]]:
        """Declare the decorated class as the event type `name` of this domain."""

        def declare(model: type[E]) -> type[E]:
            self.event_types.append(
                EventType(name, model, overflow, version, age_seconds_max, aliases, once_by, durable)
            )
            return model

        return declare

    @property
    def binding_keys(self) -> tuple[str, ...]:
        """The topics, and the aliases that no topic needs to cover."""
        aliases = chain.from_iterable(event_type.aliases for event_type in self.event_types)
        return tuple(dict.fromkeys((*self.topics, *aliases)))


class Catalogue:
    """All domains. Immutable once built; every look-up is a dictionary's."""

    def __init__(self, domains: Iterable[Domain]) -> None:
        """Raise ValueError when two domains or event types would answer to the same name."""
        self.domains: dict[str, Domain] = {}
        self._by_class: dict[type[BaseEvent], EventType] = {}
        self._by_key: dict[str, EventType] = {}
        self._versions: dict[str, dict[int, EventType]] = {}
        self._domain_of: dict[str, str] = {}
        self._by_letters: dict[str, str] = {}
        for domain in domains:
            self._add(domain)
        self._check_topics()

    def _add(self, domain: Domain) -> None:
        if domain.name in self.domains:
            others = " and ".join(repr(one.publisher) for one in (self.domains[domain.name], domain))
            raise ValueError(f"domain {domain.name!r} is declared twice, for the publishers {others}")
        self.domains[domain.name] = domain
        for event_type in domain.event_types:
            owner = self._domain_of.setdefault(event_type.name, domain.name)
            if owner != domain.name:
                raise ValueError(f"{event_type.name} is declared by the domains {owner} and {domain.name}")
            versions = self._versions.setdefault(event_type.name, {})
            if event_type.version in versions:
                places = _places(versions[event_type.version], event_type)
                raise ValueError(f"{_versioned(event_type)} is declared twice{places}")
            versions[event_type.version] = event_type
            other = self._by_class.setdefault(event_type.model, event_type)
            if other is not event_type:
                raise ValueError(
                    f"{event_type.name} is declared by a class that declares {other.name}, too: "
                    f"{_place(other)}"
                )
            for alias in event_type.aliases:
                other = self._by_key.setdefault(alias, event_type)
                if other is not event_type:
                    both = f"{_versioned(other)} and {_versioned(event_type)}"
                    raise ValueError(f"alias {alias!r} is declared twice, for {both}")
            namesake = self._by_key.get(event_type.name, event_type)
            if namesake.name != event_type.name:
                raise ValueError(f"{event_type.name} is also an alias of {namesake.name}")
            newest = versions[max(versions)]
            self._by_key[event_type.name] = newest
            self._by_letters.setdefault(letters(event_type.name), event_type.name)

    def _check_topics(self) -> None:
        """Raise ValueError when a domain's queue would take what belongs to another domain."""
        for domain in self.domains.values():
            for key, event_type in self._by_key.items():
                owner = self._domain_of[event_type.name]
                for topic in domain.topics:
                    if owner != domain.name and topic_matches(topic, key):
                        raise ValueError(
                            f"topic {topic!r} of the domain {domain.name} takes {key} of the domain {owner}"
                        )

    @property
    def event_types(self) -> Sequence[EventType]:
        """Every event type of every domain, in the order of declaration."""
        return [event_type for domain in self.domains.values() for event_type in domain.event_types]

    @property
    def durable_names(self) -> frozenset[str]:
        """The names of the event types that wait in inboxes; one version speaks for all."""
        return frozenset(event_type.name for event_type in self.event_types if event_type.durable)

    def declared(self) -> Mapping[str, tuple[EventType, Domain]]:
        """Return what each routing key means that is a name or an alias, and the domain that declares it."""
        return {
            key: (event_type, self.domains[self._domain_of[event_type.name]])
            for key, event_type in self._by_key.items()
        }

    def of_class(self, model: type[BaseEvent]) -> EventType:
        """Return the event type declared with this class. Raises KeyError for an undeclared one."""
        return self._by_class[model]

    def owner_of(self, event_type: EventType) -> Domain | None:
        """Return the domain that declares this event type, None for one that no domain declares."""
        name = self._domain_of.get(event_type.name)
        return self.domains[name] if name is not None else None

    def resolve(self, key: str) -> EventType | None:
        """Find the event type that a routing key names, in whichever queue it arrived.

        Returns None for a well-formed name that is unknown: the domain's rule decides.

        Raises:
            Refused: the name is malformed or of an unknown version.
        """
        event_type = self._by_key.get(key)
        if event_type is None:
            event_type = self._resolve_version(key)
        if event_type is None:
            if not is_name(key):
                raise Refused(Reason.BAD_NAME, self._name_advice(key), field="routing_key")
            if self._has_service_prefix(key):
                raise Refused(Reason.BAD_NAME, self._name_advice(key), field="routing_key")
            return None
        return event_type

    def _resolve_version(self, key: str) -> EventType | None:
        name, version = split_version(key)
        if version is None:
            return None
        base = self._by_key.get(name)
        if base is None:
            return None
        versions = self._versions[base.name]
        if version not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise Refused(
                Reason.UNKNOWN_VERSION,
                f"{base.name} has no version {version}; known: {known}",
                field="routing_key",
            )
        return versions[version]

    def _has_service_prefix(self, key: str) -> bool:
        return any(rest in self._by_key for _, rest in _splits(key))

    def _nearest(self, name: str) -> str:
        """Return the known name that has the same letters, else the name itself."""
        return name if name in self._by_key else self._by_letters.get(letters(name), name)

    def _name_advice(self, key: str) -> str:
        fixed = self._nearest(corrected(key))
        for prefix, rest in _splits(fixed):
            known = self._nearest(rest)
            if known in self._by_key:
                return f"{key!r} starts with the service prefix {prefix!r}; publish it as {known!r}"
        advice = f"{key!r} is not of the form entity.action in lower case with dots and underscores"
        if fixed in self._by_key:
            return f"{advice}; publish it as {fixed!r}"
        return advice


def _require_tuple(what: str, names: object) -> None:
    """Raise ValueError for a text in the place of several: a tuple of one needs its comma."""
    if isinstance(names, str):
        raise ValueError(f"{what} is a text; write ({names!r},)")  # noqa: TRY004 - as all that is wrong with one


def _require_complete(name: str, model: type[BaseEvent]) -> None:
    """Raise ValueError for a class that has a field of a type that is not there."""
    try:
        model.model_rebuild()
    except PydanticUndefinedAnnotation as exc:
        raise ValueError(f"{name} has a field of the type {exc.name!r}, which is not defined") from exc


def _versioned(event_type: EventType) -> str:
    return f"{event_type.name} version {event_type.version}"


def _place(event_type: EventType) -> str:
    return f"{event_type.model.__module__}.{event_type.model.__qualname__}"


def _places(one: EventType, other: EventType) -> str:
    """Say which classes these are; nothing of those that the settings declare, which have the same name."""
    places = (_place(one), _place(other))
    return "" if len(set(places)) == 1 else f", by {places[0]} and by {places[1]}"


def _holds_money(schema: object) -> bool:
    """Tell whether an amount of money is anywhere in a schema of pydantic-core.

    That is a decimal which is not strict: a measured number takes strict ones, in case there is money beside.
    """
    if isinstance(schema, dict):
        if schema.get("type") == "decimal" and not schema.get("strict"):
            return True
        return any(map(_holds_money, schema.values()))
    return isinstance(schema, list | tuple) and any(map(_holds_money, schema))


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Yield each way to take a name apart at a dot, the shortest beginning first."""
    for dot in (place for place, character in enumerate(name) if character == "."):
        yield name[:dot], name[dot + 1 :]
