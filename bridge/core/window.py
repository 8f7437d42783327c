"""The replay window: the newest part of the log, kept in memory, by room.

A client that comes back with a position inside the window gets what it missed from here. Looking
up costs by what was missed in its rooms, never by how much the window holds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import attrgetter

from bridge.core.entry import Entry, EventKey, Logged, Position
from bridge.core.policy import Policy

_OFFSET = attrgetter("offset")
ENTRY_OVERHEAD_BYTES = 600  # An entry's objects beside its payload, as measured with tracemalloc.
# Entries let go of for their age with each batch, beside as many as come: after a pause all may be too old,
# and to free hundreds of thousands in one go takes half a second.
AGED_AT_ONCE_MAX = 1_000
GONE_MAX = 4_096  # Entries of a room that are gone and keep their places until all are taken out in one go.


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """How much of the log is kept: by age and by (estimated) bytes in memory."""

    seconds_max: float
    bytes_max: int


# Stands where an entry was.
_GONE = Logged(0, Entry(EventKey("", ""), (), Policy.MUST_DELIVER, "", 0.0, None, b""))


class _Trail:
    """The entries of one room in the window, in log order."""

    __slots__ = ("entries", "start")

    def __init__(self) -> None:
        self.entries: list[Logged] = []
        self.start = 0  # Entries before this index have left the window.

    def drop_first(self) -> bool:
        """Forget the oldest entry; tell whether none is left."""
        self.entries[self.start] = _GONE  # Freed now, and not with half of all others in one go.
        self.start += 1
        if self.start * 2 > len(self.entries) or self.start == GONE_MAX:
            del self.entries[: self.start]
            self.start = 0
        return len(self.entries) == self.start

    def after(self, offset: int) -> Iterator[Logged]:
        index = bisect_right(self.entries, offset, lo=self.start, key=_OFFSET)
        return islice(self.entries, index, None)

    def newest(self, count: int) -> list[Logged]:
        return self.entries[max(self.start, len(self.entries) - count) :]


class Window:
    """The newest entries of one life of the log.

    `floor` is the offset up to which entries are gone or were never seen; `head` is the newest seen.
    """

    def __init__(self, limits: WindowLimits) -> None:
        """Start empty; `begin` says where."""
        self._limits = limits
        self._entries: deque[tuple[float, Logged]] = deque()  # With the time of arrival.
        self._trails: dict[str, _Trail] = {}
        self._bytes = 0
        self.epoch = ""
        self.floor = 0
        self.head = 0

    def __len__(self) -> int:
        """Return how many entries are held."""
        return len(self._entries)

    @property
    def bytes_held(self) -> int:
        """How many bytes are held, by estimate."""
        return self._bytes

    @property
    def oldest_at(self) -> float | None:
        """When the oldest entry that is held came in; None if none is. Seconds since the Unix epoch."""
        return self._entries[0][0] if self._entries else None

    @property
    def position(self) -> Position:
        """The place of the newest entry seen."""
        return Position(self.epoch, self.head)

    def begin(self, position: Position) -> None:
        """Start a life of the log: everything up to this position is out of reach."""
        self._entries.clear()
        self._trails.clear()
        self._bytes = 0
        self.epoch, self.floor = position
        self.head = position.offset

    def advance(self, offset: int) -> None:
        """Note that the log has come to this offset without an entry for sockets."""
        self.head = max(self.head, offset)

    def append(self, batch: Iterable[Logged], now: float) -> None:
        """Take in newer entries, and let go of what is too old or too much. `now` in seconds."""
        trails = self._trails
        before = len(self._entries)
        for logged in batch:
            entry = logged.entry
            self.head = logged.offset
            self._entries.append((now, logged))
            self._bytes += len(entry.payload) + ENTRY_OVERHEAD_BYTES
            for room in entry.targets:
                trail = trails.get(room)
                if trail is None:
                    trail = trails[room] = _Trail()
                trail.entries.append(logged)
        self.trim(now, len(self._entries) - before)

    def trim(self, now: float, came: int = 0) -> None:
        """Let go of what is too much, and of what is too old as many as `came` and AGED_AT_ONCE_MAX more."""
        entries = self._entries
        while entries and self._bytes > self._limits.bytes_max:
            self._let_go()
        oldest_at = now - self._limits.seconds_max
        for _ in range(came + AGED_AT_ONCE_MAX):
            if not entries or entries[0][0] >= oldest_at:
                break
            self._let_go()

    def _let_go(self) -> None:
        """Forget the oldest entry."""
        _, logged = self._entries.popleft()
        self._bytes -= len(logged.entry.payload) + ENTRY_OVERHEAD_BYTES
        self.floor = logged.offset
        for room in logged.entry.targets:
            if self._trails[room].drop_first():
                del self._trails[room]

    def covers(self, since: Position) -> bool:
        """Tell whether everything after this position is here."""
        return bool(self.epoch) and since.epoch == self.epoch and self.floor <= since.offset <= self.head

    def read(self, rooms: Collection[str], *, after: int, up_to: int, entries_max: int) -> Sequence[Logged]:
        """Return the first `entries_max` entries for any of these rooms with `after` < offset ≤ `up_to`.

        Each entry once, in log order. Fewer than `entries_max` means that there are no more.
        """
        trails = [trail.after(after) for room in rooms if (trail := self._trails.get(room)) is not None]
        found: list[Logged] = []
        last = after
        for logged in merge(*trails, key=_OFFSET) if len(trails) > 1 else (trails[0] if trails else ()):
            if logged.offset > up_to or len(found) == entries_max:
                break
            if logged.offset != last:
                found.append(logged)
                last = logged.offset
        return found

    def newest(self, count: int) -> list[tuple[float, Logged]]:
        """Return the newest entries, at most so many, in log order, each with the time of its arrival."""
        return list(islice(reversed(self._entries), count))[::-1]

    def newest_of(self, room: str, count: int) -> list[Logged]:
        """Return the newest entries for a room, at most so many, in log order."""
        trail = self._trails.get(room)
        return trail.newest(count) if trail is not None else []
