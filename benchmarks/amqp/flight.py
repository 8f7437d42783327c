"""Events under way: when each left, and how long it took. Pure: time comes from the caller."""

from __future__ import annotations

from benchmarks.figures import percentile


class Flight:
    """A run of events with consecutive numbers, which leave in order and arrive in any."""

    __slots__ = ("_first", "_left_at", "_milliseconds", "left", "twice")

    def __init__(self, first: int, events: int) -> None:
        """The first has this number."""
        self._first = first
        self._left_at: list[float | None] = [None] * events  # None before an event left and once it is there.
        self._milliseconds: list[float] = []
        self.left = 0
        self.twice = 0  # How many came that were not under way.

    @property
    def arrived(self) -> int:
        """How many have arrived."""
        return len(self._milliseconds)

    @property
    def under_way(self) -> int:
        """How many have left and not arrived."""
        return self.left - self.arrived

    def leave(self, events: int, at: float) -> None:
        """Note that so many further events leave at this time, in seconds."""
        self._left_at[self.left : self.left + events] = [at] * events
        self.left += events

    def arrive(self, number: int, at: float) -> None:
        """Note that an event is there. One of an earlier run is counted as one too many."""
        index = number - self._first
        left_at = self._left_at[index] if 0 <= index < len(self._left_at) else None
        if left_at is None:
            self.twice += 1
            return
        self._left_at[index] = None
        self._milliseconds.append((at - left_at) * 1e3)

    def summary(self) -> dict[str, float]:
        """Return the times in ms of all that have arrived, at least one, and how many came twice."""
        ascending = sorted(self._milliseconds)
        return {
            "p50": percentile(ascending, 0.50),
            "p99": percentile(ascending, 0.99),
            "max": ascending[-1],
            "twice": self.twice,
        }
