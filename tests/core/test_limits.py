"""So many in so much time, per key, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from bridge.core.limits import KeyedLimiter, RateLimit, TokenBucket


def test_burst_then_rate() -> None:
    """A bucket lets the burst through at once, then one token per interval."""
    bucket = TokenBucket(rate_per_second=2.0, burst=3)

    assert [bucket.take(100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(100.0) == pytest.approx(0.5)
    assert bucket.take(100.25) == pytest.approx(0.25)
    assert bucket.take(100.5) == 0.0
    assert bucket.take(100.5) == pytest.approx(0.5)


def test_refused_takes_cost_nothing() -> None:
    """Asking too early does not push the next token away."""
    bucket = TokenBucket(rate_per_second=1.0, burst=1)
    bucket.take(0.0)

    for tenth in range(10):
        assert bucket.take(tenth / 10) > 0

    assert bucket.take(1.0) == 0.0


def test_never_more_than_the_burst() -> None:
    """Tokens do not pile up past the burst in a quiet time."""
    bucket = TokenBucket(rate_per_second=100.0, burst=2)
    bucket.take(0.0)

    assert [bucket.take(1e9) == 0.0 for _ in range(3)] == [True, True, False]


def test_clock_set_back() -> None:
    """A clock that is set back costs and grants nothing at that moment, and the bucket goes on from there."""
    bucket = TokenBucket(rate_per_second=1.0, burst=1)
    bucket.take(1000.0)

    assert bucket.take(0.0) == pytest.approx(1.0)
    assert bucket.take(1.0) == 0.0


@settings(deadline=None)
@given(
    st.floats(0.01, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 10), min_size=1, max_size=100),
)
def test_never_more_than_allowed(rate: float, burst: int, waits: list[float]) -> None:
    """Over any time no more pass than the burst and what the rate adds to it."""
    bucket = TokenBucket(rate_per_second=rate, burst=burst)
    now = 0.0
    passed = 0
    for wait in waits:
        now += wait
        answer = bucket.take(now)
        passed += answer == 0.0
        assert 0.0 <= answer <= 1 / rate + 1e-6

    assert passed <= burst + (now - waits[0]) * rate + 1e-6


@settings(deadline=None)
@given(st.floats(0.01, 1000), st.integers(1, 20), st.floats(0, 1e6))
def test_the_wait_is_true(rate: float, burst: int, start: float) -> None:
    """Who waits as long as told, and a moment, is let through."""
    bucket = TokenBucket(rate_per_second=rate, burst=burst)
    while not (wait := bucket.take(start)):
        pass

    assert bucket.take(start + wait * 1.0001 + 1e-6) == 0.0


def test_keys_do_not_disturb_each_other() -> None:
    """Each key has a bucket of its own."""
    limiter = KeyedLimiter(RateLimit(1, 60.0), keys_max=10)

    assert limiter.take("a", 0.0) == 0.0
    assert limiter.take("a", 0.0) == pytest.approx(60.0)
    assert limiter.take("b", 0.0) == 0.0


def test_ten_per_minute() -> None:
    """A limit of ten in sixty seconds lets ten through at once and then one every six seconds."""
    limiter = KeyedLimiter(RateLimit(10, 60.0), keys_max=10)

    assert sum(limiter.take("a", 0.0) == 0.0 for _ in range(20)) == 10
    assert limiter.take("a", 0.0) == pytest.approx(6.0)
    assert limiter.take("a", 6.1) == 0.0


def test_the_key_unused_for_longest_is_forgotten() -> None:
    """Past its number of keys a limiter forgets the one unused for longest, and no other."""
    limiter = KeyedLimiter(RateLimit(1, 60.0), keys_max=2)
    for key in ("a", "b", "a", "c"):
        limiter.take(key, 0.0)

    assert len(limiter) == 2
    assert limiter.take("a", 0.0) > 0
    assert limiter.take("b", 0.0) == 0.0


@settings(deadline=None)
@given(st.lists(st.text(max_size=2), max_size=60), st.integers(1, 5))
def test_bounded_keys(keys: list[str], keys_max: int) -> None:
    """However many keys come, no more are held."""
    limiter = KeyedLimiter(RateLimit(5, 1.0), keys_max=keys_max)
    for now, key in enumerate(keys):
        limiter.take(key, now)
        assert len(limiter) <= keys_max
