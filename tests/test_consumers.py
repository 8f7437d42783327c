"""Every event type of every system: what its publisher sends is accepted, and goes where it should."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import jiter
import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

import consumers
from bridge.core.catalogue import Catalogue, EventType
from bridge.core.complaint import complaint
from bridge.core.event import BaseEvent
from bridge.core.policy import Policy
from bridge.core.revocation import ChangeKind
from bridge.core.rooms import ROOM_ID_PATTERN, parse_room
from consumers import NAMES, NoDomainError, domains, unlisted

CATALOGUE = Catalogue(domains())
EVENT_TYPES = {event_type.name: event_type for event_type in CATALOGUE.event_types}

USER = ("user:u1",)
DEVICE = ("device:d7", "user:u1")
ADMIN = ("role:admin",)
NOBODY: tuple[str, ...] = ()  # It is for the nodes.
COMPANY = ("company:c3",)
TIME = "2026-11-21T10:00:00.000Z"
QUOTA = {"quotaId": "q1", "limits": {"devices": 10}, "usage": {"devices": 4}}
ORDER = {"orderId": "o1", "paymentId": "p1", "amount": "29.90"}
APP = {"appId": "a1", "deviceId": "d7"}


class Row(NamedTuple):
    """What a publisher sends beside user and timestamp, and to whom it goes.

    All of it leaves, unless `leaves` says otherwise.
    """

    name: str
    payload: Mapping[str, object]
    targets: tuple[str, ...]
    leaves: Mapping[str, object] | None = None


ROWS = [
    Row("quota.updated", QUOTA, USER),
    Row("quota.exceeded", {**QUOTA, "usagePercent": 110.5}, USER),
    Row("quota.renewed", {**QUOTA, "validUntil": TIME}, USER),
    Row("quota.alert", {**QUOTA, "level": "warning", "threshold": 80}, USER),
    Row("quota.metrics", QUOTA, USER),
    Row("quota.deduct", QUOTA, USER),
    Row("quota.restore", QUOTA, USER),
    Row("quota.check", QUOTA, USER),
    Row("device.created", {"deviceId": "d7"}, DEVICE),
    Row("device.started", {"deviceId": "d7"}, DEVICE),
    Row("device.stopped", {"deviceId": "d7"}, DEVICE),
    Row("device.deleted", {"deviceId": "d7"}, DEVICE),
    Row("device.error", {"deviceId": "d7", "errorCode": 1001, "message": "no answer"}, DEVICE),
    Row("device.recovered", {"deviceId": "d7"}, DEVICE),
    Row("device.cleaned", {"deviceId": "d7"}, DEVICE),
    Row("device.recovery_success", {"deviceId": "d7"}, DEVICE),
    Row("device.recovery_failed", {"deviceId": "d7", "reason": "no answer"}, DEVICE),
    Row("device.permanent_failure", {"deviceId": "d7"}, DEVICE),
    Row("device.backup_completed", {"deviceId": "d7"}, DEVICE),
    Row("device.expiration_warning", {"deviceId": "d7", "expiresAt": TIME}, DEVICE),
    Row("device.status.changed", {"deviceId": "d7", "status": "running"}, DEVICE),
    Row("order.completed", ORDER, USER),
    Row("order.cancelled", {"orderId": "o1"}, USER),
    Row("billing.payment_success", ORDER, USER),
    Row("billing.payment_failed", {"paymentId": "p1"}, USER),
    Row("billing.refund_completed", ORDER, USER),
    Row("billing.invoice_generated", {"orderId": "o1"}, USER),
    Row("app.installed", APP, DEVICE),
    Row("app.uninstalled", APP, DEVICE),
    Row("app.updated", APP, DEVICE),
    Row("app.install_failed", {**APP, "reason": "no space"}, DEVICE),
    Row("app.install_progress", {**APP, "percent": 45}, DEVICE),
    Row("proxy.pool_changed", {"poolId": "x1", "counts": {"available": 12}}, ADMIN),
    Row("sms.receive_stats", {"period": "hour", "counts": {"received": 412}}, ADMIN),
    Row("media.recording_changed", {"mediaId": "m1", "state": "recording"}, USER),
    Row("media.transcoding_changed", {"mediaId": "m1", "state": "processing"}, USER),
    Row(
        "wallet.deposit_completed",
        {"transactionId": "t1", "amount": 50, "newBalance": 162.35, "message": "Arrived."},
        USER,
        leaves={"transactionId": "t1", "amount": "50", "newBalance": "162.35", "message": "Arrived."},
    ),
    Row(
        "wallet.payment_status_updated",
        {
            "transactionId": "t1",
            "status": "pending",
            "amount": "50.00",
            "transactionType": "deposit",
            "message": "Being confirmed.",
            "metadata": {"attempts": [1, 2.5], "deep": {"of": None}},
        },
        USER,
    ),
    Row(
        "wallet.withdrawal_completed",
        {"transactionId": "t1", "amount": "20.00", "newBalance": "142.35", "message": "On its way."},
        USER,
    ),
    Row("subscription.updated", {}, USER),
    Row("post.purchased", {}, USER),
    Row("whatsapp.qr", {"companyId": "c3", "qr": "2@Zk3v9,dGhp=,8Hs2"}, COMPANY),
    Row("whatsapp.connection", {"companyId": "c3", "status": "open"}, COMPANY),
    Row("user.disabled", {"reason": "unpaid"}, NOBODY),
    Row("user.enabled", {}, NOBODY),
    Row("session.revoked", {"tokenId": "t1", "issuedBefore": TIME, "reason": "log-out"}, NOBODY),
    Row("grant.revoked", {"room": "device:d7"}, NOBODY),
    Row("grant.added", {"room": "device:d7"}, NOBODY),
]
BY_NAME = {row.name: row for row in ROWS}
WITHOUT_USER = ("proxy.pool_changed", "sms.receive_stats", "whatsapp.qr", "whatsapp.connection")

STATUS_AFTER = {
    "device.created": "created",
    "device.started": "running",
    "device.stopped": "stopped",
    "device.deleted": "deleted",
    "device.error": "error",
    "device.recovered": "running",
    "device.cleaned": "cleaned",
    "device.recovery_success": "running",
    "device.recovery_failed": "error",
    "device.permanent_failure": "failed",
}

PUBLISHED_NAMES = """
    quota.updated quota.exceeded quota.renewed quota.alert quota.metrics quota.deduct quota.restore
    quota.check
    device.created device.started device.stopped device.deleted device.error device.recovered device.cleaned
    device.recovery_success device.recovery_failed device.permanent_failure device.backup_completed
    device.expiration_warning device.status.changed
    order.completed order.cancelled billing.payment_success billing.payment_failed billing.refund_completed
    billing.invoice_generated
    app.installed app.uninstalled app.updated app.install_failed app.install_progress
    deposit_completed:v1 payment_status_update:v1 withdrawal_completed:v1
    subscription-updated post-purchased
    whatsapp.qr whatsapp.connection
