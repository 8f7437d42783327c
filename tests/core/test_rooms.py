"""Which texts name a room."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from bridge.core.rooms import EVERYONE, Room, parse_room, role_room, user_room

ROOMS = [
    ("all", Room("all", "")),
    ("user:u1", Room("user", "u1")),
    ("device:d7", Room("device", "d7")),
    ("role:admin", Room("role", "admin")),
    ("proxy_pool2:x", Room("proxy_pool2", "x")),
    ("user:a:b", Room("user", "a:b")),  # Only the first colon divides.
    ("user::", Room("user", ":")),
    ("user:All", Room("user", "All")),
    ("user:用户/7", Room("user", "用户/7")),
    ('user:"\\', Room("user", '"\\')),
    ("user:" + "x" * 128, Room("user", "x" * 128)),
    ("k" * 32 + ":1", Room("k" * 32, "1")),
]

NO_ROOMS = [
    ("", "nothing"),
    ("user", "no id"),
    ("user:", "an empty id"),
    (":u1", "no kind"),
    ("All", "a kind in upper case, and no id"),
    ("User:u1", "a kind in upper case"),
    ("1user:u1", "a kind that begins with a digit"),
    ("pro-xy:1", "a dash in the kind"),
    (" user:u1", "white space before the kind"),
    ("all:", "the room `all` with an empty id"),
    ("all:x", "the room `all` with an id"),
    ("user:a b", "white space"),
    ("user:a\n", "a line end at the end"),
    ("user:a\N{NO-BREAK SPACE}b", "white space of another script"),
    ("user:a\x00b", "a control character"),
    ("user:a\x7f", "the control character DEL"),
    ("user:a,b", "a comma, which divides rooms in a query"),
    ("user:*", "a star, which is for patterns"),
    ("user:\ud800", "half a character, which cannot be sent"),
    ("user:" + "x" * 129, "an id of 129 characters"),
    ("k" * 33 + ":1", "a kind of 33 characters"),
]


@pytest.mark.parametrize(("name", "room"), ROOMS)
def test_room(name: str, room: Room) -> None:
    """A room is `all`, or a lower-case kind, a colon and an id."""
    assert parse_room(name) == room


@pytest.mark.parametrize("name", [pytest.param(name, id=why) for name, why in NO_ROOMS])
def test_no_room(name: str) -> None:
    """Anything else names no room."""
    assert parse_room(name) is None


def test_rooms_of_the_bridge() -> None:
    """Everybody is in `all`, a user in `user:{id}`, and who has a role in `role:{name}`."""
    assert (EVERYONE, user_room("u1"), role_room("admin")) == ("all", "user:u1", "role:admin")


@settings(deadline=None)
@given(st.text(st.characters(), max_size=140) | st.builds("{}:{}".format, st.text(max_size=4), st.text()))
def test_name_and_room_are_one(name: str) -> None:
    """A well-formed name is the name of its room, and can be sent."""
    room = parse_room(name)

    if room is not None:
        assert str(room) == name
        assert name.encode().decode() == name
