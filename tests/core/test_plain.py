"""Events that are read by the form of their class have the verdict that the class would give."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import example, given, settings, strategies as st

from bridge.core.catalogue import Catalogue, Domain, EventType
from bridge.core.delivery import Delivery
from bridge.core.entry import Entry
from bridge.core.event import (
    SAFE_MAX,
    BaseEvent,
    Code,
    Count,
    Counters,
    Flag,
    Identifier,
    Number,
    Percent,
    RoomId,
    Text,
    UserEvent,
    UtcTime,
)
from bridge.core.intake import Intake
from bridge.core.plain import read_plain
from bridge.core.policy import DROP_OLDEST, MUST_DELIVER, conflate
from bridge.core.verdict import Verdict
from consumers import domains

TIME = "2026-11-21T10:00:00.000Z"
NOW = datetime.fromisoformat(TIME).timestamp() + 1.0
BODY_BYTES_MAX = 65_536
WAREHOUSE = Domain("warehouse", "stock-service", topics=("warehouse.#",), timestamp_required=False)


class Shelf(UserEvent):
    """An event with a field of every kind that a form knows."""

    EXAMPLE: ClassVar[dict[str, object]] = {"shelf": "s1", "kind": "cold", "free": 3}

    shelf: Identifier
    kind: Literal["cold", "dry"]
    free: Count
    version: Code | None = None
    locked: Flag | None = None
    load: Percent | None = None
    weight: Number | Counters | None = None
    counts: Counters | None = None
    checked_at: UtcTime | None = None
    owner: RoomId | None = None
    note: Text | None = None


class Crate(UserEvent):
    """An event that is watched by a room of its own, and of which another follows."""

    EXAMPLE: ClassVar[dict[str, object]] = {"crate": "c1", "movedAt": TIME}

    crate: RoomId
    moved_at: UtcTime | None = None
    seen: Number | None = None

    def targets(self) -> Sequence[str]:
        """Return the crate's room, with the hour where it is known, and whatever the base says."""
        hour = () if self.moved_at is None else (f"hour:{self.moved_at.hour}",)
        return (f"crate:{self.crate}", *hour, *super().targets())

    def derived(self) -> Sequence[BaseEvent]:
        """Return that something happened to the crate."""
        return (Moved.model_construct(user_id=self.user_id, timestamp=self.timestamp, of=self.crate),)


class Moved(UserEvent):
    """What follows."""

    EXAMPLE: ClassVar[dict[str, object]] = {"of": "c1"}

    of: Text


class Checked(UserEvent):
    """An event that happens once at a time of its own."""

    EXAMPLE: ClassVar[dict[str, object]] = {"checkedAt": TIME}

    checked_at: UtcTime


WAREHOUSE.event("warehouse.checked", overflow=DROP_OLDEST, once_by=("checkedAt",))(Checked)
WAREHOUSE.event("warehouse.shelf", overflow=conflate("shelf", "kind"), age_seconds_max=60.0)(Shelf)
WAREHOUSE.event(
    "warehouse.crate", overflow=MUST_DELIVER, once_by=("crate", "movedAt"), aliases=("crate:v1",)
)(Crate)
WAREHOUSE.event("warehouse.moved", overflow=DROP_OLDEST)(Moved)


def by_class(domain: Domain) -> Domain:
    """Return a domain whose events are all read by their classes."""
    return dataclasses.replace(domain, event_types=[without_form(each) for each in domain.event_types])


def without_form(event_type: EventType) -> EventType:
    """Return an event type that nothing but its class reads."""
    twin = copy.copy(event_type)
    object.__setattr__(twin, "form_reader", None)
    return twin


CATALOGUE = Catalogue([*domains(), WAREHOUSE])
BY_CLASS = Catalogue([by_class(domain) for domain in CATALOGUE.domains.values()])
EVENT_TYPES = CATALOGUE.event_types
WITH_FORM = [event_type for event_type in EVENT_TYPES if event_type.form_reader is not None]