""".split()  # noqa: SIM905 - reads like the page that it was copied from


def as_read(body: str) -> dict[str, Any]:
    """Read a JSON body as the product does."""
    payload = jiter.from_json(body.encode(), float_mode="decimal")
    assert isinstance(payload, dict)
    return payload


def accept(name: str, payload: Mapping[str, object]) -> BaseEvent:
    """Validate a payload, user and timestamp added, as the event type that `name` leads to."""
    event_type = CATALOGUE.resolve(name)
    assert event_type is not None
    return event_type.model.model_validate(
        as_read(json.dumps({"userId": "u1", "timestamp": TIME, **payload}))
    )


def leaving(event: BaseEvent) -> dict[str, Any]:
    """Return what leaves the process."""
    leaves = json.loads(event.model_dump_json(by_alias=True, exclude_none=True))
    assert isinstance(leaves, dict)
    return leaves


def type_id(event_type: EventType) -> str:
    """Name a test's parameter."""
    return event_type.name


each_row = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
each_type = pytest.mark.parametrize("event_type", CATALOGUE.event_types, ids=type_id)


@each_row
def test_published_event(row: Row) -> None:
    """What the publisher sends is accepted, goes to its rooms and leaves whole."""
    event = accept(row.name, row.payload)

    assert tuple(event.targets()) == row.targets
    assert leaving(event) == {"userId": "u1", **(row.leaves or row.payload)}


