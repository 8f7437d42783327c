"""Asking about users: once for all who ask at the same time, never on the strength of what is outdated."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import pytest

from bridge.core.answers import Answers
from bridge.core.authority import UnavailableError
from bridge.core.stats import Stats
from bridge.store import asking
from bridge.store.asking import TRIES_MAX, Asker
from tests.eventually import eventually


class Oracle:
    """Answers when it is told to. `granted` is what it says at that moment."""

    def __init__(self) -> None:
        """Grant nothing yet."""
        self.granted: set[str] = set()
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.speak = asyncio.Event()
        self.speak.set()
        self.fault: Exception | None = None

    async def __call__(self, user_id: str, names: Sequence[str]) -> Collection[str]:
        """Look first and answer later, as a database does."""
        self.asked.append((user_id, tuple(names)))
        seen = set(self.granted)
        await self.speak.wait()
        if self.fault is not None:
            raise self.fault
        return seen


class Asking:
    """An asker, its oracle, and what it counts."""

    def __init__(self, seconds_max: float = 60.0) -> None:
        """Remember answers for so long."""
        self.oracle = Oracle()
        self.stats = Stats()
        answers = Answers(seconds_max=seconds_max, answers_max=100)
        self.asker = Asker("grant", self.oracle, answers, self.stats)

    def begin(self, user_id: str, *names: str) -> asyncio.Task[frozenset[str]]:
        """Ask, without waiting."""
        return asyncio.get_running_loop().create_task(self.asker.granted(user_id, names))


async def test_remembered() -> None:
    """What was answered is not asked again; what is new is asked alone."""
    asking = Asking()
    asking.oracle.granted = {"a", "c"}

    assert await asking.asker.granted("u1", ["a", "b"]) == {"a"}
    assert await asking.asker.granted("u1", ["b", "a", "c"]) == {"a", "c"}
    assert asking.oracle.asked == [("u1", ("a", "b")), ("u1", ("c",))]
    assert asking.stats.database_answers == {
        ("grant", "remembered"): 2,
        ("grant", "asked"): 3,
    }


async def test_nothing_remembered() -> None:
    """With a life of 0 s each question is asked."""
    asking = Asking(seconds_max=0.0)
    asking.oracle.granted = {"a"}

    for _ in range(3):
        assert await asking.asker.granted("u1", ["a"]) == {"a"}
    assert len(asking.oracle.asked) == 3


async def test_shared() -> None:
    """A hundred who ask the same at once cost one question."""
    asking = Asking()
    asking.oracle.granted = {"a"}
    asking.oracle.speak.clear()
    askers = [asking.begin("u1", "a") for _ in range(100)]
    await eventually(lambda: asking.stats.database_answers["grant", "shared"] == 99)
    asking.oracle.speak.set()

    assert await asyncio.gather(*askers) == [frozenset({"a"})] * 100
    assert len(asking.oracle.asked) == 1


async def test_more_than_asked_for() -> None:
    """What nobody asked about is not granted."""
    asking = Asking()
    asking.oracle.granted = {"a", "b"}

    assert await asking.asker.granted("u1", ["a"]) == {"a"}


async def test_the_first_leaves() -> None:
    """Whoever asked first may leave; the others get their answer."""
    asking = Asking()
    asking.oracle.granted = {"a"}
    asking.oracle.speak.clear()
    first, second = asking.begin("u1", "a"), asking.begin("u1", "a")
    await eventually(lambda: asking.oracle.asked)
    first.cancel()
    asking.oracle.speak.set()

    assert await second == {"a"}
    assert len(asking.oracle.asked) == 1


async def test_forgotten() -> None:
    """After `forget` the user is asked about anew, and no other user."""
    asking = Asking()
    asking.oracle.granted = {"a"}
    for user_id in ("u1", "u2"):
        await asking.asker.granted(user_id, ["a"])
    asking.oracle.granted = set()
    asking.asker.forget("u1")

    assert await asking.asker.granted("u1", ["a"]) == frozenset()
    assert await asking.asker.granted("u2", ["a"]) == {"a"}
    asking.asker.forget_all()
    assert await asking.asker.granted("u2", ["a"]) == frozenset()


async def test_forgotten_while_asked() -> None:
    """A yes that was read before a revocation is neither given nor remembered after it."""
    asking = Asking()
    asking.oracle.granted = {"a"}
    asking.oracle.speak.clear()
    asker = asking.begin("u1", "a")
    await eventually(lambda: asking.oracle.asked)
    asking.oracle.granted = set()
    asking.asker.forget("u1")
    asking.oracle.speak.set()

    assert await asker == frozenset()
    assert await asking.asker.granted("u1", ["a"]) == frozenset()
    assert len(asking.oracle.asked) == 2


async def test_always_forgotten() -> None:
    """What changes each time while it is being asked has no answer in the end."""
    tries = 0

    async def ask(user_id: str, names: Sequence[str]) -> Collection[str]:
        nonlocal tries
        tries += 1
        asker.forget(user_id)
        return names

    asker = Asker("grant", ask, Answers(seconds_max=60.0, answers_max=9), Stats())

    with pytest.raises(UnavailableError):
        await asker.granted("u1", ["a"])
    assert tries == TRIES_MAX


async def test_failures_are_not_remembered() -> None:
    """No answer is told to all who asked, and asked for anew by the next."""
    asking = Asking()
    asking.oracle.fault = UnavailableError("away")
    askers = [asking.begin("u1", "a") for _ in range(3)]

    results = await asyncio.gather(*askers, return_exceptions=True)
    assert [type(result) for result in results] == [UnavailableError] * 3
    asking.oracle.fault = None
    asking.oracle.granted = {"a"}
    assert await asking.asker.granted("u1", ["a"]) == {"a"}
    assert asking.stats.database_answers["grant", "unavailable"] == 1


async def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """One question too many at once is refused, and can be asked again."""
    monkeypatch.setattr(asking, "ASKED_AT_ONCE_MAX", 2)
    crowd = Asking()
    crowd.oracle.speak.clear()
    askers = [crowd.begin(user_id, "a") for user_id in ("u1", "u2")]
    await eventually(lambda: len(crowd.oracle.asked) == 2)

    with pytest.raises(UnavailableError):
        await crowd.asker.granted("u3", ["a"])
    crowd.oracle.speak.set()
    await asyncio.gather(*askers)
    await crowd.asker.granted("u3", ["a"])


async def test_close() -> None:
    """Closing ends what is under way, and leaves no task."""
    asking = Asking()
    asking.oracle.speak.clear()
    asker = asking.begin("u1", "a")
    await eventually(lambda: asking.oracle.asked)

    await asking.asker.close()

    with pytest.raises(asyncio.CancelledError):
        await asker
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not asking.asker._flights
