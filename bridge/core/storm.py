"""Event storms: more events of one type for one user than a browser should see.

Over the ceiling only the newest event of each kind goes on, and not at once: it is held, until a newer
one takes its place or `HELD_SECONDS_MAX` have passed. What is one kind follows from the event type's
policy: for one that conflates, its conflation key; for one that drops the oldest, all that the user gets
of the type. Types that must be delivered have no ceiling, nor have durable ones: an inbox holds them all.

So a user gets of a type at most the ceiling, and beyond it one event per kind in each such time; and
always the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from bridge.core.entry import Entry
from bridge.core.policy import Policy
from bridge.core.rooms import user_room

T = TypeVar("T")

_USERS = user_room("")

HELD_SECONDS_MAX = 0.5  # Half of what a change of a quota or a device may take on a bad day.
QUIET_SECONDS = 5.0  # A storm is over when nothing has been left out for so long.
STORMS_MAX = 1_000  # Known by name at a time; the events of further ones are counted, not told.
BUCKETS_MAX = 200_000  # In both generations together.


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Events per second of one type for one user; 0 is any number. `types` go before the default.

    `exempt` are types without a ceiling, whatever the others say.
    """

    default: float = 0.0
    types: Mapping[str, float] = field(default_factory=dict)
    exempt: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return any((self.default, *self.types.values()))

    def of(self, event_type: str) -> float:
        """Return the ceiling of an event type."""
        return 0.0 if event_type in self.exempt else self.types.get(event_type, self.default)

    @property
    def lowest(self) -> float:
        """The lowest that there is, 1 if there is none below."""
        return min([1.0, *(one for one in (self.default, *self.types.values()) if one)])


class Subject(NamedTuple):
    """Whose events of which type a ceiling is for: a user's, or those of a room if there is no user."""

    event_type: str
    owner: str

    @classmethod
    def of(cls, entry: Entry) -> Subject:
        """Return the subject of an event."""
        users = (room for room in entry.targets if room.startswith(_USERS))
        return cls(entry.key.event_type, next(users, entry.targets[0] if entry.targets else ""))


@dataclass(slots=True)
class Storm:
    """A storm under way: what it has cost so far. Times are monotonic, in seconds."""

    subject: Subject
    policy: Policy
    began_at: float
    last_at: float
    events: int = 0  # Conflated or dropped, as the policy has it.


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """An event over the ceiling. `origin` is what the caller wants back with it."""

    entry: Entry
    origin: T
    due_at: float


class Ruling(NamedTuple, Generic[T]):
    """What becomes of an event: it passes, or it is held. `superseded` is the one whose place it takes."""

    passes: bool
    superseded: Held[T] | None = None
    began: Storm | None = None  # Set when that makes it a storm.


class Storms(Generic[T]):
    """The ceilings of one domain, and what is over them. Pure: time is handed in, monotonic, in seconds."""

    def __init__(self, ceilings: Ceilings) -> None:
        """Begin in calm."""
        self._ceilings = ceilings
        self._full_at = _Recent(seconds=1 / ceilings.lowest, keys_max=BUCKETS_MAX)
        self._held: dict[tuple[Subject, str], Held[T]] = {}  # The one that is due first comes first.
        self._storms: dict[Subject, Storm] = {}  # The one that was quiet for longest comes first.

    def rule(self, entry: Entry, origin: T, now: float) -> Ruling[T]:
        """Judge an event that is about to be logged, in the order of its queue.

        Every one that is held comes back, as `superseded` or from `due`.
        """
        ceiling = self._ceilings.of(entry.key.event_type)
        if not ceiling or entry.policy is Policy.MUST_DELIVER:
            return Ruling(passes=True)
        subject = Subject.of(entry)
        kind = (subject, entry.conflate_key)
        former = self._held.get(kind)
        passes = self._take(subject, ceiling, now)
        if passes:
            self._held.pop(kind, None)
        else:
            # It keeps the place and the time of the one before: else none would ever be due.
            self._held[kind] = Held(entry, origin, former.due_at if former else now + HELD_SECONDS_MAX)
        began = None if former is None else self._count(subject, entry.policy, now)
        return Ruling(passes, former, began)

    def due(self, now: float) -> Sequence[Held[T]]:
        """Return those that have been held for long enough, in their order: log them now."""
        found = []
        for held in self._held.values():
            if held.due_at > now:
                break
            found.append(held)
        for _ in found:
            del self._held[next(iter(self._held))]
        return found

    def over(self, now: float) -> Sequence[Storm]:
        """Return the storms that have ended, and forget them."""
        found = []
        for storm in self._storms.values():
            if now - storm.last_at < QUIET_SECONDS:
                break
            found.append(storm)
        for storm in found:
            del self._storms[storm.subject]
        return found

    def next_at(self) -> float | None:
        """Return when `due` or `over` will have something, unless it is calm."""
        times = [held.due_at for held in islice(self._held.values(), 1)]
        times += [storm.last_at + QUIET_SECONDS for storm in islice(self._storms.values(), 1)]
        return min(times, default=None)

    def forget_held(self) -> Sequence[Held[T]]:
        """Return all that are held, due or not, and hold nothing more."""
        found = list(self._held.values())
        self._held.clear()
        return found

    def _take(self, subject: Subject, ceiling: float, now: float) -> bool:
        """Take a token of a subject's bucket: a second's worth fits in, one at least (ITU-T I.371)."""
        interval = 1 / ceiling
        full_at = max(now, self._full_at.get(subject, now))
        if full_at - now > max(0.0, 1.0 - interval) + 1e-9:
            return False
        self._full_at.put(subject, full_at + interval, now)
        return True

    def _count(self, subject: Subject, policy: Policy, now: float) -> Storm | None:
        """Count an event that was left out; return the storm if it is the first of it."""
        storm = self._storms.pop(subject, None)
        began = storm is None
        if storm is None:
            if len(self._storms) >= STORMS_MAX:
                return None
            storm = Storm(subject, policy, began_at=now, last_at=now)
        storm.events += 1
        storm.last_at = now
        self._storms[subject] = storm
        return storm if began else None


class _Recent:
    """A number per subject, for as long as it means something, as two generations of dictionaries.

    A bucket that was not touched for as long as it takes to fill is full, and as good as none. Past
    `keys_max` the older half is forgotten early, which lets events through rather than hold any.
    """

    def __init__(self, *, seconds: float, keys_max: int) -> None:
        self._seconds = seconds
        self._generation_keys_max = keys_max // 2
        self._current: dict[Subject, float] = {}
        self._previous: dict[Subject, float] = {}
        self._turned_at = float("-inf")

    def __len__(self) -> int:
        return len(self._current) + len(self._previous)

    def get(self, subject: Subject, default: float) -> float:
        value = self._current.get(subject)
        return self._previous.get(subject, default) if value is None else value

    def put(self, subject: Subject, value: float, now: float) -> None:
        is_old = now - self._turned_at >= self._seconds
        is_full = len(self._current) >= self._generation_keys_max and subject not in self._current
        if is_old or is_full:
            self._previous, self._current, self._turned_at = self._current, {}, now
        self._current[subject] = value
