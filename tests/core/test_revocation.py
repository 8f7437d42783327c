"""What is remembered of revocations, for how long, and whom it concerns."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from bridge.core.access import AccessRules, Principal
from bridge.core.entry import Entry, EventKey
from bridge.core.policy import Policy
from bridge.core.revocation import Change, ChangeKind, Revocations, change_of

NOW = 1_000_000.0
BEFORE, AFTER = NOW - 1, NOW + 1
DISABLED = Change(ChangeKind.USER_DISABLED, "anna", NOW)
ENABLED = Change(ChangeKind.USER_ENABLED, "anna", NOW)
TOKEN_REVOKED = Change(ChangeKind.SESSION_REVOKED, "anna", NOW, token_id="t1")
ALL_REVOKED = Change(ChangeKind.SESSION_REVOKED, "anna", NOW, issued_before=NOW)
ROOM_LOST = Change(ChangeKind.GRANT_REVOKED, "anna", NOW, room="device:d7")
ROOM_GIVEN = Change(ChangeKind.GRANT_ADDED, "anna", NOW, room="device:d7")

IS_DISABLED = "the user is disabled"
IS_REVOKED = "the token is revoked"
ALL_ARE = "the user's sessions are revoked; log in again"

TABLE = [
    # what was logged             whose token, its id, and when it was issued      why it opens nothing
    ([DISABLED], Principal("anna", issued_at=AFTER), IS_DISABLED),
    ([DISABLED], Principal("bert", issued_at=BEFORE), ""),
    ([DISABLED, ENABLED], Principal("anna", issued_at=BEFORE), ""),
    ([ENABLED, DISABLED], Principal("anna", issued_at=AFTER), IS_DISABLED),
    ([TOKEN_REVOKED], Principal("anna", token_id="t1", issued_at=AFTER), IS_REVOKED),
    ([TOKEN_REVOKED], Principal("anna", token_id="t2", issued_at=BEFORE), ""),
    ([TOKEN_REVOKED], Principal("bert", token_id="t1", issued_at=BEFORE), ""),
    ([TOKEN_REVOKED], Principal("anna"), ""),
    ([TOKEN_REVOKED, ENABLED], Principal("anna", token_id="t1"), IS_REVOKED),
    ([ALL_REVOKED], Principal("anna", token_id="t1", issued_at=BEFORE), ALL_ARE),
    ([ALL_REVOKED], Principal("anna", issued_at=NOW), ""),
    ([ALL_REVOKED], Principal("anna"), ALL_ARE),  # Whoever cannot say when is from before.
    ([ALL_REVOKED, ENABLED], Principal("anna", issued_at=BEFORE), ALL_ARE),
    ([ROOM_LOST], Principal("anna", issued_at=BEFORE), ""),
]


def revocations(*changes: Change, seconds_max: float = 60.0, marks_max: int = 100) -> Revocations:
    """Return what is remembered of changes that were logged at NOW."""
    remembered = Revocations(seconds_max=seconds_max, marks_max=marks_max)
    for change in changes:
        remembered.apply(change, logged_at=NOW, now=NOW)
    return remembered


@pytest.mark.parametrize(("changes", "principal", "why"), TABLE)
def test_denial(changes: list[Change], principal: Principal, why: str) -> None:
    """A token opens nothing if its user is disabled, or it is revoked itself or with all from before."""
    assert revocations(*changes).denial(principal, NOW) == why


@pytest.mark.parametrize(
    ("changes", "issued_at", "allowed"),
    [
        ([], BEFORE, True),
        ([ROOM_LOST], BEFORE, False),
        ([ROOM_LOST], None, False),
        ([ROOM_LOST], AFTER, True),  # The issuer of the token knew.
        ([ROOM_LOST, ROOM_GIVEN], BEFORE, True),
        ([ROOM_GIVEN, ROOM_LOST], BEFORE, False),
    ],
)
def test_claim_to_a_lost_room(changes: list[Change], issued_at: float | None, *, allowed: bool) -> None:
    """A claim to a room counts for nothing once the user has lost the room, until it is given back."""
    rules = AccessRules(revocations=revocations(*changes))
    anna = Principal("anna", rooms=("device:*",), issued_at=issued_at)

    assert rules.decide(anna, "device:d7").allowed == allowed
    assert rules.decide(anna, "device:d8").allowed


def test_forgotten_in_time() -> None:
    """A mark ends so long after the event was logged, whenever the node has read it."""
    anna = Principal("anna")
    late = Revocations(seconds_max=60.0, marks_max=100)
    late.apply(DISABLED, logged_at=NOW, now=NOW + 59)

    for remembered in (revocations(DISABLED), late):
        assert remembered.denial(anna, NOW + 59.9)
        assert not remembered.denial(anna, NOW + 60)
        assert not len(remembered)


def test_log_that_does_not_say_when() -> None:
    """Where the log gives no time, a mark begins when it is read."""
    remembered = Revocations(seconds_max=60.0, marks_max=100)
    remembered.apply(DISABLED, logged_at=0.0, now=NOW)

    assert remembered.denial(Principal("anna"), NOW + 59)


def test_too_many_marks() -> None:
    """Past the limit the oldest mark goes, and is counted."""
    changes = [Change(ChangeKind.USER_DISABLED, f"u{number}", NOW) for number in range(5)]
    remembered = revocations(*changes, marks_max=3)

    denied = [bool(remembered.denial(Principal(change.user_id), NOW)) for change in changes]
    assert denied == [False, False, True, True, True]
    assert (len(remembered), remembered.evicted) == (3, 2)


def test_older_event_gives_nothing_back() -> None:
    """An event from before that comes later does not shorten what is revoked."""
    older = Change(ChangeKind.SESSION_REVOKED, "anna", NOW, issued_before=NOW - 100)

    assert revocations(ALL_REVOKED, older).denial(Principal("anna", issued_at=BEFORE), NOW)


def entry(event_type: str, **data: object) -> Entry:
    """Return an entry of the log as ingest writes it."""
    payload = json.dumps({"type": event_type, "data": {"userId": "anna", **data}}).encode()
    return Entry(EventKey(event_type, "1"), (), Policy.MUST_DELIVER, "", NOW, None, payload)


@pytest.mark.parametrize(
    ("logged", "change"),
    [
        (
            entry("user.disabled", reason="fraud"),
            Change(DISABLED.kind, "anna", NOW, issued_before=NOW, reason="fraud"),
        ),
        (entry("session.revoked", tokenId="t1"), Change(TOKEN_REVOKED.kind, "anna", NOW, "t1", NOW)),
        (
            entry("session.revoked", issuedBefore="1970-01-12T13:46:39.000Z"),
            Change(ALL_REVOKED.kind, "anna", NOW, issued_before=999_999.0),
        ),
        (entry("grant.revoked", room="device:d7"), Change(ROOM_LOST.kind, "anna", NOW, "", NOW, "device:d7")),
        (entry("quota.updated"), None),
    ],
    ids=lambda value: value.key.event_type if isinstance(value, Entry) else "",
)
def test_change_of(logged: Entry, change: Change | None) -> None:
    """Access events of the log are changes; all others are not."""
    assert change_of(logged) == change


@pytest.mark.parametrize("payload", [b"{}", b"{x}", b"[]", b'{"data":[]}', b'{"data":{"userId":7}}'])
def test_change_that_says_not_whom(payload: bytes) -> None:
    """What did not come through ingest does no harm."""
    change = change_of(replace(entry("user.disabled"), payload=payload))

    assert change == Change(ChangeKind.USER_DISABLED, "", NOW, issued_before=NOW)


@pytest.mark.parametrize("written", ["soon", "", 7, None, "9999-99-99"])
def test_time_that_is_none(written: object) -> None:
    """A time that cannot be read counts as left out: all tokens from before the event."""
    change = change_of(entry("session.revoked", issuedBefore=written))

    assert change is not None
    assert change.issued_before == NOW


changes = st.builds(
    Change,
    st.sampled_from(ChangeKind),
    st.sampled_from(["anna", "bert"]),
    st.just(NOW),
    st.sampled_from(["", "t1"]),
    st.floats(NOW - 9, NOW + 9),
    st.sampled_from(["device:d1", "device:d2"]),
)


@settings(deadline=None)
@given(st.lists(changes, max_size=30))
def test_every_node_knows_the_same(history: list[Change]) -> None:
    """A node that reads the log back knows what one knows that was there, whatever happened."""
    there, later = (Revocations(seconds_max=20.0, marks_max=100) for _ in range(2))
    for number, change in enumerate(history):
        there.apply(change, logged_at=NOW + number, now=NOW + number)
    end = NOW + len(history)
    for number, change in enumerate(history):
        later.apply(change, logged_at=NOW + number, now=end)

    for user_id in ("anna", "bert"):
        for issued_at in (None, NOW - 5, NOW + 5):
            principal = Principal(user_id, rooms=("*",), token_id="t1", issued_at=issued_at)
            assert there.denial(principal, end) == later.denial(principal, end)
            for room in ("device:d1", "device:d2"):
                assert there.grant_lost(principal, room) == later.grant_lost(principal, room)
