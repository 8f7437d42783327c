"""Which events were seen lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from bridge.core import dedupe
from bridge.core.dedupe import COPY_SECONDS, FREED_AT_ONCE_MAX, LONG_AGO, PART_KEYS, Once, RecentKeys
from bridge.core.entry import EventKey

OnceOf = Callable[..., Once]

A, B, C = (EventKey("quota.updated", letter) for letter in "abc")


def keys(window_seconds: float = 10.0, keys_max: int = 1_000) -> RecentKeys:
    """Return an empty memory."""
    return RecentKeys(deque(), window_seconds=window_seconds, keys_max=keys_max)


@pytest.fixture(params=[PART_KEYS, 100], ids=["whole", "parts"])
def once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> OnceOf:
    """Return what makes an empty memory of what is in the log, in one part or in several."""
    monkeypatch.setattr(dedupe, "PART_KEYS", request.param)

    def make(window_seconds: float = 10.0, keys_max: int = 1_000) -> Once:
        return Once(window_seconds=window_seconds, keys_max=keys_max)

    return make


def test_what_was_remembered_is_known() -> None:
    """A key is known once it was remembered, and no other is."""
    recent = keys()
    recent.remember(A, 100.0, 100.0)

    assert A in recent
    assert B not in recent
    assert EventKey("quota.alert", A.event_id) not in recent  # Ids are unique within a type only.
    assert len(recent) == 1


def test_kept_for_the_window() -> None:
    """A key is known for at least the window, whenever in a generation it came."""
    for first in (0.0, 4.0, 9.9):
        recent = keys(window_seconds=10.0)
        recent.remember(A, 0.0, 0.0)
        recent.remember(B, first, first)
        for tenth in range(100):
            recent.expire(first + tenth / 10)
            assert B in recent


def test_gone_after_twice_the_window() -> None:
    """After twice the window a key is forgotten."""
    recent = keys(window_seconds=10.0)
    recent.remember(A, 0.0, 0.0)
    recent.remember(B, 9.9, 9.9)
    recent.remember(C, 19.9, 19.9)

    recent.expire(20.0)

    assert A not in recent
    assert B not in recent
    assert C in recent


def test_gone_in_a_quiet_system() -> None:
    """A key is forgotten in time even if nothing was remembered since."""
    recent = keys(window_seconds=10.0)
    recent.remember(A, 0.0, 0.0)

    recent.expire(20.0)

    assert A not in recent
    assert len(recent) == 0


def test_remembering_again_renews() -> None:
    """A key that is remembered again counts from then on."""
    recent = keys(window_seconds=10.0)
    recent.remember(A, 0.0, 0.0)
    recent.remember(A, 15.0, 15.0)

    recent.expire(24.9)

    assert A in recent


def test_more_than_it_can_hold() -> None:
    """Past its number of keys it forgets the oldest generation early, and counts that."""
    recent = keys(keys_max=4)
    for letter in "abcd":
        recent.remember(EventKey("x.y", letter), 0.0, 0.0)
    assert recent.shortened == 1

    recent.remember(EventKey("x.y", "e"), 0.0, 0.0)

    assert recent.shortened == 2
    assert [letter for letter in "abcde" if EventKey("x.y", letter) in recent] == ["c", "d", "e"]


def test_one_key_over_and_over() -> None:
    """A key that comes again and again takes no more room and shortens nothing."""
    recent = keys(keys_max=2)
    for _ in range(10):
        recent.remember(A, 0.0, 0.0)

    assert (len(recent), recent.shortened) == (1, 0)


def test_clock_set_back() -> None:
    """A clock that is set back makes nothing be forgotten too early."""
    recent = keys(window_seconds=10.0)
    recent.remember(A, 1000.0, 1000.0)
    recent.remember(B, 0.0, 0.0)
    recent.expire(9.0)

    assert A in recent
    assert B in recent


def test_generations_keep_their_phase() -> None:
    """Generations end at multiples of the window and the phase after, and so they do after a pause."""
    recent = RecentKeys(deque(), window_seconds=10.0, keys_max=1_000, phase_seconds=4.0)
    for began in (0.0, 1_000.0):
        recent.remember(A, began + 3.9, 0.0)
        recent.remember(B, began + 4.0, 0.0)

        recent.expire(began + 14.0)

        assert (A in recent, B in recent) == (False, True)


def test_full_generations_come_back_to_their_phase() -> None:
    """After generations that were full early the next lasts a window at least, and until its phase."""
    recent = RecentKeys(deque(), window_seconds=10.0, keys_max=4, phase_seconds=4.0)
    for number in range(7):  # Full at 6, 7 and 8.
        recent.remember(EventKey("x.y", str(number)), 5.0 + number / 2, 0.0)
    last = EventKey("x.y", "6")
    assert recent.shortened == 3

    for seconds, known in ((23.9, True), (24.0, True), (33.9, True), (34.0, False)):
        recent.expire(seconds)
        assert (last in recent) is known


def test_once_is_in_small_parts() -> None:
    """However many identities are remembered, one part of them is small, and each forgets at its own time."""
    seen = Once(window_seconds=600.0, keys_max=20 * PART_KEYS)
    parts = seen._parts
    for number in range(40 * PART_KEYS):  # More than fit, so that all parts are full before their time.
        seen.first_shown(EventKey("x.y", str(number)), 0.0, 1_000.0)

    assert len(parts) == 20
    assert max(len(part) for part in parts) <= PART_KEYS
    assert seen.shortened > 0
    moments = sorted(part._turns_at % 600.0 for part in parts)
    assert min(later - earlier for earlier, later in pairwise(moments)) > 29.0


def test_a_generation_ends_once() -> None:
    """However its end is rounded, a generation ends once: what came a second before is still known."""
    recent = RecentKeys(deque(), window_seconds=600.1, keys_max=1_000)
    recent.remember(A, 1_700_134_364.2441125, 0.0)
    ends_at = recent._turns_at
    recent.remember(B, ends_at - 1.0, 0.0)

    recent.expire(ends_at)
    recent.expire(ends_at)

    assert B in recent


def test_after_a_pause_it_frees_little_by_little() -> None:
    """However much is too old at once, each look frees a few."""
    seen = Once(window_seconds=600.0, keys_max=4 * PART_KEYS)
    for number in range(PART_KEYS):
        seen.first_shown(EventKey("x.y", str(number)), 0.0, 0.0)
    looks = 0
    while looks < len(seen._parts) or seen._gone:
        held = sum(len(generation) for generation in seen._gone) + len(seen)
        seen.first_shown(A, 0.0, 2_000.0)
        looks += 1
        assert held - sum(len(generation) for generation in seen._gone) - len(seen) <= FREED_AT_ONCE_MAX

    assert len(seen) == 1
    assert looks < PART_KEYS


def test_a_confirmation_that_comes_late(once: OnceOf) -> None:
    """What was logged is not logged again, though its confirmation came after it had been forgotten."""
    seen = once(window_seconds=600.0)
    seen.claim(A, 1_000.0)
    seen.first_shown(A, 1_000.0, 1_000.0)
    seen.claim(B, 2_500.0)

    seen.logged([A], 2_500.0)

    assert not seen.claim(A, 2_500.1)


def test_a_quiet_node_forgets_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few events are enough for all parts to forget."""
    monkeypatch.setattr(dedupe, "PART_KEYS", 100)
    seen = Once(window_seconds=600.0, keys_max=1_000)
    for number in range(500):
        seen.first_shown(EventKey("x.y", str(number)), 0.0, 0.0)

    for _ in range(10):
        seen.claim(A, 2_000.0)

    assert len(seen) == 1