def test_every_event_type_has_a_row() -> None:
    """No event type of the catalogue is left untested."""
    assert sorted(EVENT_TYPES) == sorted(BY_NAME)
    assert len(ROWS) == len(BY_NAME)


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_published_name(name: str) -> None:
    """Every name that a publisher uses today leads to an event type."""
    assert CATALOGUE.resolve(name) is not None


@each_row
def test_undeclared_fields_never_leave(row: Row) -> None:
    """A field that no class declares is dropped, at the top and inside."""
    secrets = {"password": "hunter2", "user_id": "u2", "device_id": "d9", "type": row.name, "eventId": "e1"}

    event = accept(row.name, {**row.payload, **secrets})

    assert leaving(event) == leaving(accept(row.name, row.payload))
    assert tuple(event.targets()) == row.targets


@each_type
def test_example(event_type: EventType) -> None:
    """Every class carries an example of its own that is valid and leaves whole."""
    example = event_type.model.EXAMPLE

    assert "EXAMPLE" in vars(event_type.model)
    assert not {"userId", "timestamp"} & set(example)
    assert leaving(accept(event_type.name, example)) == {"userId": "u1", **example}


@each_type
def test_documented(event_type: EventType) -> None:
    """Every class and every field says what it is."""
    model = event_type.model

    assert model.__doc__
    assert not [name for name, info in model.model_fields.items() if not info.description]
    assert model.model_json_schema(mode="serialization")["properties"]


@each_row
def test_user_is_required_where_the_event_is_a_users(row: Row) -> None:
    """Without a user an event is refused, unless it is the administrators' or a company's."""
    payload = as_read(json.dumps({"timestamp": TIME, **row.payload}))
    model = EVENT_TYPES[row.name].model

    if row.name in WITHOUT_USER:
        assert tuple(model.model_validate(payload).targets()) == row.targets
    else:
        with pytest.raises(ValidationError, match=r"userId\n +Field required"):
            model.model_validate(payload)


@each_row
def test_timestamp_is_required(row: Row) -> None:
    """A class wants a timestamp; where publishers send none, the caller fills it in."""
    with pytest.raises(ValidationError, match=r"timestamp\n +Field required"):
        EVENT_TYPES[row.name].model.model_validate({"userId": "u1", **row.payload})


@pytest.mark.parametrize("name", ["content", "whatsapp"])
def test_timestamp_is_filled_in(name: str) -> None:
    """Two systems publish no timestamp."""
    assert not CATALOGUE.domains[name].timestamp_required
    assert {domain.name for domain in CATALOGUE.domains.values() if not domain.timestamp_required} == {
        "content",
        "whatsapp",
    }


