"""How long to wait before trying again."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from bridge.core.backoff import Backoff

ROUNDS = 200


def test_waits_grow_to_the_maximum() -> None:
    """The n-th wait is at most the first times 2ⁿ, and never more than the maximum."""
    for _ in range(ROUNDS):
        backoff = Backoff(seconds_first=1.0, seconds_max=10.0)
        for ceiling in (1, 2, 4, 8, 10, 10, 10):
            assert 0 <= backoff.next() <= ceiling


def test_waits_use_the_whole_range() -> None:
    """The jitter is full: some nodes come back almost at once and some at the very end."""
    waits = [Backoff(seconds_first=1.0, seconds_max=10.0).next() for _ in range(ROUNDS)]

    assert min(waits) < 0.2
    assert max(waits) > 0.8


def test_reset() -> None:
    """After a success the waits begin small again."""
    backoff = Backoff(seconds_first=0.001, seconds_max=1e6)
    for _ in range(40):
        backoff.next()

    backoff.reset()

    assert backoff.next() <= 0.001


@settings(deadline=None)
@given(st.floats(0.001, 10), st.floats(0.001, 100), st.integers(0, 3000))
def test_any_number_of_tries(first: float, maximum: float, tries: int) -> None:
    """However often one tries, a wait is a number of seconds within the maximum."""
    backoff = Backoff(seconds_first=first, seconds_max=maximum)
    for _ in range(tries):
        backoff.next()

    assert 0 <= backoff.next() <= maximum