def _seconds(least: int, most: int) -> st.SearchStrategy[float]:
    """Return times that add up without rounding, so that both sides mean the same moment."""
    return st.integers(least * 1024, most * 1024).map(lambda ticks: ticks / 1024)


@settings(deadline=None)
@given(
    st.lists(st.tuples(_seconds(0, 25), st.sampled_from("abcdef"), st.booleans()), max_size=40),
    _seconds(1, 10),
)
def test_window_of_any_history(steps: list[tuple[float, str, bool]], window: float) -> None:
    """Whatever is remembered when, a key is known within the window and unknown after twice as long."""
    recent = keys(window_seconds=window)
    remembered: dict[str, float] = {}
    now = 0.0
    for wait, letter, remember in steps:
        now += wait
        recent.expire(now)
        for known, at in remembered.items():
            age = now - at
            if age < window:
                assert EventKey("x.y", known) in recent
            if age >= 2 * window:
                assert EventKey("x.y", known) not in recent
        if remember:
            recent.remember(EventKey("x.y", letter), now, now)
            remembered[letter] = now


def test_when_it_was_remembered_last() -> None:
    """Remembering tells when it was done last, in whichever generation that is."""
    recent = keys(window_seconds=10.0)

    assert [recent.remember(A, at, at) for at in (0.0, 3.0, 12.0, 13.0, 33.0)] == [None, 0.0, 3.0, 12.0, None]


def test_outdated_in_both_generations() -> None:
    """What is outdated is still known, and was remembered long ago."""
    recent = keys(window_seconds=10.0)
    recent.remember(A, 0.0, 0.0)
    recent.remember(B, 12.0, 12.0)

    recent.outdate()

    assert [recent.remember(key, 13.0, 13.0) for key in (A, B)] == [LONG_AGO, LONG_AGO]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 200)), max_size=200), st.integers(2, 20))
def test_bounded(steps: list[tuple[float, int]], keys_max: int) -> None:
    """However many keys come, no more are held; the newest is always among them."""
    recent = keys(keys_max=keys_max)
    now = 0.0
    for wait, number in steps:
        now += wait
        recent.remember(EventKey("x.y", str(number)), now, now)
        assert EventKey("x.y", str(number)) in recent
        assert len(recent) <= keys_max