@pytest.mark.parametrize(
    ("name", "wrong", "field"),
    [
        ("quota.updated", {"userId": 7}, "userId"),
        ("quota.updated", {"userId": ""}, "userId"),
        ("quota.updated", {"userId": "a b"}, "userId"),
        ("quota.updated", {"userId": "*"}, "userId"),
        ("quota.updated", {"userId": None}, "userId"),
        ("quota.updated", {"timestamp": 1732183200}, "timestamp"),
        ("quota.updated", {"timestamp": 1732183200.5}, "timestamp"),
        ("quota.updated", {"timestamp": "1732183200"}, "timestamp"),
        ("quota.updated", {"timestamp": "yesterday"}, "timestamp"),
        ("quota.updated", {"timestamp": None}, "timestamp"),
        ("quota.updated", {"quotaId": 7}, "quotaId"),
        ("quota.updated", {"quotaId": ""}, "quotaId"),
        ("quota.updated", {"limits": "many"}, "limits"),
        ("quota.updated", {"limits": None}, "limits"),
        ("quota.updated", {"limits": [1]}, "limits"),
        ("quota.updated", {"limits": {"devices": "many"}}, "limits.devices"),
        ("quota.updated", {"limits": {"somethingNew": "many"}}, "limits.somethingNew"),
        ("quota.updated", {"limits": {"somethingNew": True}}, "limits.somethingNew"),
        ("quota.updated", {"limits": {"somethingNew": {"devices": 1}}}, "limits.somethingNew"),
        ("quota.exceeded", {"usagePercent": "95"}, "usagePercent"),
        ("quota.exceeded", {"usagePercent": -1}, "usagePercent"),
        ("quota.renewed", {"validUntil": 1732183200}, "validUntil"),
        ("quota.check", {"allowed": "yes"}, "allowed"),
        ("quota.check", {"allowed": 1}, "allowed"),
        ("device.started", {"deviceId": 7}, "deviceId"),
        ("device.started", {"deviceId": "d7,d8"}, "deviceId"),
        ("device.started", {"deviceId": "d" * 129}, "deviceId"),
        ("device.started", {"status": 3}, "status"),
        ("device.error", {"errorCode": True}, "errorCode"),
        ("device.error", {"message": "x" * 4097}, "message"),
        ("device.status.changed", {"status": ""}, "status"),
        ("billing.payment_success", {"amount": "much"}, "amount"),
        ("billing.payment_success", {"amount": True}, "amount"),
        ("billing.payment_success", {"amount": "NaN"}, "amount"),
        ("billing.payment_success", {"paymentId": None}, "paymentId"),
        ("app.install_progress", {"percent": 101}, "percent"),
        ("app.install_progress", {"percent": None}, "percent"),
        ("media.recording_changed", {"state": "dancing"}, "state"),
        ("wallet.payment_status_updated", {"status": "done"}, "status"),
        ("wallet.payment_status_updated", {"metadata": [1]}, "metadata"),
        ("whatsapp.qr", {"companyId": 3}, "companyId"),
        ("whatsapp.qr", {"qr": ""}, "qr"),
    ],
)
def test_wrong_type_is_refused(name: str, wrong: Mapping[str, object], field: str) -> None:
    """A field of the wrong type is refused, and the refusal names it."""
    with pytest.raises(ValidationError) as caught:
        accept(name, {**BY_NAME[name].payload, **wrong})

    assert {".".join(map(str, error["loc"][: field.count(".") + 1])) for error in caught.value.errors()} == {
        field
    }


@pytest.mark.parametrize("wrong", ["95", True, None, [95], {}])
def test_wrong_number_is_told_in_one_sentence(wrong: object) -> None:
    """A refused number is told as one mistake that a person understands."""
    payload = {**QUOTA, "usagePercent": wrong}
    with pytest.raises(ValidationError) as caught:
        accept("quota.exceeded", payload)

    message = complaint(caught.value, payload).message
    assert message.startswith("usagePercent must be a number, without quotes (got ")


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("quota.updated", {"quotaId", "limits", "usage"}),
        ("quota.exceeded", {"quotaId", "usagePercent"}),
        ("quota.renewed", {"quotaId", "validUntil"}),
        ("quota.alert", {"quotaId"}),
        ("device.started", {"deviceId"}),
        ("device.status.changed", {"deviceId", "status"}),
        ("order.cancelled", {"orderId"}),
        ("billing.payment_success", {"paymentId", "amount"}),
        ("billing.payment_failed", {"paymentId"}),
        ("billing.refund_completed", {"amount"}),
        ("app.installed", {"appId", "deviceId"}),
        ("app.install_progress", {"appId", "deviceId", "percent"}),
        ("proxy.pool_changed", {"poolId"}),
        ("wallet.deposit_completed", {"transactionId", "amount", "newBalance"}),
        ("wallet.payment_status_updated", {"transactionId", "status", "amount", "transactionType"}),
        ("whatsapp.qr", {"companyId", "qr"}),
        ("whatsapp.connection", {"companyId", "status"}),
    ],
)
def test_only_what_counts_is_required(name: str, needed: set[str]) -> None:
    """An event without the one thing that it is about is refused; the rest may be left out."""
    with pytest.raises(ValidationError) as caught:
        EVENT_TYPES[name].model.model_validate({"userId": "u1", "timestamp": TIME})
    assert {error["loc"][0] for error in caught.value.errors()} == needed


