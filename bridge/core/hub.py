"""Which sockets are in which rooms."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Generic, TypeVar

M = TypeVar("M")


class Hub(Generic[M]):
    """Rooms and their members. A room exists while it has members, so there is nothing to clean up."""

    def __init__(self) -> None:
        """Start without rooms."""
        # A dict keeps the order of joining, which makes fan-out fair and tests exact.
        self._rooms: dict[str, dict[M, None]] = {}

    def __len__(self) -> int:
        """Return the number of rooms."""
        return len(self._rooms)

    def join(self, member: M, room: str) -> None:
        """Put a member into a room; nothing happens if it is there already."""
        self._rooms.setdefault(room, {})[member] = None

    def leave(self, member: M, rooms: Iterable[str]) -> None:
        """Take a member out of rooms; nothing happens where it is not."""
        for room in rooms:
            members = self._rooms.get(room)
            if members is not None:
                members.pop(member, None)
                if not members:
                    del self._rooms[room]

    def members(self, room: str) -> Collection[M]:
        """Return the members of a room; a live view."""
        return self._rooms.get(room, {}).keys()

    def audience(self, targets: Iterable[str]) -> Sequence[tuple[str, Sequence[M]]]:
        """Return each target room that has members with those to serve there.

        A member of several targets is served in the first of them only.
        """
        rooms = self._rooms
        occupied = [(room, list(rooms[room])) for room in targets if room in rooms]
        if len(occupied) <= 1:  # Nearly always.
            return occupied
        served: set[M] = set()
        audience = []
        for room, members in occupied:
            fresh = [member for member in members if member not in served]
            served.update(fresh)
            if fresh:
                audience.append((room, fresh))
        return audience
