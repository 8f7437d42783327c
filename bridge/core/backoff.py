"""How long to wait before trying again."""

from __future__ import annotations

import random


class Backoff:
    """Exponential back-off with full jitter, so that many nodes do not return as one.

    The n-th wait is uniform between 0 and min(`seconds_max`, `seconds_first` × 2ⁿ).
    """

    def __init__(self, *, seconds_first: float, seconds_max: float) -> None:
        """Start with the first wait."""
        self._seconds_first = seconds_first
        self._seconds_max = seconds_max
        self._tries = 0

    def reset(self) -> None:
        """Begin again with the first wait; call after a success."""
        self._tries = 0

    def next(self) -> float:
        """Return the next wait in seconds."""
        ceiling = min(self._seconds_max, self._seconds_first * 2**self._tries)
        self._tries = min(self._tries + 1, 32)
        return random.uniform(0, ceiling)  # noqa: S311 - jitter, not a secret
