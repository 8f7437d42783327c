"""What is logged of a delivery, or why nothing is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from hypothesis import example, given, settings, strategies as st
from pydantic import Field

from bridge.core.catalogue import Catalogue, Domain, UnknownRule
from bridge.core.delivery import Delivery
from bridge.core.entry import EventKey
from bridge.core.errors import Reason
from bridge.core.event import BaseEvent, FreeJson, Identifier, Money, Number, Payload, RoomId, Text, UserEvent
from bridge.core.intake import Intake
from bridge.core.policy import MUST_DELIVER, Policy, conflate
from bridge.core.revocation import change_of
from bridge.core.rooms import parse_room
from bridge.core.verdict import Fate, Verdict
from consumers import domains

NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC).timestamp()
TIME = "2026-11-21T10:00:00.000Z"
QUOTA = {
    "userId": "u1",
    "timestamp": TIME,
    "quotaId": "q1",
    "limits": {"devices": 10},
    "usage": {"devices": 4},
}

STOCK = Domain("stock", "stock-service", topics=("stock.#",), timestamp_required=False)


class Item(Payload):
    """One line of an order."""

    sku: Identifier
    amount: Number


class Order(UserEvent):
    """An order, with a field of many a kind."""

    EXAMPLE: ClassVar[dict[str, object]] = {"orderId": "o1", "total": "1.00"}

    order_id: RoomId
    total: Money
    items: tuple[Item, ...] = Field(default=(), max_length=3)
    contact: Item | Text | None = None
    note: FreeJson = None


class NewOrder(Order):
    """A second version of an order, which needs a warehouse."""

    warehouse: Text

    def targets(self) -> Sequence[str]:
        """Return the order's room and the user's."""
        return (f"order:{self.order_id}", *super().targets())


STOCK.event("stock.ordered", overflow=MUST_DELIVER, aliases=("orders:v1",))(Order)
STOCK.event("stock.ordered", version=2, overflow=MUST_DELIVER)(NewOrder)


@STOCK.event("stock.counted", overflow=conflate("shelf"), age_seconds_max=60.0, aliases=("stock-counted",))
class Counted(UserEvent):
    """The number of things on a shelf."""

    shelf: Text


@STOCK.event("stock.boxed", overflow=MUST_DELIVER, age_seconds_max=60.0)
class Boxed(Counted):
    """Something was put into a box, and that cannot be said of it for long."""

    def targets(self) -> Sequence[str]:
        """Say nothing."""
        raise NotImplementedError

    def derived(self) -> Sequence[BaseEvent]:
        """Say nothing."""
        raise NotImplementedError


PASSING = Domain("passing", "anybody", topics=("passing.#",), unknown=UnknownRule.PASS)
DROPPING = Domain("dropping", "anybody", topics=("dropping.#",), unknown=UnknownRule.DROP)
CATALOGUE = Catalogue([*domains(), STOCK, PASSING, DROPPING])
ORDER = {"userId": "u1", "timestamp": TIME, "orderId": "o1", "total": 12.5}


def judge(
    key: str,
    body: object,
    *,
    domain: str = "quota",
    now: float = NOW,
    **properties: Any,  # noqa: ANN401 - any field of a delivery
) -> Verdict:
    """Judge a delivery with this body, as JSON unless it is bytes."""
    intake = Intake(CATALOGUE, CATALOGUE.domains[domain], body_bytes_max=262_144)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return intake.judge(Delivery(key, data, now, **properties))


def payload(verdict: Verdict) -> dict[str, Any]:
    """Return what will be sent of the first entry, with nothing but its place in the log missing."""
    sent: dict[str, Any] = json.loads(verdict.entries[0].payload)
    return sent


def test_a_refusal_holds_nothing_else() -> None:
    """A refusal is what it says: what led to it would hold frames, and they whatever they had."""
    refused = judge("quota.updated", {**QUOTA, "timestamp": "soon"}, message_id="m-1").refused

    assert refused is not None
    assert (refused.__cause__, refused.__context__, refused.__traceback__) == (None, None, None)


def test_a_late_event_is_not_asked_what_follows() -> None:
    """Nothing follows from an event that came too late, and it goes nowhere: it is not asked."""
    body = {"userId": "u1", "timestamp": "2026-11-21T09:00:00.000Z", "shelf": "s"}
    assert judge("stock.boxed", body, domain="stock", message_id="m-1").fate is Fate.LATE
    assert judge("stock.boxed", body, domain="stock").fate is Fate.LATE


def test_an_event() -> None:
    """A valid event becomes one entry that holds all that is needed to send it."""
    verdict = judge("quota.updated", {**QUOTA, "type": "updated"}, message_id="m-1")

    assert (verdict.fate, verdict.event_type, verdict.event_id) == (Fate.LOGGED, "quota.updated", "m-1")
    (entry,) = verdict.entries
    assert entry.key == EventKey("quota.updated", "m-1")
    assert entry.targets == ("user:u1",)
    assert entry.policy is Policy.CONFLATE
    assert (entry.occurred_at, entry.expires_at) == (NOW, None)
    assert payload(verdict) == {
        "type": "quota.updated",
        "version": 1,
        "id": "m-1",
        "timestamp": TIME,
        "data": {"userId": "u1", "quotaId": "q1", "limits": {"devices": 10}, "usage": {"devices": 4}},
    }


def test_undeclared_fields_stay_inside() -> None:
    """A field that is not declared never leaves, on whatever level."""
    order = {**ORDER, "secret": 1, "items": [{"sku": "a", "amount": 1, "cost": 5}]}

    data = payload(judge("stock.ordered:v1", order, domain="stock"))["data"]

    assert data == {"userId": "u1", "orderId": "o1", "total": "12.5", "items": [{"sku": "a", "amount": 1}]}


def test_derived_events_follow() -> None:
    """An event from which another follows is logged with it, under the same id, in this order."""
    started = {"userId": "u1", "timestamp": TIME, "deviceId": "d7"}

    verdict = judge("device.started", started, domain="device", message_id="m-1")

    assert [entry.key for entry in verdict.entries] == [
        EventKey("device.started", "m-1"),
        EventKey("device.status.changed", "m-1"),
    ]
    assert [entry.policy for entry in verdict.entries] == [Policy.DROP_OLDEST, Policy.CONFLATE]


@pytest.mark.parametrize(
    ("key", "name", "version"),
    [
        ("stock.ordered", "stock.ordered", 2),
        ("stock.ordered:v2", "stock.ordered", 2),
        ("stock.ordered:v1", "stock.ordered", 1),
        ("orders:v1", "stock.ordered", 1),
        ("stock-counted", "stock.counted", 1),
        ("stock-counted:v1", "stock.counted", 1),
    ],
)
def test_names_and_versions(key: str, name: str, version: int) -> None:
    """A name without a version means the newest; an alias means what it was declared for."""
    event = {**ORDER, "warehouse": "w", "shelf": "s"}

    sent = payload(judge(key, event, domain="stock"))

    assert (sent["type"], sent["version"]) == (name, version)


NAMES = [
    ("quotaUpdated", Reason.BAD_NAME, "publish it as 'quota.updated'"),
    (
        "user.quota.updated",
        Reason.BAD_NAME,
        "starts with the service prefix 'user'; publish it as 'quota.updated'",
    ),
    ("userService.quotaUpdated", Reason.BAD_NAME, "publish it as 'quota.updated'"),
    ("Quota.Updated", Reason.BAD_NAME, "publish it as 'quota.updated'"),
    ("quota", Reason.BAD_NAME, "is not of the form entity.action"),
    ("", Reason.BAD_NAME, "is not of the form entity.action"),
    ("quota.updated ", Reason.BAD_NAME, "publish it as 'quota.updated'"),
    ("quota." + "x" * 249, Reason.UNKNOWN_TYPE, "is well-formed, but no event type of the domain quota"),
    ("quota.vanished", Reason.UNKNOWN_TYPE, "known: quota.updated, quota.exceeded, "),
    ("quota.updated:v2", Reason.UNKNOWN_VERSION, "quota.updated has no version 2; known: 1"),
    ("stock.ordered:v7", Reason.UNKNOWN_VERSION, "stock.ordered has no version 7; known: 1, 2"),
]


@pytest.mark.parametrize(("key", "reason", "message"), NAMES)
@pytest.mark.parametrize("body", [QUOTA, b"not JSON"], ids=["valid body", "broken body"])
def test_wrong_name(key: str, reason: Reason, message: str, body: object) -> None:
    """A wrong name is refused before the body is looked at, with the right name where it can be told."""
    refused = judge(key, body).refused

    assert refused is not None
    assert (refused.reason, refused.field) == (reason, "routing_key")
    assert message in refused.message


def test_unknown_type_is_dead_lettered() -> None:
    """By default an unknown type is a dead letter that keeps the delivery's id."""
    verdict = judge("quota.vanished", QUOTA, message_id="m-1")

    assert (verdict.fate, verdict.event_id, verdict.entries) == (Fate.DEAD, "m-1", ())


