"""Event storms: what passes, what is held, what is left out, and that the last one always comes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings, strategies as st

from bridge.core import storm
from bridge.core.entry import Entry, EventKey
from bridge.core.policy import Policy
from bridge.core.storm import HELD_SECONDS_MAX, QUIET_SECONDS, STORMS_MAX, Ceilings, Storms, Subject


def entry(
    number: int = 0,
    *,
    event_type: str = "quota.updated",
    to: Sequence[str] = ("user:u1",),
    policy: Policy = Policy.CONFLATE,
    key: str = "q1",
) -> Entry:
    """Return an event about to be logged."""
    conflate_key = key if policy is Policy.CONFLATE else ""
    return Entry(EventKey(event_type, str(number)), tuple(to), policy, conflate_key, 0.0, None, b"{}")


def storms(ceiling: float = 2.0, **types: float) -> Storms[int]:
    """Return storms under a ceiling."""
    return Storms(Ceilings(ceiling, {name.replace("_", "."): one for name, one in types.items()}))


def passed(over: Storms[int], count: int, now: float = 100.0, **changes: object) -> list[bool]:
    """Tell of events that come at once which pass."""
    return [over.rule(entry(number, **changes), number, now).passes for number in range(count)]  # type: ignore[arg-type] # as entry


def test_types_without_a_ceiling() -> None:
    """What is exempt passes, however much it is and whatever else is set."""
    over: Storms[int] = Storms(Ceilings(1.0, {"quota.updated": 1.0}, frozenset({"quota.updated"})))

    assert passed(over, 50) == [True] * 50


def test_ceiling() -> None:
    """A second's worth passes at once, then one per interval."""
    over = storms(2.0)

    assert passed(over, 4) == [True, True, False, False]
    assert passed(over, 2, 100.5) == [True, False]
    assert passed(over, 4, 110.0) == [True, True, False, False]


@pytest.mark.parametrize("ceiling", [0.25, 0.5, 1.0])
def test_low_ceiling(ceiling: float) -> None:
    """At least one passes, however low the ceiling, and the next one in its time."""
    over = storms(ceiling)

    assert passed(over, 2) == [True, False]
    assert passed(over, 1, 100.0 + 0.9 / ceiling) == [False]
    assert passed(over, 2, 100.0 + 1 / ceiling) == [True, False]


def test_no_ceiling() -> None:
    """Without a ceiling everything passes; one type can have one, and another none."""
    assert not Ceilings()
    assert all(passed(storms(0.0), 1_000))
    assert passed(storms(0.0, quota_updated=1.0), 2) == [True, False]
    assert all(passed(storms(1.0, quota_updated=0.0), 1_000))


def test_must_deliver() -> None:
    """What must be delivered has no ceiling."""
    over = storms(1.0)

    assert all(passed(over, 1_000, policy=Policy.MUST_DELIVER))
    assert over.next_at() is None


def test_each_user_and_type_has_a_ceiling() -> None:
    """One user's storm is nobody else's, and one type's not another's; a room stands in for a user."""
    over = storms(1.0)

    assert passed(over, 2) == [True, False]
    assert passed(over, 2, to=("user:u2",)) == [True, False]
    assert passed(over, 2, event_type="quota.alert") == [True, False]
    assert passed(over, 2, to=("company:c1",)) == [True, False]
    assert passed(over, 2, to=("company:c2",)) == [True, False]
    assert passed(over, 2, to=()) == [True, False]
    assert passed(over, 1, to=("device:d7", "user:u1")) == [False]
    assert Subject.of(entry(to=("device:d7", "user:u1"))) == ("quota.updated", "user:u1")


def test_the_newest_of_a_key_is_held() -> None:
    """Over the ceiling an event takes the place of the one before it of the same key, and of no other."""
    over = storms(1.0)
    passed(over, 1)

    assert over.rule(entry(1, key="q1"), 1, 100.0).superseded is None
    assert over.rule(entry(2, key="q2"), 2, 100.1).superseded is None
    superseded = over.rule(entry(3, key="q1"), 3, 100.2).superseded
    assert superseded is not None
    assert superseded.origin == 1

    assert over.next_at() == pytest.approx(100.0 + HELD_SECONDS_MAX)
    assert over.due(100.0 + HELD_SECONDS_MAX - 0.01) == []
    assert [held.origin for held in over.due(100.0 + HELD_SECONDS_MAX)] == [3]
    assert [held.origin for held in over.due(100.1 + HELD_SECONDS_MAX)] == [2]


def test_the_newest_of_a_type_is_held() -> None:
    """Of a type that drops its oldest, one event is held for a user, whatever it is about."""
    over = storms(1.0)
    drops = Policy.DROP_OLDEST
    passed(over, 1, policy=drops)

    rulings = [over.rule(entry(number, policy=drops), number, 100.0) for number in (1, 2, 3)]

    assert [ruling.superseded and ruling.superseded.origin for ruling in rulings] == [None, 1, 2]
    assert [held.origin for held in over.forget_held()] == [3]