def test_claimed_once(once: OnceOf) -> None:
    """While an event is being logged nobody else may log it; after a failure somebody may."""
    seen = once()

    assert [seen.claim(A, 0.0), seen.claim(A, 0.0), seen.claim(B, 0.0)] == [True, False, True]
    seen.release([A])
    assert [seen.claim(A, 0.0), seen.claim(B, 0.0)] == [True, False]


def test_logged_once(once: OnceOf) -> None:
    """What was logged is not logged again within the window, also if it is released afterwards."""
    seen = once()
    seen.claim(A, 0.0)
    seen.logged([A], 0.0)
    seen.release([A])

    assert not seen.claim(A, COPY_SECONDS - 0.1)
    assert seen.claim(A, 2 * COPY_SECONDS)


def test_shown_once(once: OnceOf) -> None:
    """What the log has shown is sent once, and not logged again, whoever logged it."""
    seen = once()

    assert [
        seen.first_shown(A, 0.0, 0.0),
        seen.first_shown(A, 9.9, 9.9),
        seen.first_shown(A, 120.0, 120.0),
    ] == [
        True,
        False,
        True,
    ]
    assert not seen.claim(A, 129.9)


def test_copies_are_told_by_the_log_s_own_time(once: OnceOf) -> None:
    """Two events a quarter of an hour apart are two, although a starting node reads both at once."""
    seen = once(window_seconds=600.0)

    assert seen.first_shown(A, 0.0, 1_000.0)
    assert seen.first_shown(A, 900.0, 1_000.0)


def test_a_log_that_is_read_again_shows_everything_again(once: OnceOf) -> None:
    """When the log starts over, what it shows is new, but not logged once more."""
    seen = once()
    seen.first_shown(A, 0.0, 0.0)

    seen.forget_copies()

    assert not seen.claim(A, 1.0)
    assert seen.first_shown(A, 1.0, 1.0)


def test_logged_is_not_shown(once: OnceOf) -> None:
    """What this node has logged is still to be sent when the log shows it."""
    seen = once()
    seen.claim(A, 0.0)
    seen.logged([A], 0.0)

    assert seen.first_shown(A, 0.0, 0.0)
    assert not seen.first_shown(A, 0.0, 0.0)


def test_length_of_once(once: OnceOf) -> None:
    """What is shown, logged and being logged counts, each once, and no more than so many are remembered."""
    seen = once(keys_max=10)
    for number in range(100):
        seen.first_shown(EventKey("x.y", f"s{number}"), 0.0, 0.0)
        seen.logged([EventKey("x.y", f"l{number}")], 0.0)
    seen.claim(A, 0.0)

    assert len(seen) <= 10 + 1


def test_a_copy_is_one_within_a_minute(once: OnceOf) -> None:
    """What the log shows again is a copy up to a minute later, counted from when it was shown last."""
    seen = once(window_seconds=600.0)
    times = (0.0, COPY_SECONDS, 2 * COPY_SECONDS, 3 * COPY_SECONDS + 1)

    assert [seen.first_shown(A, at, at) for at in times] == [True, False, False, True]


def test_copies_are_told_with_a_shorter_window(once: OnceOf) -> None:
    """However short events are remembered, a copy within a minute is one."""
    seen = once(window_seconds=1.0)

    assert [
        seen.first_shown(A, 0.0, 0.0),
        seen.first_shown(B, 30.0, 30.0),
        seen.first_shown(A, 59.0, 59.0),
    ] == [
        True,
        True,
        False,
    ]


def test_held_once(once: OnceOf) -> None:
    """An event that was logged here is held once after the log has shown it, in whichever order."""
    seen = once()
    seen.claim(A, 0.0)
    seen.logged([A], 0.0)
    seen.first_shown(A, 0.0, 0.0)
    seen.claim(B, 0.0)
    seen.first_shown(B, 0.0, 0.0)
    seen.logged([B], 0.0)

    assert len(seen) == 2
    assert [seen.claim(A, 9.0), seen.claim(B, 9.0)] == [False, False]


def test_another_node_s_clock_is_ahead(once: OnceOf) -> None:
    """What this node has logged it does not log again because of another's clock."""
    seen = once(window_seconds=600.0)
    seen.claim(A, 0.0)
    seen.first_shown(A, 0.0, 0.0)
    seen.logged([A], 0.0)
    seen.first_shown(B, 1_300.0, 0.0)

    assert not seen.claim(A, 1.0)


def test_a_log_whose_time_goes_back(once: OnceOf) -> None:
    """An entry that is stamped earlier than the one before is no copy of one that is far away."""
    seen = once(window_seconds=600.0)

    assert [seen.first_shown(A, at, 0.0) for at in (0.0, -300.0, 0.0, -1.0)] == [True, True, False, False]
