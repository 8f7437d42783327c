"""Judges one delivery: what is to be logged, or why nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from pydantic import ValidationError

from bridge.core.catalogue import Catalogue, Domain, EventType, UnknownRule
from bridge.core.complaint import complaint
from bridge.core.delivery import Delivery
from bridge.core.entry import Entry, EventKey
from bridge.core.envelope import check_declared_types, fill_timestamp, open_envelope, trace_of_refused
from bridge.core.errors import Reason, Refused
from bridge.core.event import BaseEvent, UserEvent
from bridge.core.forms import Form
from bridge.core.plain import is_late, read_plain
from bridge.core.policy import DROP_OLDEST, Policy
from bridge.core.times import iso_utc, plain_time
from bridge.core.tracecontext import TraceStarter
from bridge.core.valid import ValidEvent
from bridge.core.verdict import Fate, Verdict

# To look a member up in its class takes longer than it seems.
_LATE, _LOGGED, _CONFLATE = Fate.LATE, Fate.LOGGED, Policy.CONFLATE


class Intake:
    """Decodes and validates the deliveries of one domain. Pure: time comes with the delivery."""

    def __init__(
        self,
        catalogue: Catalogue,
        domain: Domain,
        *,
        body_bytes_max: int,
        traces: TraceStarter | None = None,
    ) -> None:
        """Judge deliveries of `domain`, whose event types are in `catalogue`.

        `traces` begins those of events that come without one; None leaves them as they are.
        """
        self._catalogue = catalogue
        self._domain = domain
        self._body_bytes_max = body_bytes_max
        self._traces = traces
        self._declared = catalogue.declared()

    def judge(self, delivery: Delivery) -> Verdict:
        """Judge a delivery. Never raises for anything that a publisher can send."""
        try:
            return self._judge(delivery)
        except Refused as refused:
            # What led to it goes, and with it the frames that it would hold for good: pydantic's errors are
            # out of reach of the search for reference cycles.
            refused.__cause__ = refused.__context__ = None
            return self._refused(delivery, refused.with_traceback(None))

    def _judge(self, delivery: Delivery) -> Verdict:
        # The name comes first: a wrong name is the most useful thing a publisher can be told.
        event_type, owner = self._declared.get(delivery.routing_key) or self._find(delivery.routing_key)
        if event_type is None:
            return Verdict(Fate.DROPPED, event_id=delivery.message_id or "")
        valid = read_plain(event_type, delivery, body_bytes_max=self._body_bytes_max)
        if valid is None:
            valid = self._read_any(event_type, owner or self._domain, delivery)
        trace, begun = self._traced(valid.traceparent)
        fate, entries = _LATE, list[Entry]()
        if not valid.late:
            fate, entries = _LOGGED, [_entry(event_type, valid, trace)]
            for derived in valid.derived:
                entries.append(
                    make_entry(self._catalogue.of_class(type(derived)), derived, valid.event_id, trace)
                )
        return Verdict(  # By position, which is faster.
            fate, event_type.name, valid.event_id, trace, entries, None, owner is not None, begun
        )

    def _find(self, name: str) -> tuple[EventType | None, Domain | None]:
        """Find what a name means that no event type has for its own, and which domain declares it."""
        event_type = self._catalogue.resolve(name) or self._unknown(name)
        return event_type, None if event_type is None else self._catalogue.owner_of(event_type)

    def _read_any(self, event_type: EventType, domain: Domain, delivery: Delivery) -> ValidEvent:
        """Read an event in whatever shape that is understood. Raises Refused, saying what is wrong."""
        envelope = open_envelope(delivery, body_bytes_max=self._body_bytes_max, exact=event_type.exact)
        if envelope.declared_types:
            check_declared_types(envelope, event_type.name)
        payload = envelope.payload
        if not domain.timestamp_required:
            fill_timestamp(payload, delivery.received_at)
        event = _validate(event_type.model, payload)
        late = is_late(event_type, event.timestamp.timestamp(), delivery.received_at)
        derived = () if late else event.derived()
        written = payload["timestamp"]
        return _valid(event, envelope.event_id, envelope.traceparent, written, derived, late=late)

    def _traced(self, trace: str) -> tuple[str, bool]:
        """Return the publisher's trace, else one that begins here, if any; and whether it begins here."""
        if trace or self._traces is None:
            return trace, False
        trace = self._traces.begin()
        return trace, bool(trace)

    def _refused(self, delivery: Delivery, refused: Refused) -> Verdict:
        trace, begun = self._traced(trace_of_refused(delivery, body_bytes_max=self._body_bytes_max))
        event_id = delivery.message_id or ""
        return Verdict(Fate.DEAD, event_id=event_id, traceparent=trace, refused=refused, trace_begun=begun)

    def _unknown(self, name: str) -> EventType | None:
        """Apply the domain's rule for unknown types: None to drop, or the bare event that passes.

        Raises:
            Refused: the rule is to dead-letter.
        """
        match self._domain.unknown:
            case UnknownRule.DROP:
                return None
            case UnknownRule.PASS:
                return passed(name)
            case UnknownRule.DEAD_LETTER:
                known = ", ".join(event_type.name for event_type in self._domain.event_types)
                raise Refused(
                    Reason.UNKNOWN_TYPE,
                    f"{name!r} is well-formed, but no event type of the domain {self._domain.name}"
                    + (f"; known: {known}" if known else "; no domain declares it"),
                    field="routing_key",
                )