def test_unknown_type_passes() -> None:
    """Where unknown types pass, the user gets the bare event: nothing else of it was declared."""
    verdict = judge("passing.by", {**QUOTA, "type": "by"}, domain="passing")

    assert (verdict.fate, verdict.event_type, verdict.declared) == (Fate.LOGGED, "passing.by", False)
    assert verdict.entries[0].targets == ("user:u1",)
    assert payload(verdict)["data"] == {"userId": "u1"}


@pytest.mark.parametrize(
    ("body", "reason"), [({"timestamp": TIME}, Reason.MISSING_FIELD), (b"", Reason.EMPTY)]
)
def test_unknown_type_that_passes_is_still_checked(body: object, reason: Reason) -> None:
    """An unknown type passes only with what every event needs."""
    refused = judge("passing.by", body, domain="passing").refused

    assert refused is not None
    assert refused.reason is reason


def test_unknown_type_is_dropped() -> None:
    """Where unknown types are dropped, nothing is looked at and nothing is left."""
    verdict = judge("dropping.by", b"not JSON", domain="dropping", message_id="m-1")

    assert verdict == Verdict(Fate.DROPPED, event_id="m-1")


@pytest.mark.parametrize("domain", ["passing", "dropping"])
def test_rules_are_for_unknown_types_only(domain: str) -> None:
    """A known type is treated as what it is in whichever queue it arrives, and a malformed name refused."""
    assert judge("quota.updated", QUOTA, domain=domain).event_type == "quota.updated"
    assert judge("quotaUpdated", QUOTA, domain=domain).fate is Fate.DEAD


