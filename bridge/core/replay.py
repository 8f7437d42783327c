"""What a session is still owed from the replay window: in log order, each entry once.

While a replay runs the session is in no room of the hub: newer events wait in the window and come
in their turn, so that they can neither overtake older ones nor come twice. One cursor goes through
the log for all rooms; a room that asks for older events sets it back, and what had been sent by then
is remembered as a stretch for each room, so that it is not sent again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from bridge.core.entry import Logged
from bridge.core.window import Window


class Owed(NamedTuple):
    """An entry to send, and the room by which the session gets it."""

    logged: Logged
    room: str


class Replay:
    """A cursor through the window for one session.

    `rooms` is always the session's own mapping: room → the offset after which it gets what goes there.
    """

    def __init__(self, window: Window, *, after: int) -> None:
        """Owe everything after this offset."""
        self._window = window
        self._read_to = after
        self._ahead: list[Logged] = []  # Read and not taken yet, the next one last.
        self._sent: dict[str, dict[int, int]] = {}  # By room, for each stay: after this offset, up to that.

    @property
    def done(self) -> bool:
        """Whether all has been taken: the session can go live at this very moment."""
        return not self._ahead and self._read_to >= self._window.head

    def look_back(self, rooms: Mapping[str, int], new: Collection[str], *, after: int) -> None:
        """Owe as well what went to the `new` rooms since `after`; the session was in `rooms` before."""
        sent_to = self._ahead[-1].offset - 1 if self._ahead else self._read_to
        for room, start in rooms.items():
            stays = self._sent.setdefault(room, {})
            stays[start] = max(stays.get(start, start), sent_to)
        for room in new:  # Asked for again, whatever was sent when it was joined before.
            self._sent.pop(room, None)
        self._ahead = []
        self._read_to = min(sent_to, after)

    def take(self, rooms: Mapping[str, int], *, entries_max: int, bytes_max: int) -> list[Owed] | None:
        """Return the next entries owed, in order: at least one, as long as there are any.

        None means that what is owed has left the window: the caller must close the socket.
        """
        taken: list[Owed] = []
        bytes_taken = 0
        while len(taken) < entries_max and not self.done:
            if not self._ahead and not self._read(rooms, entries_max):
                return None
            while self._ahead and len(taken) < entries_max:
                logged = self._ahead[-1]
                room = self._room_for(logged, rooms)
                size = len(logged.entry.payload) if room is not None else 0
                if taken and bytes_taken + size > bytes_max:
                    return taken
                self._ahead.pop()
                if room is not None:
                    taken.append(Owed(logged, room))
                    bytes_taken += size
        return taken

    def _read(self, rooms: Mapping[str, int], entries_max: int) -> bool:
        """Read on; False when the window has left the cursor behind."""
        if self._read_to < self._window.floor:
            return False
        head = self._window.head
        found = self._window.read(rooms.keys(), after=self._read_to, up_to=head, entries_max=entries_max)
        self._read_to = found[-1].offset if len(found) == entries_max else head
        self._ahead = list(found[::-1])
        return True

    def _room_for(self, logged: Logged, rooms: Mapping[str, int]) -> str | None:
        """Return the room by which a session in these rooms is owed an entry, None if it is not owed."""
        owed_by = None
        for room in logged.entry.targets:
            if any(first < logged.offset <= last for first, last in self._sent.get(room, {}).items()):
                return None
            after = rooms.get(room)
            if owed_by is None and after is not None and logged.offset > after:
                owed_by = room
        return owed_by
