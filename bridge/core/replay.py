"""What a session is still owed from the replay window, in order and once.

While a replay runs the session is in no room of the hub: newer events wait in the window and come
in their turn, so that they can neither overtake older ones nor come twice.

`rooms` is always the session's own mapping: room → the offset after which it gets what goes there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bridge.core.entry import Logged
from bridge.core.window import Window


class Owed(NamedTuple):
    """An entry to send, and the room by which the session gets it."""

    logged: Logged
    room: str


@dataclass(slots=True)
class _LookBack:
    """A stretch of the log behind the cursor, for rooms that came in with a position of their own."""

    rooms: frozenset[str]
    after: int
    up_to: int


class Replay:
    """A cursor through the window for one session.

    `cursor` is the offset up to which the session has what goes to its rooms.
    """

    def __init__(self, window: Window, *, after: int) -> None:
        """Owe everything after this offset."""
        self._window = window
        self._look_backs: deque[_LookBack] = deque()
        self.cursor = after

    @property
    def done(self) -> bool:
        """Whether nothing is owed any more; the session can go live at this very moment."""
        return not self._look_backs and self.cursor >= self._window.head

    def look_back(self, rooms: Collection[str], *, after: int) -> None:
        """Owe what went to these rooms from `after` up to the cursor as well."""
        for earlier in self._look_backs:
            earlier.rooms -= frozenset(rooms)  # They were left meanwhile, and begin anew.
        self._look_backs.append(_LookBack(frozenset(rooms), after, self.cursor))

    def read(self, rooms: Mapping[str, int], entries_max: int) -> list[Owed] | None:
        """Return the next entries owed, and move on. There can be none before `done`.

        None means that the window has left the cursor behind: what is owed is no longer there, and
        the socket must be closed.
        """
        if self._look_backs:
            return self._read_back(self._look_backs[0], rooms, entries_max)
        if self.cursor < self._window.floor:
            return None
        head = self._window.head
        found = self._window.read(rooms.keys(), after=self.cursor, up_to=head, entries_max=entries_max)
        self.cursor = found[-1].offset if len(found) == entries_max else head
        return [Owed(logged, room) for logged in found if (room := _room_for(logged, rooms)) is not None]

    def _read_back(self, back: _LookBack, rooms: Mapping[str, int], entries_max: int) -> list[Owed] | None:
        if back.after < self._window.floor:
            return None
        later = frozenset().union(*(behind.rooms for behind in self._look_backs if behind is not back))
        wanted = {room: offset for room, offset in rooms.items() if room in back.rooms}
        others = {room: offset for room, offset in rooms.items() if room not in back.rooms | later}
        found = self._window.read(wanted.keys(), after=back.after, up_to=back.up_to, entries_max=entries_max)
        if len(found) < entries_max:
            self._look_backs.popleft()
        else:
            back.after = found[-1].offset
        # What another room of the session has brought must not come by this one again.
        return [
            Owed(logged, room)
            for logged in found
            if (room := _room_for(logged, wanted)) is not None and _room_for(logged, others) is None
        ]


def _room_for(logged: Logged, rooms: Mapping[str, int]) -> str | None:
    """Return the first target by which a session in these rooms gets an entry, None if by none."""
    for room in logged.entry.targets:
        after = rooms.get(room)
        if after is not None and logged.offset > after:
            return room
    return None
