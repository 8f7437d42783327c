"""Asks about users: each question once for all who ask it at the same time, and not again for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bridge.core.answers import Answers
from bridge.core.authority import UnavailableError
from bridge.core.stats import Stats

ASKED_AT_ONCE_MAX = 10_000  # Questions under way; one more is refused, and may be asked again.
TRIES_MAX = 3

Ask: TypeAlias = Callable[[str, Sequence[str]], Awaitable[Collection[str]]]


@dataclass(slots=True)
class _Flight:
    """A question under way. An outdated one was asked before what it asks about may have changed."""

    task: asyncio.Task[frozenset[str]]
    outdated: bool = False


class Asker:
    """Answers which of some names are granted to a user, from memory or by asking."""

    def __init__(self, subject: str, ask: Ask, answers: Answers, stats: Stats) -> None:
        """`ask` returns the names that are granted, or raises UnavailableError. `subject` is for metrics."""
        self._subject = subject
        self._ask = ask
        self._answers = answers
        self._stats = stats
        self._flights: dict[str, dict[tuple[str, ...], _Flight]] = {}
        self._tasks: set[asyncio.Task[frozenset[str]]] = set()

    async def granted(self, user_id: str, names: Collection[str]) -> frozenset[str]:
        """Return the names that are granted.

        An answer that was asked for before a `forget` is not good enough after it: the question is
        asked again.

        Raises:
            UnavailableError: there is no answer at the moment.
        """
        for _ in range(TRIES_MAX):
            known = self._answers.known(user_id, names, _now())
            missing = tuple(sorted(name for name in names if name not in known))
            self._stats.database_answers[self._subject, "remembered"] += len(known)
            granted = frozenset(name for name in known if known[name])
            if not missing:
                return granted
            flight = self._flight(user_id, missing)
            found = await asyncio.shield(flight.task)
            if not flight.outdated:
                return granted | found
        raise UnavailableError("what is asked about keeps changing")

    def forget(self, user_id: str) -> None:
        """Ask anew about this user from now on."""
        self._answers.forget(user_id)
        for flight in self._flights.pop(user_id, {}).values():
            flight.outdated = True

    def forget_all(self) -> None:
        """Ask anew about everybody from now on."""
        self._answers.clear()
        for user_id in list(self._flights):
            self.forget(user_id)

    async def close(self) -> None:
        """Give up what is under way. Idempotent."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _flight(self, user_id: str, missing: tuple[str, ...]) -> _Flight:
        flight = self._flights.get(user_id, {}).get(missing)
        if flight is not None:
            self._stats.database_answers[self._subject, "shared"] += len(missing)
            return flight
        if len(self._tasks) >= ASKED_AT_ONCE_MAX:
            self._stats.database_answers[self._subject, "unavailable"] += len(missing)
            raise UnavailableError("too many questions are under way")
        # A task, because whoever asked first may leave, and the others still want to know.
        flight = _Flight(asyncio.get_running_loop().create_task(self._found(user_id, missing)))
        self._flights.setdefault(user_id, {})[missing] = flight
        self._tasks.add(flight.task)
        flight.task.add_done_callback(lambda _: self._landed(user_id, missing, flight))
        return flight

    async def _found(self, user_id: str, missing: tuple[str, ...]) -> frozenset[str]:
        return frozenset(await self._ask(user_id, missing)).intersection(missing)

    def _landed(self, user_id: str, missing: tuple[str, ...], flight: _Flight) -> None:
        self._tasks.discard(flight.task)
        if not flight.outdated:
            flights = self._flights[user_id]
            del flights[missing]
            if not flights:
                del self._flights[user_id]
        if flight.task.cancelled() or flight.task.exception() is not None:
            self._stats.database_answers[self._subject, "unavailable"] += len(missing)
            return
        self._stats.database_answers[self._subject, "asked"] += len(missing)
        if not flight.outdated:
            found = flight.task.result()
            self._answers.remember(user_id, {name: name in found for name in missing}, _now())


def _now() -> float:
    return asyncio.get_running_loop().time()