def passed(name: str) -> EventType:
    """Return the event type of a name that no domain declares: nothing beside the common part may leave."""
    return EventType(name, UserEvent, DROP_OLDEST)


def make_entry(event_type: EventType, event: BaseEvent, event_id: str, trace: str = "") -> Entry:
    """Serialise an event once, for everybody who will get it."""
    return _entry(event_type, _valid(event, event_id, trace), trace)


def _valid(
    event: BaseEvent,
    event_id: str,
    trace: str,
    written: object = None,
    derived: Sequence[BaseEvent] = (),
    *,
    late: bool = False,
) -> ValidEvent:
    """Write an event that its class has read. `written` is its timestamp as it came."""
    time = str(written) if plain_time(written) is not None else iso_utc(event.timestamp)
    occurred_at = event.timestamp.timestamp()
    if late:
        return ValidEvent(event, event_id, trace, time, occurred_at, late)
    data = event.__pydantic_serializer__.to_json(event, by_alias=True, exclude_none=True)
    return ValidEvent(event, event_id, trace, time, occurred_at, late, tuple(event.targets()), derived, data)


def _entry(event_type: EventType, valid: ValidEvent, trace: str) -> Entry:
    fields, age_max = valid.fields, event_type.age_seconds_max
    return Entry(  # By position, which is faster.
        _identity(event_type, fields, valid.event_id),
        valid.targets,
        event_type.overflow.policy,
        _conflate_key(event_type, fields),
        valid.occurred_at,
        None if age_max is None else valid.occurred_at + age_max,
        b'%b%b,"timestamp":"%b","data":%b}'
        % (event_type.head, quoted(valid.event_id).encode(), valid.time.encode(), valid.data),
        trace,
    )


def _identity(event_type: EventType, fields: Form | BaseEvent, event_id: str) -> EventKey:
    if not event_type.once_attributes:
        return EventKey(event_type.name, event_id)
    values = (str(getattr(fields, name)) for name in event_type.once_attributes)
    return EventKey(event_type.name, "\0".join(values))


def _conflate_key(event_type: EventType, fields: Form | BaseEvent) -> str:
    if event_type.overflow.policy is not _CONFLATE:
        return ""
    # One socket can watch two users, whose quotas may well have the same name.
    key = f"{event_type.name}\0{fields.user_id or ''}"
    for name in event_type.conflate_attributes:
        key = f"{key}\0{getattr(fields, name)}"
    return key


def _validate(model: type[BaseEvent], payload: dict[str, Any]) -> BaseEvent:
    try:
        return model.__pydantic_validator__.validate_python(payload)  # type: ignore[no-any-return] # typed as Any
    except ValidationError as exc:
        raise complaint(exc, payload) from exc