def test_an_event_that_passes_takes_the_place_of_one_that_is_held() -> None:
    """What is logged later is newer: the one that was held is not sent after it."""
    over = storms(2.0)
    passed(over, 3)

    ruling = over.rule(entry(9), 9, 100.5)

    assert ruling.passes
    assert ruling.superseded is not None
    assert ruling.superseded.origin == 2
    assert not over.forget_held()


def test_a_storm_is_told_once() -> None:
    """It begins with the first event that is left out, and ends, with the count, when none has been."""
    over = storms(1.0)
    began = [over.rule(entry(number), number, 100.0 + number / 10).began for number in range(9)]

    assert [storm is not None for storm in began] == [False, False, True] + [False] * 6
    assert over.over(100.8 + QUIET_SECONDS - 0.01) == []
    (ended,) = over.over(100.8 + QUIET_SECONDS)
    assert (ended.subject, ended.events) == (("quota.updated", "user:u1"), 7)
    assert [ended.began_at, ended.last_at] == pytest.approx([100.2, 100.8])
    assert over.over(1e9) == []


def test_a_little_too_much_is_no_storm() -> None:
    """As long as nothing is left out there is nothing to tell."""
    over = storms(1.0)

    assert passed(over, 2) == [True, False]
    over.due(101.0)
    assert over.next_at() is None


def test_storms_that_are_told_are_limited() -> None:
    """More storms than that are counted, not told."""
    over = storms(1.0)
    began = 0
    for user in range(STORMS_MAX + 5):
        for number in range(3):
            ruling = over.rule(entry(number, to=(f"user:{user}",)), number, 100.0)
            began += ruling.began is not None

    assert began == STORMS_MAX
    assert len(over.over(1e9)) == STORMS_MAX


def test_buckets_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many users there are, so many buckets are held; those forgotten early let more through."""
    monkeypatch.setattr(storm, "BUCKETS_MAX", 10)
    over = storms(1.0)
    for user in range(1_000):
        over.rule(entry(to=(f"user:{user}",)), user, 100.0)
        assert len(over._full_at) <= 10

    assert passed(over, 1, to=("user:0",)) == [True]
    assert passed(over, 1, to=("user:999",)) == [False]


def test_buckets_are_forgotten_when_they_are_full() -> None:
    """A bucket that was not used for as long as it takes to fill is not kept for long."""
    over = storms(0.5)
    for second in range(1_000):
        over.rule(entry(to=(f"user:{second}",)), second, float(second))

    assert len(over._full_at) <= 6


arrivals = st.lists(
    st.tuples(st.floats(0, 0.4), st.sampled_from(["q1", "q2"]), st.sampled_from(["user:u1", "user:u2"])),
    min_size=1,
    max_size=80,
)


@settings(deadline=None)
@given(
    arrivals, st.sampled_from([0.5, 1.0, 3.0, 10.0]), st.sampled_from([Policy.CONFLATE, Policy.DROP_OLDEST])
)
def test_no_storm_passes_and_the_last_one_comes(
    steps: list[tuple[float, str, str]], ceiling: float, policy: Policy
) -> None:
    """Per second no more than the ceiling and the held ones get through, in order, and always the newest."""
    over = storms(ceiling)
    logged: dict[tuple[str, str], list[tuple[float, int]]] = {}
    newest: dict[tuple[str, str], int] = {}
    left_out, now = 0, 0.0

    def log(one: Entry, number: int) -> None:
        logged.setdefault((one.targets[0], one.conflate_key), []).append((now, number))

    for number, (wait, key, user) in enumerate(steps):
        now += wait
        for held in over.due(now):
            log(held.entry, held.origin)
        one = entry(number, key=key, to=(user,), policy=policy)
        newest[user, one.conflate_key] = number
        ruling = over.rule(one, number, now)
        left_out += ruling.superseded is not None
        if ruling.passes:
            log(one, number)
    now += HELD_SECONDS_MAX
    for held in over.due(now):
        log(held.entry, held.origin)

    assert {kind: events[-1][1] for kind, events in logged.items()} == newest
    assert sum(map(len, logged.values())) + left_out == len(steps)
    for events in logged.values():
        assert [number for _, number in events] == sorted(number for _, number in events)
    for user in {kind[0] for kind in logged}:
        times = sorted(at for kind, events in logged.items() if kind[0] == user for at, _ in events)
        kinds = sum(kind[0] == user for kind in logged)
        for start in times:
            in_a_second = sum(start <= at < start + 1.0 for at in times)
            assert in_a_second <= 2 * max(1.0, ceiling) + kinds * (1 / HELD_SECONDS_MAX + 1)
