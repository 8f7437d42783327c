"""Judges one delivery: what is to be logged, or why nothing is."""

from __future__ import annotations

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
from bridge.core.policy import DROP_OLDEST, Policy
from bridge.core.times import is_iso_utc, iso_utc
from bridge.core.tracecontext import TraceStarter
from bridge.core.verdict import Fate, Verdict


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

    def judge(self, delivery: Delivery) -> Verdict:
        """Judge a delivery. Never raises for anything that a publisher can send."""
        try:
            return self._judge(delivery)
        except Refused as refused:
            return self._refused(delivery, refused)

    def _judge(self, delivery: Delivery) -> Verdict:
        # The name comes first: a wrong name is the most useful thing a publisher can be told.
        event_type = self._catalogue.resolve(delivery.routing_key)
        if event_type is None:
            event_type = self._unknown(delivery.routing_key)
            if event_type is None:
                return Verdict(Fate.DROPPED, event_id=delivery.message_id or "")
        envelope = open_envelope(delivery, body_bytes_max=self._body_bytes_max, exact=event_type.exact)
        if envelope.declared_types:
            check_declared_types(envelope, event_type.name)
        owner = self._catalogue.owner_of(event_type)
        if not (owner or self._domain).timestamp_required:
            fill_timestamp(envelope.payload, delivery.received_at)
        event = _validate(event_type.model, envelope.payload)
        event_id = envelope.event_id
        trace, begun = self._traced(envelope.traceparent)
        fate, entries = Fate.LATE, list[Entry]()
        if not is_late(event_type, event, delivery.received_at):
            fate, entries = (
                Fate.LOGGED,
                [make_entry(event_type, event, event_id, envelope.payload["timestamp"], trace)],
            )
            for derived in event.derived():
                entries.append(
                    make_entry(self._catalogue.of_class(type(derived)), derived, event_id, None, trace)
                )
        return Verdict(  # By position, which is faster.
            fate, event_type.name, event_id, trace, entries, None, owner is not None, begun
        )

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


def is_late(event_type: EventType, event: BaseEvent, now: float) -> bool:
    """Tell whether an event is older than its type allows. `now` is in seconds since the Unix epoch."""
    age_max = event_type.age_seconds_max
    return age_max is not None and now - event.timestamp.timestamp() > age_max


def make_entry(
    event_type: EventType, event: BaseEvent, event_id: str, written: object = None, trace: str = ""
) -> Entry:
    """Serialise an event once, for everybody who will get it. `written` is its timestamp as it came."""
    occurred_at = event.timestamp.timestamp()
    age_max = event_type.age_seconds_max
    time = written if is_iso_utc(written) else iso_utc(event.timestamp)
    data = event.__pydantic_serializer__.to_json(event, by_alias=True, exclude_none=True)
    return Entry(  # By position, which is faster.
        _identity(event_type, event, event_id),
        tuple(event.targets()),
        event_type.overflow.policy,
        _conflate_key(event_type, event),
        occurred_at,
        None if age_max is None else occurred_at + age_max,
        b'%b%b,"timestamp":"%b","data":%b}'
        % (event_type.head, quoted(event_id).encode(), time.encode(), data),
        trace,
    )


def _identity(event_type: EventType, event: BaseEvent, event_id: str) -> EventKey:
    if not event_type.once_attributes:
        return EventKey(event_type.name, event_id)
    values = (str(getattr(event, name)) for name in event_type.once_attributes)
    return EventKey(event_type.name, "\0".join(values))


def _conflate_key(event_type: EventType, event: BaseEvent) -> str:
    if event_type.overflow.policy is not Policy.CONFLATE:
        return ""
    # One socket can watch two users, whose quotas may well have the same name.
    key = f"{event_type.name}\0{event.user_id or ''}"
    for name in event_type.conflate_attributes:
        key = f"{key}\0{getattr(event, name)}"
    return key


def _validate(model: type[BaseEvent], payload: dict[str, Any]) -> BaseEvent:
    try:
        return model.__pydantic_validator__.validate_python(payload)  # type: ignore[no-any-return] # typed as Any
    except ValidationError as exc:
        raise complaint(exc, payload) from exc
