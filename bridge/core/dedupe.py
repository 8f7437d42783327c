"""Remembers recent event identities, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from bridge.core.entry import EventKey

Generation = dict[EventKey, float]

COPY_SECONDS = 60.0  # An append that was not confirmed is tried again well within this.
LONG_AGO = float("-inf")  # Makes nothing a copy: not shown yet, or shown in an earlier reading of the log.
PART_KEYS = 8_192  # Identities that a part can hold, at least: so few that it grows within a millisecond.
FREED_AT_ONCE_MAX = 4  # Identities with each look: more than come.


class RecentKeys:
    """The identities seen within a time window, as two generations, each with a time that it is to keep.

    A key is remembered for at least `window_seconds` and at most twice that. If a generation is full before
    its time, the one before it goes early, which `shortened` counts, and the new one may last up to twice as
    long: at worst a key is pushed out by half of `keys_max` others. What is forgotten goes to `gone`, for
    somebody to free: a large dict takes a while for that, as it does to grow.
    Times are in seconds and only ever compared with each other.
    """

    def __init__(
        self, gone: deque[Generation], *, window_seconds: float, keys_max: int, phase_seconds: float = 0.0
    ) -> None:
        """Start empty; `keys_max` bounds both generations together.

        Generations end at the multiples of `window_seconds` and so long after: what has another phase
        is busy at another time.
        """
        self._gone = gone
        self._window_seconds = window_seconds
        self._generation_keys_max = max(1, keys_max // 2)
        self._current: Generation = {}
        self._previous: Generation = {}
        self._turns_at = phase_seconds
        self._outdated = False  # Set while the times are still to be replaced.
        self.shortened = 0

    def __contains__(self, key: EventKey) -> bool:
        """Tell whether the key was remembered recently."""
        return key in self._current or key in self._previous

    def __len__(self) -> int:
        """Return the number of keys held."""
        return len(self._current) + len(self._previous)

    def expire(self, now: float) -> None:
        """Forget what is too old. Call before looking up: a quiet system remembers nothing new."""
        late = now - self._turns_at
        if late < 0.0:
            return
        turns_at = now + self._window_seconds - late % self._window_seconds
        self._turn(turns_at)
        if late >= self._window_seconds:  # The one that began then has ended too.
            self._turn(turns_at)

    def remember(self, key: EventKey, now: float, at: float) -> float | None:
        """Remember a key from now on, with the time `at`; of several times it keeps the latest.

        Returns the time that it had, None if it was not known.
        """
        if now >= self._turns_at:
            self.expire(now)
        if self._outdated:
            self._outdate()
        before = self._current.get(key)
        if before is None:
            before = self._previous.get(key)
            if len(self._current) >= self._generation_keys_max:
                self.shortened += 1
                # At the next moment of its phase that gives this generation a whole window.
                window_seconds = self._window_seconds
                self._turn(now + window_seconds + (self._turns_at - now) % window_seconds)
        self._current[key] = at if before is None or at > before else before
        return before

    def outdate(self) -> None:
        """Give every key a time long ago. Done when something is remembered next."""
        self._outdated = True

    def _outdate(self) -> None:
        self._current = dict.fromkeys(self._current, LONG_AGO)
        self._previous = dict.fromkeys(self._previous, LONG_AGO)
        self._outdated = False

    def _turn(self, turns_at: float) -> None:
        """Begin a generation that ends at a time."""
        if self._previous:
            self._gone.append(self._previous)
        self._previous = self._current
        self._current = {}
        self._turns_at = turns_at


class Once:
    """Which events are in the log, or about to be: what makes each stand there, and be sent, once.

    Whether an event is logged is decided by what the log has shown within the window, by what this node
    has logged and the log not shown yet, and by what it is logging at the moment; that goes by this node's
    clock. Whether an entry is sent is decided by when the log has shown the event before, in the log's own
    time, so that every node leaves out the same copy.

    A large memory is in many parts, and an event's id says in which it stands: one dict of a million
    identities stops everything when it grows. What is forgotten is freed little by little.
    """

    def __init__(self, *, window_seconds: float, keys_max: int) -> None:
        """Remember for the window, and never for less than COPY_SECONDS; `keys_max` bounds the memory."""
        seconds = max(window_seconds, COPY_SECONDS)
        parts = max(1, keys_max // PART_KEYS)
        self._gone: deque[Generation] = deque()
        self._parts = [
            RecentKeys(
                self._gone,
                window_seconds=seconds,
                keys_max=keys_max // parts,
                phase_seconds=seconds * part / parts,
            )
            for part in range(parts)
        ]
        self._next = 0  # The part to be looked at next by the way.
        self._logging: set[EventKey] = set()  # At most as many as deliveries are in hand.

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return sum([len(part) for part in self._parts]) + len(self._logging)

    @property
    def shortened(self) -> int:
        """How many generations went early, because more keys came than are held."""
        return sum([part.shortened for part in self._parts])

    def claim(self, key: EventKey, now: float) -> bool:
        """Tell whether this event is to be logged; if so, `logged` or `release` must follow."""
        part = self._part(key, now)
        if key in part or key in self._logging:
            return False
        self._logging.add(key)
        return True

    def release(self, keys: Iterable[EventKey]) -> None:
        """Note that these were not logged, as far as is known."""
        self._logging.difference_update(keys)

    def logged(self, keys: Iterable[EventKey], now: float) -> None:
        """Note that the log has confirmed these."""
        for key in keys:
            self._logging.discard(key)
            self._part(key, now).remember(key, now, LONG_AGO)  # If it was shown already, that time stays.

    def first_shown(self, key: EventKey, logged_at: float, now: float) -> bool:
        """Note that the log has shown an event; tell whether it is no copy of one shown shortly before.

        An append that is not confirmed is tried again, and may have succeeded before. `logged_at` may be of
        another node's clock, so nothing is forgotten by it.
        """
        before = self._part(key, now).remember(key, now, logged_at)
        return before is None or abs(logged_at - before) > COPY_SECONDS

    def forget_copies(self) -> None:
        """Take everything that is shown from now on for new: the log is read again."""
        for part in self._parts:
            part.outdate()

    def _part(self, key: EventKey, now: float) -> RecentKeys:
        """Return the part of a key, without what is too old; so is one other, for there may be few events."""
        if self._gone:
            self._free()
        parts = self._parts
        self._next = (self._next + 1) % len(parts)
        parts[self._next].expire(now)
        part = parts[hash(key.event_id) % len(parts)]
        part.expire(now)
        return part

    def _free(self) -> None:
        """Free some of what was forgotten."""
        generation = self._gone[0]
        for _ in range(min(FREED_AT_ONCE_MAX, len(generation))):
            generation.popitem()
        if not generation:
            self._gone.popleft()