@pytest.mark.parametrize(
    "name", ["billing.invoice_generated", "sms.receive_stats", "subscription.updated", "post.purchased"]
)
def test_nothing_is_required_where_nothing_is_promised(name: str) -> None:
    """An event whose payload no publisher promises is accepted without one."""
    assert leaving(accept(name, {})) == {"userId": "u1"}


@pytest.mark.parametrize("name", STATUS_AFTER)
def test_status_change_is_derived(name: str) -> None:
    """An event that changes a device's status is followed by the change, with the event's details."""
    event = accept(name, {"deviceId": "d7", "reason": "a reason", "previousStatus": "before"})

    (derived,) = event.derived()

    assert CATALOGUE.of_class(type(derived)).name == "device.status.changed"
    assert derived.timestamp == event.timestamp
    assert tuple(derived.targets()) == DEVICE
    assert leaving(derived) == {
        "userId": "u1",
        "deviceId": "d7",
        "status": STATUS_AFTER[name],
        "previousStatus": "before",
        "reason": "a reason",
        "cause": name,
    }
    assert type(derived).model_validate({"timestamp": TIME, **leaving(derived)}) == derived


@pytest.mark.parametrize(
    ("reported", "status"), [("rebooting", "rebooting"), ("", "running"), (None, "running")]
)
def test_reported_status_goes_first(reported: str | None, status: str) -> None:
    """The status that the publisher reports goes before the one that the event implies."""
    (derived,) = accept("device.started", {"deviceId": "d7", "status": reported}).derived()

    assert leaving(derived)["status"] == status


@each_row
def test_nothing_else_is_derived(row: Row) -> None:
    """No other event has a second one follow it, the change of status itself included."""
    derived = accept(row.name, {**row.payload}).derived()

    assert bool(derived) is (row.name in STATUS_AFTER)


@pytest.mark.parametrize(
    ("sent", "leaves"),
    [
        ("29.90", "29.90"),
        ('"29.90"', "29.90"),
        ("0.1", "0.1"),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
        ("1e3", "1000"),
        ("-5", "-5"),
        ("0.000000000000000001", "0.000000000000000001"),
    ],
)
def test_money_is_exact(sent: str, leaves: str) -> None:
    """An amount leaves as text with the digits that it came with."""
    body = f'{{"userId": "u1", "timestamp": "{TIME}", "paymentId": "p1", "amount": {sent}}}'

    event = EVENT_TYPES["billing.payment_success"].model.model_validate(as_read(body))

    assert leaving(event)["amount"] == leaves


@given(
    st.decimals(min_value=-(10**19), max_value=10**19, allow_nan=False, places=18), st.sampled_from(["", '"'])
)
def test_any_money_is_exact(amount: Decimal, quote: str) -> None:
    """No amount changes on its way, sent as a number or as text."""
    body = f'{{"userId": "u1", "timestamp": "{TIME}", "paymentId": "p1", "amount": {quote}{amount:f}{quote}}}'

    event = EVENT_TYPES["billing.payment_success"].model.model_validate(as_read(body))

    assert leaving(event)["amount"] == f"{amount:f}"


@pytest.mark.parametrize("key", ["percent", "progress", "progressPercent"])
def test_progress_by_any_of_its_names(key: str) -> None:
    """Install progress has one name on the wire, whichever of three the publisher uses."""
    assert leaving(accept("app.install_progress", {**APP, key: 45.5}))["percent"] == 45.5


