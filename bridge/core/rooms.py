"""Room names: `kind:id`, and the one room without an id, `all`."""

from __future__ import annotations

import re
from typing import NamedTuple

EVERYONE = "all"
ROOM_ID_PATTERN = r"^[^\s,*\x00-\x1f\x7f]{1,128}$"

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ID = re.compile(ROOM_ID_PATTERN)
# The JSON of a token can hold half a character, which cannot be written as UTF-8.
_HALF = re.compile(r"[\ud800-\udfff]")


class Room(NamedTuple):
    """A room taken apart. `all` has the kind `all` and an empty id."""

    kind: str
    id: str

    def __str__(self) -> str:
        """Return the room's name."""
        return f"{self.kind}:{self.id}" if self.kind != EVERYONE else EVERYONE


def user_room(user_id: str) -> str:
    """Return the room that every socket of this user is in."""
    return f"user:{user_id}"


def role_room(role: str) -> str:
    """Return the room of everybody with this role."""
    return f"role:{role}"


def parse_room(name: str) -> Room | None:
    """Take a room name apart; None when it is not well-formed."""
    if name == EVERYONE:
        return Room(EVERYONE, "")
    kind, colon, room_id = name.partition(":")
    if not colon or kind == EVERYONE or not _KIND.fullmatch(kind):
        return None
    if not _ID.fullmatch(room_id) or _HALF.search(room_id):
        return None
    return Room(kind, room_id)
