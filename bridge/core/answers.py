"""Answers that are remembered for a short time: yes or no, by user and by what was asked about the user.

Bounded twice: in all, where the user asked about longest ago gives way whole, and for each user, so that
one who asks about a thousand rooms takes no room from others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

PER_USER_MAX = 1_000


class Answers:
    """A cache with a time to live. Times are in seconds of any clock that does not go back."""

    def __init__(self, *, seconds_max: float, answers_max: int) -> None:
        """Remember each answer for `seconds_max` (0: not at all), and so many at once."""
        self._seconds_max = seconds_max
        self._answers_max = answers_max
        self._users: OrderedDict[str, dict[str, tuple[bool, float]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def known(self, user_id: str, names: Iterable[str], now: float) -> dict[str, bool]:
        """Return the answers that are remembered and not too old."""
        held = self._users.get(user_id, {})
        return {name: held[name][0] for name in names if name in held and now < held[name][1]}

    def remember(self, user_id: str, answers: Mapping[str, bool], now: float) -> None:
        """Remember answers that were given at this time."""
        if self._seconds_max <= 0:
            return
        held = self._users.setdefault(user_id, {})
        self._users.move_to_end(user_id)
        before = len(held)
        for name, answer in answers.items():
            held.pop(name, None)  # So that the dictionary's order is that of age.
            held[name] = (answer, now + self._seconds_max)
        for name in list(held)[: max(0, len(held) - min(PER_USER_MAX, self._answers_max))]:
            del held[name]
        self._count += len(held) - before
        while self._count > self._answers_max:
            self._drop(next(iter(self._users)))

    def forget(self, user_id: str) -> None:
        """Remember nothing about this user."""
        if user_id in self._users:
            self._drop(user_id)

    def clear(self) -> None:
        """Remember nothing."""
        self._users.clear()
        self._count = 0

    def _drop(self, user_id: str) -> None:
        self._count -= len(self._users.pop(user_id))