@pytest.mark.parametrize("key", ["reason", "failureReason"])
def test_failure_reason_by_any_of_its_names(key: str) -> None:
    """The reason of a failed installation has one name on the wire."""
    assert leaving(accept("app.install_failed", {**APP, key: "no space"}))["reason"] == "no space"


def test_wallet_page_always_gets_a_message() -> None:
    """The page shows the message, so one is there even if the wallet left it out."""
    payload = {"transactionId": "t1", "amount": "1", "newBalance": "2"}

    assert leaving(accept("deposit_completed:v1", payload))["message"] == ""


def test_counters_are_open() -> None:
    """A new kind of resource passes as a number, and null counts as left out."""
    event = accept("quota.updated", {**QUOTA, "limits": {"devices": None, "gpuHours": 2.5, "slots": None}})

    assert leaving(event)["limits"] == {"gpuHours": 2.5}


def test_whatsapp_code_may_be_an_image() -> None:
    """A QR code that was rendered already is not too long."""
    assert accept("whatsapp.qr", {"companyId": "c3", "qr": "data:image/png;base64," + "A" * 20_000})


CONFLATED = """
    quota.updated quota.alert quota.metrics quota.check
    device.status.changed device.expiration_warning app.install_progress
    proxy.pool_changed sms.receive_stats media.recording_changed media.transcoding_changed
    whatsapp.qr whatsapp.connection
"""
MUST_BE_DELIVERED = """
    quota.exceeded quota.renewed device.permanent_failure app.install_failed
    order.completed order.cancelled
    billing.payment_success billing.payment_failed billing.refund_completed billing.invoice_generated
    wallet.deposit_completed wallet.payment_status_updated wallet.withdrawal_completed
    subscription.updated post.purchased
    user.disabled user.enabled session.revoked grant.revoked grant.added
"""
MAY_LOSE_THE_OLDEST = """
    quota.deduct quota.restore
    device.created device.started device.stopped device.deleted device.error device.recovered
    device.cleaned device.recovery_success device.recovery_failed device.backup_completed
    app.installed app.uninstalled app.updated
"""


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (Policy.CONFLATE, CONFLATED),
        (Policy.MUST_DELIVER, MUST_BE_DELIVERED),
        (Policy.DROP_OLDEST, MAY_LOSE_THE_OLDEST),
    ],
)
def test_overflow(policy: Policy, names: str) -> None:
    """Gauges conflate, money must be delivered, trails may lose their oldest part."""
    assert {each.name for each in EVENT_TYPES.values() if each.overflow.policy is policy} == set(
        names.split()
    )


def test_maximum_ages() -> None:
    """Only what is worthless when late has a maximum age."""
    ages = {each.name: each.age_seconds_max for each in EVENT_TYPES.values() if each.age_seconds_max}

    assert ages == {
        "quota.metrics": 300,
        "quota.check": 300,
        "app.install_progress": 300,
        "sms.receive_stats": 3600,
        "whatsapp.qr": 20,
    }


room_ids = st.one_of(st.text(max_size=140), st.from_regex(ROOM_ID_PATTERN, fullmatch=True))


@each_type
@given(user_id=room_ids, other_id=room_ids)
def test_targets_are_rooms(event_type: EventType, user_id: str, other_id: str) -> None:
    """Whatever a publisher writes, an accepted event targets well-formed rooms, at least one.

    Only changes of who may what target none.
    """
    ids: dict[str, object] = {
        key: other_id for key in ("deviceId", "companyId") if key in event_type.model.EXAMPLE
    }
    payload = {**event_type.model.EXAMPLE, **ids}
    try:
        event = accept(event_type.name, {**payload, "userId": user_id})
    except ValidationError:
        return

    for one in (event, *event.derived()):
        assert one.targets() or event_type.name in set(ChangeKind)
        for target in one.targets():
            room = parse_room(target)
            assert room is not None
            assert str(room) == target


