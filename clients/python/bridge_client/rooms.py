"""Which rooms a program wants, and which of them the socket is in. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_ROOM = re.compile(r"all|(?!all:)[a-z][a-z0-9_]{0,31}:[^\s,*\x00-\x1f\x7f\ud800-\udfff]{1,128}")
_PASSING = frozenset({"rate_limited", "unavailable", "not_ready"})
"""Refusals that asking again later may change."""


class Rooms:
    """Wanted over all sockets; asked for, joined and refused on the present one."""

    def __init__(self) -> None:
        self.wanted: dict[str, None] = {}  # In the order in which they were wanted.
        self.joined: set[str] = set()
        self.refused: dict[str, str] = {}  # With the bridge's code.
        self._asked: set[str] = set()  # The others that it is in, it is in without asking.
        # Where the last socket was when it ended: only there a position tells what was missed.
        self._before: set[str] = set()

    def want(self, rooms: Iterable[str]) -> None:
        """Want these. Raises ValueError for what cannot be a room."""
        rooms = tuple(rooms)
        for room in rooms:
            if not _ROOM.fullmatch(room):
                raise ValueError(f"{room!r} is not a room; write kind:id")
        for room in rooms:
            if room not in self.wanted:
                self.wanted[room] = None
                self.refused.pop(room, None)

    def drop(self, rooms: Iterable[str]) -> None:
        """Want these no more."""
        for room in rooms:
            self.wanted.pop(room, None)
            self.refused.pop(room, None)

    def begin(self, count_max: int) -> list[str]:
        """Begin with a new socket; return what its hello asks for."""
        if self.joined:
            self._before, self.joined = self.joined, set()
        self.refused.clear()
        rooms = list(self.wanted)[:count_max]
        self._asked = set(rooms)
        return rooms

    def to_join(self, count_max: int) -> list[str]:
        """Return the wanted rooms that are to be asked for; they count as asked for from now on."""
        missing = [room for room in self.wanted if room not in self.joined and room not in self.refused]
        self._asked.update(missing[:count_max])
        return missing[:count_max]

    def to_leave(self, count_max: int) -> list[str]:
        """Return the rooms to leave: asked for, and no longer wanted."""
        return sorted(self._asked & self.joined - self.wanted.keys())[:count_max]

    def note_joined(self, rooms: Iterable[str]) -> tuple[str, ...]:
        """Note where the socket is; return the rooms that are new, on it and since the last one."""
        rooms = tuple(rooms)
        fresh = tuple(room for room in rooms if room not in self.joined and room not in self._before)
        self.joined.update(rooms)
        for room in rooms:
            self.refused.pop(room, None)
        return fresh

    def note_refused(self, codes: Mapping[str, str]) -> bool:
        """Note refusals of wanted rooms; return whether asking again later may change one."""
        final = {room: code for room, code in codes.items() if code not in _PASSING}
        self.refused.update({room: code for room, code in final.items() if room in self.wanted})
        return len(final) < len(codes)

    def note_left(self, rooms: Iterable[str], code: str = "") -> None:
        """Note that the socket is no longer in these; with a code they are not asked for again."""
        for room in rooms:
            self.joined.discard(room)
            self._asked.discard(room)
            self._before.discard(room)
            if code and room in self.wanted:
                self.refused[room] = code
