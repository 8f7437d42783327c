"""What `bridge lint` finds in the text of a publisher's examples."""

from __future__ import annotations

import json

import pytest

from bridge.core.by_hand import judge
from bridge.core.catalogue import UNROUTED, Catalogue, Domain
from bridge.core.event_text import Broken, Item, items_of, lines_of
from bridge.core.examples import published
from bridge.core.lint import Finding, Linter
from consumers import domains

CATALOGUE = Catalogue([*domains(), Domain(UNROUTED, "anybody", topics=(), catches_unrouted=True)])
BODY_BYTES_MAX = 2_000
TIME = '"timestamp": "2026-11-21T10:00:00.000Z"'
GOOD = f'{{"type": "user.enabled", "userId": "u1", {TIME}}}'


def linter(routing_key: str | None = None) -> Linter:
    """Return a linter with the built-in events."""
    return Linter(
        CATALOGUE,
        lambda delivery: judge(CATALOGUE, delivery, body_bytes_max=BODY_BYTES_MAX),
        body_bytes_max=BODY_BYTES_MAX,
        routing_key=routing_key,
    )


def found(text: str, routing_key: str | None = None) -> list[Finding]:
    """Return the findings in a text of one or more events."""
    return list(linter(routing_key).lint(text, by_line=False).findings)


def brief(findings: list[Finding]) -> list[tuple[str, str]]:
    """Return reason and field of each."""
    return [(finding.reason, finding.field) for finding in findings]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(json.dumps(published(each, type=each.name)), id=f"{each.name}-v{each.version}")
        for each in CATALOGUE.event_types
    ],
)
def test_examples(text: str) -> None:
    """There is nothing to say about the examples of the classes."""
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "routing_key", "expected"),
    [
        (GOOD, None, []),
        (f'{{"userId": "u1", {TIME}}}', "user.enabled", []),
        (f'{{"pattern": "user.enabled", "data": {{"userId": "u1", {TIME}}}}}', None, []),
        (
            f'{{"specversion": "1.0", "id": "1", "source": "/", "type": "user.enabled", "data": {GOOD}}}',
            None,
            [],
        ),
        (
            f'{{"specversion": "1.0", "type": "a.b.user.enabled", "data": {{{TIME}, "userId": "u"}}}}',
            None,
            [],
        ),
        ('{"type": "subscription-updated", "userId": "u1"}', None, []),
        (
            f'{{"type": "deposit_completed:v9", "userId": "u1", {TIME}}}',
            None,
            [("unknown_version", "routing_key")],
        ),
        (f'{{"userId": "u1", {TIME}}}', None, [("no_routing_key", "")]),
        ('{"type": "updated"}', None, [("no_routing_key", "")]),
        ('{"type": 7}', None, [("no_routing_key", "")]),
        ('{"type": "userEnabled"}', None, [("bad_name", "routing_key")]),
        ('{"type": "quota.vanished"}', None, [("unknown_type", "routing_key")]),
        ("7", None, [("not_an_object", "")]),
        ('{"a": NaN}', "user.enabled", [("not_json", "")]),
        (json.dumps({"type": "user.enabled", "note": "x" * BODY_BYTES_MAX}), None, [("too_large", "")]),
        ("", None, [("no_event", "")]),
        ("[]", None, [("no_event", "")]),
    ],
)
def test_names(text: str, routing_key: str | None, expected: list[tuple[str, str]]) -> None:
    """The routing key is the one that is given, else what pattern or type say in full."""
    assert brief(found(text, routing_key)) == expected


def test_every_problem() -> None:
    """Every field at fault is found at once, with its line and its remedy, beside a wrong name."""
    text = (
        f'[{GOOD},\n{{"type": "user.disabled", {TIME},\n "quota_id": "q1",\n "limits": {{"devices": "10"}}}}]'
    )

    findings = found(text, "quota.updated")

    assert [(each.line, each.index, *pair) for each, pair in zip(findings, brief(findings), strict=True)][
        -6:
    ] == [
        (2, 2, "wrong_type", "type"),
        (2, 2, "missing_field", "userId"),
        (2, 2, "missing_field", "quotaId"),
        (4, 2, "bad_field", "limits.devices"),
        (2, 2, "missing_field", "usage"),
        (3, 2, "undeclared_field", "quota_id"),
    ]
    assert findings[-2].remedy == "add it; usage (counters): What the user uses now."
    assert findings[-1].remedy == "write quotaId"


def test_undeclared_fields() -> None:
    """A field that will not leave the bridge is a warning, however deep it is; what is read is none."""
    event = published(
        next(each for each in CATALOGUE.event_types if each.name == "app.install_progress"),
        type="app.install_progress",
        eventId="1",
        password="hunter2",
        gone=None,
    )
    event["progress"] = event.pop("percent")

    assert brief(found(json.dumps(event))) == [("undeclared_field", "password")]


def test_late() -> None:
    """An example may be as old as it likes."""
    event = {"type": "whatsapp.qr", "timestamp": "2020-01-01T00:00:00Z", "companyId": "c1", "qr": "x"}

    assert found(json.dumps(event)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', [(1, 1)]),
        ('\n[{"a": 1},\n\n {"a": 2}]\n', [(2, 1), (4, 2)]),
        ('{"a": 1}\n{"a": 2}\n', [(1, 1), (2, 2)]),
        ('[{"a": 1}] {"a": 2}', [(1, 1), (1, 2)]),
        ('[{"a": 1}\n{"a": 2}]', [(1, 1), (2, "a comma or ] is missing in the list")]),
        ('[{"a": 1}', [(1, 1), (1, "the list does not end; a ] is missing")]),
        ('{"a":\n 1', [(2, "expecting ',' delimiter (column 3)")]),
        ("[" * 100_000, [(1, "it is nested too deeply")]),
    ],
)
def test_items(text: str, expected: list[tuple[int, int | str]]) -> None:
    """A text is one event, a list, or one after the other; each is known by its line and number."""
    items = list(items_of(text))

    assert [(item.line, item.index if isinstance(item, Item) else item.why) for item in items] == expected


def test_lines() -> None:
    """In JSON lines a broken line spoils no other."""
    items = list(lines_of('{"a": 1}\n\n{"a"\n{"a": 3}'))

    assert [(type(item), item.line, item.index) for item in items] == [
        (Item, 1, 1),
        (Broken, 3, 2),
        (Item, 4, 3),
    ]


def test_exact() -> None:
    """An amount is judged with all the digits that were written."""
    text = f'{{{TIME}, "userId": "u1", "paymentId": "p", "amount": 0.{"1" * 19}}}'

    assert brief(found(text, "billing.payment_success")) == [("bad_field", "amount")]