def by_form(event_type: EventType, delivery: Delivery) -> bool:
    """Tell whether a delivery is read by the form."""
    return read_plain(event_type, delivery, body_bytes_max=BODY_BYTES_MAX) is not None


def example_of(event_type: EventType) -> dict[str, object]:
    """Return what a publisher sends of an event type."""
    return {"userId": "u-1", "timestamp": TIME, **event_type.model.EXAMPLE}


def delivery_of(event_type: EventType, body: object, **properties: Any) -> Delivery:  # noqa: ANN401 - any of one
    """Return a delivery with this body, as JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Delivery(event_type.name, data, NOW, **{"message_id": "m-1", **properties})


def told(verdict: Verdict) -> dict[str, object]:
    """Return all of a verdict in a way that can be compared. The order of keys in JSON means nothing."""
    refused = verdict.refused
    return {
        **{
            name: getattr(verdict, name)
            for name in ("fate", "event_type", "event_id", "traceparent", "declared")
        },
        "refused": None if refused is None else (refused.reason, refused.field, str(refused)),
        "entries": [parts(entry) for entry in verdict.entries],
    }


def parts(entry: Entry) -> dict[str, object]:
    """Return all of an entry; its payload with its types, as 1 and 1.0 are the same to Python."""
    payload = json.dumps(json.loads(entry.payload), sort_keys=True)
    return {**{name: getattr(entry, name) for name in entry.__struct_fields__}, "payload": payload}


def verdicts(delivery: Delivery, domain: str) -> tuple[dict[str, object], dict[str, object]]:
    """Judge a delivery with forms, and by classes alone."""
    both = (
        Intake(catalogue, catalogue.domains[domain], body_bytes_max=BODY_BYTES_MAX).judge(delivery)
        for catalogue in (CATALOGUE, BY_CLASS)
    )
    with_forms, by_classes = map(told, both)
    return with_forms, by_classes


def test_which_have_a_form() -> None:
    """A class has a form but for money, open JSON, second names of fields, rooms of its own and counters."""
    without = {event_type.name for event_type in EVENT_TYPES} - {event_type.name for event_type in WITH_FORM}

    assert without == {
        *("order.completed", "order.cancelled", "billing.payment_success", "billing.payment_failed"),
        *("billing.refund_completed", "billing.invoice_generated", "wallet.deposit_completed"),
        *("wallet.payment_status_updated", "wallet.withdrawal_completed", "post.purchased"),
        *("app.install_failed", "app.install_progress", "media.transcoding_changed"),
        *("proxy.pool_changed", "sms.receive_stats", "grant.revoked", "grant.added", "warehouse.checked"),
    }


@pytest.mark.parametrize("event_type", WITH_FORM, ids=lambda event_type: event_type.name)
def test_an_event_as_it_will_be_sent(event_type: EventType) -> None:
    """The example of every class that has a form is read by it, and judged as by the class."""
    delivery = delivery_of(event_type, example_of(event_type))
    owner = CATALOGUE.owner_of(event_type)

    assert by_form(event_type, delivery)
    assert owner is not None
    with_form, by_classes = verdicts(delivery, owner.name)
    assert with_form == by_classes


SHELF = CATALOGUE.of_class(Shelf)
FINE = example_of(SHELF)
OTHERS: dict[str, tuple[object, dict[str, object]]] = {
    "no id": (FINE, {"message_id": None}),
    "an empty id": (FINE, {"message_id": ""}),
    "the id inside": ({**FINE, "eventId": "e-1"}, {"message_id": None}),
    "an encoding": (FINE, {"content_encoding": "utf-8"}),
    "an encoding that nobody reads": (FINE, {"content_encoding": "gzip"}),
    "too large": ({**FINE, "x": "x" * BODY_BYTES_MAX}, {}),
    "empty": (b"", {}),
    "no JSON": (b"{", {}),
    "a list": (b"[]", {}),
    "text that is no UTF-8, in a field that is dropped": (
        b'{"x":"\xff",' + json.dumps(FINE).encode()[1:],
        {},
    ),
    "of NestJS": ({"pattern": SHELF.name, "data": FINE}, {}),
    "of NestJS, with the event around": ({"pattern": SHELF.name, "data": FINE, **FINE}, {}),
    "a CloudEvent": ({"specversion": "1.0", "id": "c", "type": SHELF.name, "data": FINE}, {}),
    "a CloudEvent by its type": (FINE, {"content_type": "application/cloudevents+json"}),
    "a CloudEvent by its headers": (FINE, {"headers": {"cloudEvents:specversion": "1.0"}}),
    "one of another version": (FINE, {"headers": {"cloudEvents_specversion": "0.3"}}),
    "another type": ({**FINE, "type": "warehouse.moved"}, {}),
    "a type that is no text": ({**FINE, "type": 1}, {}),
    "no time": ({key: value for key, value in FINE.items() if key != "timestamp"}, {}),
    "no time but of the message": (
        {key: value for key, value in FINE.items() if key != "timestamp"},
        {"timestamp": datetime.fromisoformat(TIME)},
    ),
    "another form of time": ({**FINE, "timestamp": "2026-11-21T11:00:00+01:00"}, {}),
    "a day that is not": ({**FINE, "timestamp": "2026-02-30T10:00:00.000Z"}, {}),
    "a time that is not, in a field": ({**FINE, "checkedAt": "2026-02-30T10:00:00.000Z"}, {}),
    "a field too few": ({key: value for key, value in FINE.items() if key != "shelf"}, {}),
    "a user that names no room": ({**FINE, "userId": "u-1\n"}, {}),
    "a count with a fraction": ({**FINE, "free": 1.0}, {}),
    "a flag that is a number": ({**FINE, "locked": 1}, {}),
    "an unknown word": ({**FINE, "kind": "wet"}, {}),
    "a number too large for a browser": ({**FINE, "weight": SAFE_MAX + 1}, {}),
    "nested too deeply for one reader of JSON, in a field that is dropped": (
        b'{"x":' + b"[" * 300 + b"]" * 300 + b"," + json.dumps(FINE).encode()[1:],
        {},
    ),
    "a number too long for one reader of JSON, in a field that is dropped": (
        b'{"x":' + b"1" * 4_301 + b"," + json.dumps(FINE).encode()[1:],
        {},
    ),
    "a counter that is null": ({**FINE, "counts": {"a": None, "b": 1}}, {}),
}


@pytest.mark.parametrize(("body", "properties"), OTHERS.values(), ids=OTHERS)
def test_any_other(body: object, properties: dict[str, Any]) -> None:
    """What is not just as it will be sent is left to the class, and judged the same as ever."""
    delivery = delivery_of(SHELF, body, **properties)

    assert not by_form(SHELF, delivery)
    with_forms, by_classes = verdicts(delivery, "warehouse")
    assert with_forms == by_classes


BESIDE: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "its name": ({"type": SHELF.name}, {}),
    "the last part of its name": ({"type": "shelf"}, {}),
    "no type": ({"type": None}, {}),
    "fields that nobody declared": ({"x": {"y": ["ü", 1.5, None]}, "data": 1}, {}),
    "a trace": ({}, {"headers": {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}),
    "too old": ({"timestamp": "2026-11-20T10:00:00.000Z"}, {}),
    "text of the world": ({"shelf": 'Größe 😀 \u2028 \x7f "/\\', "note": "\t"}, {}),
    "the last day of a year": ({"timestamp": "2026-12-31T23:59:59.999Z"}, {}),
}


@pytest.mark.parametrize(("beside", "properties"), BESIDE.values(), ids=BESIDE)
def test_what_may_stand_beside(beside: dict[str, object], properties: dict[str, Any]) -> None:
    """An event is read by its form whatever is known to stand beside it, and judged as by the class."""
    delivery = delivery_of(SHELF, {**FINE, **beside}, **{"content_type": "application/json", **properties})

    assert by_form(SHELF, delivery)
    with_forms, by_classes = verdicts(delivery, "warehouse")
    assert with_forms == by_classes


VALUES = st.sampled_from(
    [
        *(
            0,
            1,
            -1,
            100,
            101,
            100_000,
            100_001,
            SAFE_MAX,
            SAFE_MAX + 1,
            -SAFE_MAX,
            2**64,
            0.5,
            1.0,
            -0.0,
            1e15,
            1e16,
        ),
        *(
            5e-324,
            1e300,
            99.99,
            True,
            False,
            None,
            [],
            {},
            [1],
            {"devices": 1},
            {"devices": None},
            {"a": True},
        ),
        *(
            {"a": 1.5, "devices": 2},
            {"ä": -3},
            {"a": {"b": 1}},
            "",
            "x",
            "a b",
            "a,b",
            "*",
            "u\n",
            "u\x1f",
            "u\x85",
        ),
        *(
            "ü",
            "😀" * 128,
            "x" * 128,
            "x" * 129,
            "x" * 255,
            "x" * 256,
            "x" * 4096,
            "😀" * 4096,
            "x" * 4097,
            "1",
        ),
        *(
            TIME,
            "2026-02-30T10:00:00.000Z",
            "2026-11-30T10:00:00.000Z",
            "2026-11-21T10:00:00Z",
            "0001-01-01T00:00:00.000Z",
        ),
        *(
            "2026-11-21",
            "\uff12\uff10\uff12\uff16-11-21T10:00:00.000Z",
            "9999-12-28T23:59:59.999Z",
            "completed",
            "cold",
            "shelf",
            "updated",
        ),
    ]
)
BESIDES = ("type", "pattern", "data", "specversion", "eventId", "timestamp", "userId", "user_id", "x")
ENDS = st.sampled_from(
    [b"", b" ", b"\0", b"}", b"\xff", b"\xef\xbb\xbf", b"\\ud800", b'"', b",", b"1e999", b"NaN"]
)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[str, Delivery]:
    """Return a domain and a delivery for it: an example with a few things changed, or a few bytes."""
    event_type = draw(st.sampled_from(WITH_FORM))
    owner = CATALOGUE.owner_of(event_type)
    assert owner is not None
    payload = example_of(event_type)
    aliases = [info.alias or name for name, info in event_type.model.model_fields.items()]
    for key in draw(st.lists(st.sampled_from([*aliases, *BESIDES]), max_size=4)):
        payload[key] = draw(VALUES)
    for key in draw(st.lists(st.sampled_from(sorted(payload)), max_size=1)):
        del payload[key]
    body = json.dumps(
        payload, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
    ).encode()
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(body)))
        body = body[:place] + draw(ENDS) + body[place + draw(st.integers(0, 1)) :]
    return owner.name, delivery_of(event_type, body)


@given(deliveries())
@settings(max_examples=1_000, deadline=None)
@example(("warehouse", delivery_of(SHELF, {**FINE, "counts": {"devices": 1, "a": 2}})))
def test_no_other_opinion(judged: tuple[str, Delivery]) -> None:
    """Whatever comes, the verdict is the same as if every event were read by its class."""
    domain, delivery = judged
    with_forms, by_classes = verdicts(delivery, domain)

    assert with_forms == by_classes


def test_nothing_is_lost_to_depth() -> None:
    """JSON that is nested too deep for the decoder is no matter of the form."""
    deep = b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"," + json.dumps(FINE).encode()[1:]
    delivery = delivery_of(SHELF, deep)

    assert read_plain(SHELF, delivery, body_bytes_max=1_000_000) is None