@pytest.mark.parametrize(
    ("written", "leaves"),
    [
        ("0e-300000000", '"0"'),
        ('"0e-999999999999"', '"0"'),
        ('"-0"', '"0"'),
        ('"0.00"', '"0.00"'),
        ("12.50", '"12.50"'),
        ("1e5", '"100000"'),
        ('"1_000"', None),
        ('" 1 "', None),
        ('"\uff11\uff12"', None),
        ('"' + "0" * 100_000 + '"', None),
    ],
    ids=lambda value: str(value)[:12],
)
def test_amounts_are_as_long_as_they_look(written: str, leaves: str | None) -> None:
    """An amount leaves as plain digits, and as few as it had; what only Decimal takes for one is refused."""
    text = f'{{"userId": "u1", "timestamp": "2026-11-21T10:00:00Z", "paymentId": "p1", "amount": {written}}}'
    payload = jiter.from_json(text.encode(), float_mode="decimal")
    model = next(one.model for one in CATALOGUE.event_types if one.name == "billing.payment_success")

    if leaves is None:
        with pytest.raises(ValidationError):
            model.model_validate(payload)
    else:
        assert f'"amount":{leaves}' in model.model_validate(payload).model_dump_json(by_alias=True)


HEAD = """\
from bridge.core.catalogue import Domain
from bridge.core.event import *
from bridge.core.policy import *
"""
CLASS = 'DOMAIN = Domain("match", "score", topics=("match.#",))\n@DOMAIN.event("match.scored", {how})\n{rest}'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "consumers/match.py has no DOMAIN = Domain(…)"),
        ("DOMAIN = 'match'", "consumers/match.py has no DOMAIN = Domain(…)"),
        (
            "import no_such_module",
            "consumers/match.py:1: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("x = (\n", "consumers/match.py:1: SyntaxError: '(' was never closed"),
        ("\nx = int('12 MB')", "consumers/match.py:2: invalid literal for int() with base 10: '12 MB'"),
        (
            HEAD + 'DOMAIN = Domain("match", "score", topics=("match.#"))',
            "consumers/match.py:4: topics of the domain match is a text; write ('match.#',)",
        ),
        (
            HEAD + CLASS.format(how="", rest="class Scored(UserEvent): ..."),
            "match.py:5: TypeError: Domain.event() missing 1 required keyword-only argument: 'overflow'",
        ),
        (
            HEAD
            + CLASS.format(how="overflow=DROP_OLDEST, aliases=('a')", rest="class Scored(UserEvent): ..."),
            "match.py:5: aliases of match.scored is a text; write ('a',)",
        ),
        (
            HEAD
            + CLASS.format(
                how="overflow=DROP_OLDEST", rest="class Scored(UserEvent):\n    match_id: 'RomId'"
            ),
            "match.py:5: match.scored has a field of the type 'RomId', which is not defined",
        ),
    ],
)
def test_a_file_that_is_no_domain(
    text: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A mistake in a file is told with its name, the line, and what is wrong there."""
    (tmp_path / "match.py").write_text(text)
    monkeypatch.setattr(consumers, "NAMES", ("match",))
    monkeypatch.setattr(consumers, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "consumers.match", raising=False)

    with pytest.raises(NoDomainError, match=re.escape(says)):
        domains()
    sys.modules.pop("consumers.match", None)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("quota", "nothing"), "lists 'nothing', and there is no nothing.py"),
        (("quota", "quota"), "lists 'quota' 2 times"),
    ],
)
def test_a_name_without_a_domain(names: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of no file, or one that is there twice, is told as what it is."""
    monkeypatch.setattr(consumers, "NAMES", names)

    with pytest.raises(NoDomainError, match=re.escape(says)):
        domains()


def test_a_file_that_nobody_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A domain's file that is not in the list is known as that; all of ours are in it."""
    assert unlisted() == []

    monkeypatch.setattr(consumers, "NAMES", tuple(name for name in NAMES if name != "quota"))
    assert unlisted() == ["quota"]