@pytest.mark.parametrize(
    ("age_seconds", "fate"), [(0, Fate.LOGGED), (60, Fate.LOGGED), (60.001, Fate.LATE), (-5, Fate.LOGGED)]
)
def test_maximum_age(age_seconds: float, fate: Fate) -> None:
    """An event older than its type allows is late, and nothing of it is logged."""
    counted = {"userId": "u1", "timestamp": TIME, "shelf": "s1"}

    verdict = judge("stock.counted", counted, domain="stock", now=NOW + age_seconds, message_id="m-1")

    assert (verdict.fate, verdict.event_type, verdict.event_id) == (fate, "stock.counted", "m-1")
    assert [entry.expires_at for entry in verdict.entries] == [NOW + 60] * (fate is Fate.LOGGED)


def test_no_maximum_age() -> None:
    """An event type without a maximum age is never late."""
    assert judge("quota.updated", QUOTA, now=NOW + 1e9).fate is Fate.LOGGED


def test_missing_timestamp() -> None:
    """Where its publishers send no time, an event happened when it was received; elsewhere it is refused."""
    order = {name: value for name, value in ORDER.items() if name != "timestamp"}

    assert payload(judge("orders:v1", order, domain="stock"))["timestamp"] == TIME
    assert (
        payload(judge("orders:v1", order, domain="quota"))["timestamp"] == TIME
    )  # By its own domain's rule.
    refused = judge("quota.updated", order).refused
    assert refused is not None
    assert (refused.reason, refused.field) == (Reason.MISSING_FIELD, "timestamp")


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("2026-11-21T10:00:00.000Z", TIME),
        ("2026-11-21T10:00:00Z", TIME),
        ("2026-11-21T10:00:00.000999Z", TIME),
        ("2026-11-21T12:00:00+02:00", TIME),
        ("2026-11-21T10:00:00", TIME),
        ("2026-11-21 10:00:00", TIME),
        ("2026-11-21", "2026-11-21T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_timestamp(sent: str, arrives: str) -> None:
    """A time is ISO 8601; it leaves in UTC and milliseconds; without a zone it is UTC already."""
    assert payload(judge("quota.updated", {**QUOTA, "timestamp": sent}))["timestamp"] == arrives


ISO = 'timestamp must be an ISO 8601 time, such as "2026-11-21T10:00:00.000Z"'
AS_TEXT = 'timestamp must be an ISO 8601 time as text, such as "2026-11-21T10:00:00.000Z"'


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ("", f'{ISO} (got "")'),
        ("yesterday", f'{ISO} (got "yesterday")'),
        ("1795255200", f'{ISO} (got "1795255200")'),
        ("1795255200.5", ISO),
        ("1.7e9", ISO),
        (" 2026-11-21T10:00:00Z", ISO),
        ("\u0662\u0660\u0662\u0666-11-21", ISO),
        ("2026-02-30T00:00:00Z", f"{ISO}: day value is outside expected range"),
        ("2026-11-21T25:00:00Z", ISO),
        ("2026-11-21T10:00:00+99:00", ISO),
        ("0001-01-01T00:00:00+05:00", "timestamp is outside the years 1 to 9999 in UTC"),
        (1795255200, f"{AS_TEXT} (got 1795255200)"),
        (1795255200.5, AS_TEXT),
        (None, f"{AS_TEXT} (got null)"),
        (True, f"{AS_TEXT} (got true)"),
        ({"$date": TIME}, AS_TEXT),
    ],
)
def test_bad_timestamp(sent: object, message: str) -> None:
    """What is no ISO 8601 time is refused; a number would be a guess between seconds and milliseconds."""
    refused = judge("quota.updated", {**QUOTA, "timestamp": sent}).refused

    assert refused is not None
    assert (refused.reason, refused.field) == (Reason.BAD_FIELD, "timestamp")
    assert refused.message.startswith(message)


