"""Remembers recent event identities, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.core.entry import EventKey

COPY_SECONDS = 60.0  # An append that was not confirmed is tried again well within this.
LONG_AGO = float("-inf")  # When the log has shown what it has not shown yet.
PART_KEYS = 8_192  # Identities; few enough that a part grows or forgets within a millisecond.


class RecentKeys:
    """The identities seen within a time window, as two generations, each with a time that it is to keep.

    A key is remembered for at least `window_seconds` and at most twice that, unless more than
    `keys_max` arrive in one window; then the oldest generation goes early. A generation is let go of
    whole, and a dict that grows is copied: both take a while if `keys_max` is large.
    Times are in seconds and only ever compared with each other.
    """

    def __init__(self, *, window_seconds: float, keys_max: int, phase_seconds: float = 0.0) -> None:
        """Start empty; `keys_max` bounds both generations together.

        Generations begin at the multiples of `window_seconds` and so long after: what has another phase
        is busy at another time.
        """
        self._window_seconds = window_seconds
        self._generation_keys_max = max(1, keys_max // 2)
        self._current: dict[EventKey, float] = {}
        self._previous: dict[EventKey, float] = {}
        self._turned_at = phase_seconds - window_seconds
        self._turns_at = phase_seconds
        self._outdated = False  # Set until the times are made so.

    def __contains__(self, key: EventKey) -> bool:
        """Tell whether the key was remembered recently."""
        return key in self._current or key in self._previous

    def __len__(self) -> int:
        """Return the number of keys held."""
        return len(self._current) + len(self._previous)

    def expire(self, now: float) -> None:
        """Forget what is too old. Call before looking up: a quiet system remembers nothing new."""
        if now < self._turns_at:
            return
        age = now - self._turned_at
        # After two windows even the current generation is too old to become the previous one.
        previous = self._current if age < 2 * self._window_seconds else {}
        self._turn(previous, now - age % self._window_seconds)

    def remember(self, key: EventKey, now: float, at: float | None = None) -> float | None:
        """Remember a key from now on, with the time `at`, else `now`; of several times it keeps the latest.

        Returns the time that it had, None if it was not known.
        """
        if now >= self._turns_at:
            self.expire(now)
        if self._outdated:
            self._outdate()
        if at is None:
            at = now
        before = self._current.get(key)
        if before is None:
            before = self._previous.get(key)
            if len(self._current) >= self._generation_keys_max:
                self._turn(self._current, now)
        self._current[key] = at if before is None or at > before else before
        return before

    def outdate(self) -> None:
        """Give every key a time long ago. Done when the first of them is remembered again."""
        self._outdated = True

    def _outdate(self) -> None:
        self._current = dict.fromkeys(self._current, LONG_AGO)
        self._previous = dict.fromkeys(self._previous, LONG_AGO)
        self._outdated = False

    def _turn(self, previous: dict[EventKey, float], at: float) -> None:
        self._previous = previous
        self._current = {}
        self._turned_at = at
        self._turns_at = at + self._window_seconds


class Once:
    """Which events are in the log, or about to be: what makes each stand there, and be sent, once.

    Whether an event is logged is decided by what the log has shown within the window, by what this node
    has logged and the log not shown yet, and by what it is logging at the moment; that goes by this node's
    clock. Whether an entry is sent is decided by when the log has shown the event before, in the log's own
    time, so that every node leaves out the same copy.

    The memory is in many parts, and an event's id says in which it stands: one dict of a million
    identities stops everything when it grows, and again when it is let go of.
    """

    def __init__(self, *, window_seconds: float, keys_max: int) -> None:
        """Remember for the window, and never for less than COPY_SECONDS; `keys_max` bounds the memory."""
        seconds = max(window_seconds, COPY_SECONDS)
        parts = max(1, keys_max // PART_KEYS)
        self._parts = [
            RecentKeys(
                window_seconds=seconds, keys_max=keys_max // parts, phase_seconds=seconds * part / parts
            )
            for part in range(parts)
        ]
        self._logging: set[EventKey] = set()  # At most as many as deliveries are in hand.

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return sum([len(part) for part in self._parts]) + len(self._logging)

    def claim(self, key: EventKey, now: float) -> bool:
        """Tell whether this event is to be logged; if so, `logged` or `release` must follow."""
        part = self._part(key)
        part.expire(now)
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
            part = self._part(key)
            if key not in part:  # Else the log has shown it already.
                part.remember(key, now, LONG_AGO)

    def first_shown(self, key: EventKey, logged_at: float, now: float) -> bool:
        """Note that the log has shown an event; tell whether it is no copy of one shown shortly before.

        An append that is not confirmed is tried again, and may have succeeded before. `logged_at` may be of
        another node's clock, so nothing is forgotten by it.
        """
        before = self._part(key).remember(key, now, logged_at)
        return before is None or abs(logged_at - before) > COPY_SECONDS

    def forget_copies(self) -> None:
        """Take everything that is shown from now on for new: the log is read again."""
        for part in self._parts:
            part.outdate()

    def _part(self, key: EventKey) -> RecentKeys:
        return self._parts[hash(key.event_id) % len(self._parts)]
