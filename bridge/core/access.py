"""Who may join which room: one table. A room is joined when a row grants it, else refused.

| row    | grants                                                                     |
|--------|----------------------------------------------------------------------------|
| all    | the room `all`, to everybody who is authenticated                          |
| own    | `user:{id}`, to that user                                                  |
| role   | `role:{name}`, to whose token carries the role                             |
| public | `{kind}:{id}`, to everybody authenticated, if the kind is public           |
| claim  | any room that the token's rooms claim names; `*` stands for any characters |
| query  | `{kind}:{id}`, if a query decides about the kind, and says so              |

The query is not asked here: for those rooms the answer is ASK, and whoever wants to know has to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from re import Pattern, compile as compile_pattern
from typing import NamedTuple

from bridge.core.revocation import Revocations
from bridge.core.rooms import EVERYONE, Room, parse_room, role_room, user_room

PATTERNS_CACHED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a token proves a client to be.

    `rooms` are patterns from the token's rooms claim. Times are in seconds since the Unix epoch; `issued_at`
    is None, and `token_id` empty, when the token does not say.
    """

    user_id: str
    roles: frozenset[str] = frozenset()
    rooms: tuple[str, ...] = ()
    expires_at: float = field(default=float("inf"))
    token_id: str = ""
    issued_at: float | None = None

    @property
    def own_rooms(self) -> tuple[str, ...]:
        """The rooms that this principal's sockets are in without asking."""
        return (user_room(self.user_id), *map(role_room, sorted(self.roles)), EVERYONE)


class Decision(NamedTuple):
    """Whether a room may be joined, and which row of the table said so.

    Not allowed with the code ASK: nothing that is known here allows it, a query may.
    """

    allowed: bool
    code: str
    why: str


ASK = "ask"


class AccessRules:
    """The table above: anybody may join rooms of `public_kinds`; queries decide about `query_kinds`."""

    def __init__(
        self,
        public_kinds: frozenset[str] = frozenset(),
        query_kinds: frozenset[str] = frozenset(),
        revocations: Revocations | None = None,
    ) -> None:
        """Build the table. `revocations` are those of the node; without them nothing is ever revoked."""
        self._query_kinds = query_kinds
        if revocations is None:
            revocations = Revocations(seconds_max=0.0, marks_max=0)
        self._revocations = revocations
        self._table: tuple[tuple[str, Callable[[Principal, Room], bool]], ...] = (
            ("everybody may join it", lambda _, room: room.kind == EVERYONE),
            ("it is the user's own room", lambda who, room: room == ("user", who.user_id)),
            ("the token carries the role", lambda who, room: room.kind == "role" and room.id in who.roles),
            ("rooms of this kind are public", lambda _, room: room.kind in public_kinds),
            ("the token's rooms claim names it", self._claims),
        )

    def decide(self, principal: Principal, room_name: str) -> Decision:
        """Decide whether a principal may join a room. Never raises; an ill-formed name is refused."""
        room = parse_room(room_name)
        if room is None:
            return Decision(allowed=False, code="bad_room", why="a room is named kind:id")
        for why, grants in self._table:
            if grants(principal, room):
                return Decision(allowed=True, code="ok", why=why)
        if room.kind in self._query_kinds:
            return Decision(allowed=False, code=ASK, why="a query decides about rooms of this kind")
        return Decision(allowed=False, code="forbidden", why=_WHY_NOT.get(room.kind, _NOT_CLAIMED))

    def denial(self, principal: Principal, now: float) -> str:
        """Say why this token opens nothing any more, empty if it does. `now` in seconds since the epoch."""
        return self._revocations.denial(principal, now)

    def _claims(self, principal: Principal, room: Room) -> bool:
        return claims(principal, room) and not self._revocations.grant_lost(principal, str(room))


_NOT_CLAIMED = "its kind is not public and the token's rooms claim does not name it"
_WHY_NOT = {
    "user": "it is another user's room",
    "role": "the token does not carry the role",
}


def claims(principal: Principal, room: Room) -> bool:
    """Tell whether the token's rooms claim names this room."""
    name = str(room)
    return any(
        pattern == name or ("*" in pattern and _compiled(pattern).fullmatch(name) is not None)
        for pattern in principal.rooms
    )


@lru_cache(maxsize=PATTERNS_CACHED_MAX)
def _compiled(pattern: str) -> Pattern[str]:
    # Only `*` is special; fnmatch's other wildcards are taken literally.
    literal = pattern.replace("[", "[[]").replace("?", "[?]")
    return compile_pattern(translate(literal))