ROOM_ID = "must be 1 to 128 characters without white space, commas and *"
WRONG_FIELDS = [
    # changes to a valid order            field           message
    ({"userId": None}, "userId", "userId must be text (got null)"),
    ({"userId": 5}, "userId", "userId must be text (got 5)"),
    ({"userId": ""}, "userId", f'userId {ROOM_ID} (got "")'),
    ({"userId": "a b"}, "userId", f'userId {ROOM_ID} (got "a b")'),
    ({"userId": "x" * 129}, "userId", f"userId {ROOM_ID} (got"),
    ({"orderId": ["o1"]}, "orderId", 'orderId must be text (got ["o1"])'),
    ({"total": "a lot"}, "total", 'total must be a number, such as "29.90" (got "a lot")'),
    ({"total": True}, "total", "total must be a number, not true or false (got true)"),
    ({"total": {}}, "total", "total must be a number or a number in quotes (got {})"),
    ({"total": "NaN"}, "total", 'total must be a finite number (got "NaN")'),
    ({"total": "1e37"}, "total", 'total must have at most 20 digits before the point (got "1e37")'),
    ({"total": "0." + "1" * 19}, "total", "total must have at most 18 digits after the point"),
    ({"total": "1" * 50}, "total", "total must have at most 38 digits"),
    ({"items": {}}, "items", "items must be a list (got {})"),
    ({"items": [{"sku": "a", "amount": 1}] * 4}, "items", "items must have at most 3 items"),
    ({"items": ["a"]}, "items.0", 'items.0 must be a JSON object (got "a")'),
    (
        {"items": [{"sku": "a", "amount": 1}, {"sku": ""}]},
        "items.1.sku",
        'items.1.sku must not be empty (got "")',
    ),
    ({"items": [{"sku": "x" * 256}]}, "items.0.sku", "items.0.sku must have at most 255 characters"),
    (
        {"items": [{"sku": "a", "amount": "1"}]},
        "items.0.amount",
        'items.0.amount must be a number, without quotes (got "1")',
    ),
    (
        {"items": [{"sku": "a", "amount": 2**53 + 1}]},
        "items.0.amount",
        "items.0.amount must be at most 9007199254740991 (got 9007199254740993)",
    ),
    (
        {"items": [{"sku": "a", "amount": -1e300}]},
        "items.0.amount",
        "items.0.amount must be at least -9007199254740991 (got -1E+300)",
    ),
    ({"contact": 5}, "contact", "contact must be a JSON object or text (got 5)"),
    ({"contact": "x" * 4097}, "contact", "contact must have at most 4096 characters"),
    (
        {"contact": {"sku": "a", "amount": "x"}},
        "contact.amount",
        'contact.amount must be a number, without quotes (got "x")',
    ),
    ({"note": {"deep": [1, {"x": 1e400}]}}, "note.deep.1.x", "note.deep.1.x must be a finite number"),
]


