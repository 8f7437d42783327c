"""Who may join which room."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from bridge.core.access import AccessRules, Principal
from bridge.core.rooms import EVERYONE, parse_room

RULES = AccessRules(public_kinds=frozenset({"score"}))

ANNA = Principal("anna")
ADMIN = Principal("root", roles=frozenset({"admin", "support"}))
CLAIMS = Principal("carl", rooms=("device:d7", "company:*", "order:2026-*-eu", "lab:[ab]?-*"))
MASTER = Principal("monitor", rooms=("*",))

OK = "ok"
FORBIDDEN = "forbidden"
BAD_ROOM = "bad_room"

TABLE = [
    # who      room                   answer     why
    (ANNA, "all", OK, "everybody may join it"),
    (ANNA, "user:anna", OK, "it is the user's own room"),
    (ANNA, "user:bert", FORBIDDEN, "it is another user's room"),
    (ANNA, "user:ann", FORBIDDEN, "it is another user's room"),
    (ANNA, "user:anna:phone", FORBIDDEN, "it is another user's room"),
    (ANNA, "user:ANNA", FORBIDDEN, "it is another user's room"),
    (ANNA, "role:admin", FORBIDDEN, "the token does not carry the role"),
    (ANNA, "role:anna", FORBIDDEN, "the token does not carry the role"),
    (ANNA, "score:m1", OK, "rooms of this kind are public"),
    (ANNA, "scores:m1", FORBIDDEN, "its kind is not public and the token's rooms claim does not name it"),
    (ANNA, "device:d7", FORBIDDEN, "its kind is not public and the token's rooms claim does not name it"),
    (ADMIN, "role:admin", OK, "the token carries the role"),
    (ADMIN, "role:support", OK, "the token carries the role"),
    (ADMIN, "role:admi", FORBIDDEN, "the token does not carry the role"),
    (ADMIN, "user:anna", FORBIDDEN, "it is another user's room"),  # A role is no key to other rooms.
    (CLAIMS, "device:d7", OK, "the token's rooms claim names it"),
    (CLAIMS, "device:d77", FORBIDDEN, "its kind is not public and the token's rooms claim does not name it"),
    (CLAIMS, "company:c3", OK, "the token's rooms claim names it"),
    (CLAIMS, "company:a:b", OK, "the token's rooms claim names it"),
    (
        CLAIMS,
        "mycompany:c3",
        FORBIDDEN,
        "its kind is not public and the token's rooms claim does not name it",
    ),
    (CLAIMS, "order:2026-11-eu", OK, "the token's rooms claim names it"),
    (
        CLAIMS,
        "order:2026-11-us",
        FORBIDDEN,
        "its kind is not public and the token's rooms claim does not name it",
    ),
    (CLAIMS, "lab:[ab]?-7", OK, "the token's rooms claim names it"),  # Only the star is special.
    (CLAIMS, "lab:a1-7", FORBIDDEN, "its kind is not public and the token's rooms claim does not name it"),
    (MASTER, "user:anna", OK, "the token's rooms claim names it"),
    (MASTER, "role:admin", OK, "the token's rooms claim names it"),
    (MASTER, "no room", BAD_ROOM, "a room is named kind:id"),
    (ANNA, "", BAD_ROOM, "a room is named kind:id"),
    (ANNA, "user:*", BAD_ROOM, "a room is named kind:id"),
    (ANNA, "all:x", BAD_ROOM, "a room is named kind:id"),
    (ANNA, "score:", BAD_ROOM, "a room is named kind:id"),
]


@pytest.mark.parametrize(("who", "room", "code", "why"), TABLE)
def test_access(who: Principal, room: str, code: str, why: str) -> None:
    """A room is joined when a row of the table grants it, else refused; both with the reason."""
    assert RULES.decide(who, room) == (code == OK, code, why)


def test_own_rooms() -> None:
    """A user is in the own room, those of the roles, and `all` without asking."""
    assert ADMIN.own_rooms == ("user:root", "role:admin", "role:support", "all")


def test_nothing_is_public_unless_said() -> None:
    """Without public kinds, only claims open rooms beside the own ones."""
    assert not AccessRules().decide(ANNA, "score:m1").allowed


principals = st.builds(
    Principal,
    user_id=st.text("ab*:?[", min_size=1, max_size=3),
    roles=st.frozensets(st.text("ab", min_size=1, max_size=2), max_size=2),
    rooms=st.lists(st.text("ab:*?[]!-", max_size=6), max_size=3).map(tuple),
)
room_names = (
    st.text(max_size=5) | st.text("ab:*?[]!-", max_size=6) | st.sampled_from(["all", "user:a", "role:a"])
)


@settings(deadline=None)
@given(principals, room_names)
def test_nobody_gets_in_by_accident(who: Principal, room: str) -> None:
    """Without a claim, whoever is let in is in an own room; nothing raises, whatever the name."""
    decision = AccessRules().decide(who, room)

    assert decision.allowed == (decision.code == "ok")
    if decision.allowed and not who.rooms:
        assert room in who.own_rooms
    if decision.allowed:
        assert parse_room(room) is not None


@settings(deadline=None)
@given(principals)
def test_own_rooms_are_open(who: Principal) -> None:
    """Every own room that is well-formed is also granted, so a refresh of the token keeps it."""
    for room in who.own_rooms:
        assert RULES.decide(who, room).allowed == (parse_room(room) is not None)
    assert EVERYONE in who.own_rooms


@settings(deadline=None)
@given(st.lists(st.sampled_from(["*", "a", "b", ":"]), max_size=40).map("".join), st.text("ab:", max_size=40))
def test_star_stands_for_any_characters(pattern: str, name: str) -> None:
    """A pattern names a room exactly when its literal parts come in order; the longest takes no time."""
    room = f"k:{name}"
    first, *middle, last = (f"k:{pattern}*").split("*")
    rest = room
    matches = rest.startswith(first)
    rest = rest[len(first) :]
    for part in middle:
        found = rest.find(part)
        matches = matches and found >= 0
        rest = rest[found + len(part) :]
    matches = matches and rest.endswith(last)

    decision = AccessRules().decide(Principal("u", rooms=(f"k:{pattern}*",)), room)

    assert decision.allowed == (matches and parse_room(room) is not None)