@pytest.mark.parametrize(("changes", "field", "message"), WRONG_FIELDS)
def test_wrong_field(changes: dict[str, object], field: str, message: str) -> None:
    """A wrong value is refused with its path as in the JSON, one statement, and the value as it was sent."""
    body = json.dumps({**ORDER, **changes}).replace("Infinity", "1e400").encode()

    refused = judge("orders:v1", body, domain="stock").refused

    assert refused is not None
    assert (refused.reason, refused.field) == (Reason.BAD_FIELD, field)
    assert refused.message.startswith(message)
    assert len(refused.message) < 300


MISSING = [
    ({"userId"}, {}, "userId"),
    ({"orderId", "userId"}, {}, "userId"),
    ({"total"}, {}, "total"),
    (set(), {"items": [{"sku": "a"}]}, "items.0.amount"),
    (set(), {"contact": {"sku": "a"}}, "contact.amount"),
]


@pytest.mark.parametrize(("without", "changes", "field"), MISSING)
def test_missing_field(without: set[str], changes: dict[str, object], field: str) -> None:
    """A missing field is refused with its path, and is not called a wrong one."""
    body = {name: value for name, value in {**ORDER, **changes}.items() if name not in without}

    refused = judge("orders:v1", body, domain="stock").refused

    assert refused is not None
    assert (refused.reason, refused.field) == (Reason.MISSING_FIELD, field)
    assert refused.message == f"{field} is required and missing"


def test_unusual_branches_are_not_taken_for_keys() -> None:
    """A key of the payload that is called like one of pydantic's union branches is still found."""
    refused = judge("quota.deduct", {**QUOTA, "amount": {"int": "x"}}).refused

    assert refused is not None
    assert refused.field == "amount.int"


def test_long_keys_and_values_are_cut() -> None:
    """However long the key or the value at fault, the refusal stays short enough for an AMQP header."""
    refused = judge("quota.updated", {**QUOTA, "limits": {"k" * 100_000: "v" * 100_000}}).refused

    assert refused is not None
    assert len(refused.field) == 200
    assert len(refused.message) <= 1_000


BAD_TYPES: list[object] = ["quota.alert", 5, ["updated"], {"updated": 1}, 1e300]


@pytest.mark.parametrize("declared", BAD_TYPES)
def test_wrong_type(declared: object) -> None:
    """A type that contradicts the routing key is refused, whatever JSON value it is."""
    refused = judge("quota.updated", {**QUOTA, "type": declared}).refused

    assert refused is not None
    assert (refused.reason, refused.field) == (Reason.WRONG_TYPE, "type")


@pytest.mark.parametrize("event_id", ['"', "\\", "\n\x00\x7f", "</script>", "ключ-🔑", "x" * 255])
def test_odd_identities(event_id: str) -> None:
    """An id of any characters comes through as it is."""
    assert payload(judge("quota.updated", QUOTA, message_id=event_id))["id"] == event_id


def test_conflation_goes_by_type_and_value() -> None:
    """Gauges supersede each other within one type and one value of their key."""
    one, same, other = (
        judge("quota.updated", {**QUOTA, "quotaId": quota}).entries[0].conflate_key
        for quota in ("a", "a", "b")
    )
    alert = judge("quota.alert", {**QUOTA, "quotaId": "a"}).entries[0].conflate_key
    payment = judge("orders:v1", ORDER, domain="stock").entries[0].conflate_key

    assert one == same
    assert len({one, other, alert}) == 3
    assert payment == ""


def test_once_by_goes_before_any_id() -> None:
    """What can happen only once is identified by that, whatever id it carries."""
    deposit = {
        "userId": "u1",
        "timestamp": TIME,
        "transactionId": "t1",
        "amount": 5,
        "newBalance": 9,
        "message": "",
    }

    first = judge("deposit_completed:v1", deposit, domain="wallet", message_id="m-1")
    second = judge("deposit_completed:v1", {**deposit, "message": "!"}, domain="wallet", message_id="m-2")

    assert first.entries[0].key == second.entries[0].key == EventKey("wallet.deposit_completed", "t1")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from([TIME, "u1", 2**64, "x" * 5000, "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
field_names = st.sampled_from(
    """userId timestamp type eventId pattern data specversion data_base64 id time quotaId limits usage amount
    orderId total items contact note deviceId status shelf warehouse""".split()  # noqa: SIM905 - easier to read
)
bodies = (
    st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(field_names, json_values).map(lambda changes: json.dumps({**QUOTA, **changes}).encode())
    | st.dictionaries(field_names, json_values).map(lambda changes: json.dumps({**ORDER, **changes}).encode())
    | st.dictionaries(field_names, json_values).map(
        lambda changes: json.dumps({"specversion": "1.0", "type": "x", "data": {**QUOTA, **changes}}).encode()
    )
)
keys = st.sampled_from(
    [
        *(event_type.name for event_type in CATALOGUE.event_types),
        *(alias for event_type in CATALOGUE.event_types for alias in event_type.aliases),
        "quota.vanished",
        "stock.ordered:v1",
    ]
) | st.text(max_size=30)
header_values = (
    st.none()
    | st.text(max_size=10)
    | st.binary(max_size=10)
    | st.integers()
    | st.lists(st.text(), max_size=2)
)
headers = st.dictionaries(
    st.sampled_from(
        [f"cloudEvents{mark}{name}" for mark in ":_" for name in ("specversion", "type", "id", "time")]
        + ["traceparent"]
    ),
    header_values | st.just("1.0"),
)


@settings(deadline=None, max_examples=600)
@given(
    key=keys,
    body=bodies,
    domain=st.sampled_from(sorted(CATALOGUE.domains)),
    message_id=st.none() | st.text(max_size=255),
    content_type=st.none() | st.sampled_from(["application/json", "application/cloudevents+json", "x" * 99]),
    headers=headers,
)
@example("quota.updated", json.dumps({**QUOTA, "type": []}).encode(), "quota", None, None, {})
@example("quota.updated", b'{"type":1e1000000000000000000}', "quota", None, None, {})
@example(
    "quota.updated",
    json.dumps(QUOTA).encode(),
    "quota",
    None,
    None,
    {"cloudEvents:specversion": "1.0", "cloudEvents:type": ["x"]},
)
def test_any_delivery(
    key: str,
    body: bytes,
    domain: str,
    message_id: str | None,
    content_type: str | None,
    headers: dict[str, Any],
) -> None:
    """Whatever is delivered, there is a verdict; what is accepted has targets, and can be sent as JSON.

    But for changes of who may what, which are for the nodes.
    """
    verdict = judge(
        key, body, domain=domain, message_id=message_id, content_type=content_type, headers=headers
    )

    assert (verdict.fate is Fate.DEAD) == (verdict.refused is not None)
    assert (verdict.fate is Fate.LOGGED) == bool(verdict.entries)
    if verdict.refused is not None:
        assert verdict.refused.message
        assert len(verdict.refused.message) <= 1_000
        assert len(verdict.refused.field) <= 200
    for entry in verdict.entries:
        assert entry.targets or change_of(entry)
        assert all(parse_room(target) for target in entry.targets)
        sent = json.loads(entry.payload, parse_constant=pytest.fail)
        assert sent.keys() == {"type", "version", "id", "timestamp", "data"}
        assert bool(entry.conflate_key) == (entry.policy is Policy.CONFLATE)
    assert (
        verdict
        == judge(key, body, domain=domain, message_id=message_id, content_type=content_type, headers=headers)
        or verdict.refused
    )  # The same again is the same.
