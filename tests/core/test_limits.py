"""So many in so much time, per key, in bounded memory."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from bridge.core.limits import KeyedLimiter, RateLimit, TokenBucket, Waiting


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


def limiter(count: int, seconds: float, *, keys_max: int = 1_000, seed: bytes = b"seed") -> KeyedLimiter:
    """Return a limiter that is always the same."""
    return KeyedLimiter(RateLimit(count, seconds), keys_max=keys_max, seed=seed)


def test_keys_do_not_disturb_each_other() -> None:
    """Each key has a bucket of its own."""
    one = limiter(1, 60.0)

    assert one.take("a", 0.0) == 0.0
    assert one.take("a", 0.0) == pytest.approx(60.0)
    assert one.take("b", 0.0) == 0.0


def test_ten_per_minute() -> None:
    """A limit of ten in sixty seconds lets ten through at once and then one every six seconds."""
    ten = limiter(10, 60.0)

    assert sum(ten.take("a", 1e6) == 0.0 for _ in range(20)) == 10
    assert ten.take("a", 1e6) == pytest.approx(6.0)
    assert ten.take("a", 1e6 + 6.1) == 0.0
    assert sum(ten.take("a", 2e6) == 0.0 for _ in range(20)) == 10


@settings(deadline=None)
@given(st.integers(1, 1000), st.floats(0.1, 3600), st.lists(st.floats(0, 10), min_size=1, max_size=100))
def test_a_key_is_a_bucket(count: int, seconds: float, waits: list[float]) -> None:
    """One key is let through and told to wait just as a token bucket of its own would have it."""
    one, bucket = limiter(count, seconds), TokenBucket(rate_per_second=count / seconds, burst=count)
    now = 1000.0
    for wait in waits:
        now += wait
        found, expected = one.take("a", now), bucket.take(now)
        assert found == pytest.approx(expected, abs=1e-4 * seconds)
        if (found == 0.0) != (expected == 0.0):
            return  # They differ by a rounding error, and from here on by a token.


def test_nobody_can_have_their_own_bucket_forgotten() -> None:
    """However many other keys come, a key that has no tokens left has none."""
    one = limiter(1, 60.0, keys_max=100)
    assert one.take("mine", 0.0) == 0.0

    for number in range(10_000):
        one.take(f"other-{number}", 1.0)

    assert one.take("mine", 2.0) > 0


def resident_bytes() -> int:
    """Return how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_million_addresses() -> None:
    """A million keys take no more memory than one."""
    many = limiter(10, 60.0, keys_max=100_000)
    many.take("one", 0.0)
    before = resident_bytes()

    for number in range(1_000_000):
        many.take(f"2001:db8:{number:x}::/64", number / 10_000)

    assert many.bytes_held == 4 * 8 * 100_000
    assert resident_bytes() - before < 1_000_000


def test_strangers_are_seldom_refused() -> None:
    """With a tenth of the keys at their limit hardly anybody else is refused."""
    busy = limiter(5, 60.0, keys_max=10_000)
    for number in range(1_000):
        while not busy.take(f"busy-{number}", 0.0):
            pass

    assert sum(busy.take(f"other-{number}", 0.0) > 0 for number in range(5_000)) <= 5


def test_who_shares_with_whom_depends_on_the_seed() -> None:
    """Which keys share their cells cannot be known without the seed."""
    shared = []
    for seed in (b"a", b"b", b"c"):
        few = limiter(1, 60.0, keys_max=3, seed=seed)
        few.take("a", 0.0)
        shared.append(
            {number for number in range(1_000) if set(few._cells(str(number))) <= set(few._cells("a"))}
        )

    assert shared[0] != shared[1] != shared[2]


@pytest.mark.parametrize("key", ["", "\ud800", "é" * 1_000])
def test_any_key(key: str) -> None:
    """Any text is a key, also what is not proper Unicode."""
    assert limiter(1, 60.0).take(key, 0.0) == 0.0


def waiting(count_max: int = 3, per_network_max: int = 2, seconds_min: float = 1.0) -> Waiting[str]:
    """Return a place for a few."""
    return Waiting(count_max=count_max, per_network_max=per_network_max, seconds_min=seconds_min)


def test_room_for_all() -> None:
    """Below the limits nobody has to go."""
    place = waiting()

    assert [place.enter(one, one[0], 0.0) for one in ("a1", "a2", "b1")] == [None] * 3
    assert len(place) == 3


def test_newcomer_at_the_limit() -> None:
    """At a limit the newcomer has to go while the oldest has not had its time."""
    place = waiting()
    for one in ("a1", "a2"):
        place.enter(one, "a", 0.0)

    assert place.enter("a3", "a", 0.9) == "a3"
    assert place.enter("b1", "b", 0.9) is None
    assert place.enter("b2", "b", 0.9) == "b2"
    assert len(place) == 3


def test_oldest_at_the_limit() -> None:
    """After that the oldest goes: of the network, or of all."""
    place = waiting()
    for now, one in enumerate(("a1", "b1", "b2")):
        place.enter(one, one[0], float(now))

    assert place.enter("b3", "b", 10.0) == "b1"
    assert place.enter("c1", "c", 10.0) == "a1"
    assert place.enter("c2", "c", 10.0) == "b2"
    assert len(place) == 3


def test_who_leaves_makes_room() -> None:
    """Leaving makes room, and leaving twice is nothing."""
    place = waiting(count_max=1)
    place.enter("a", "", 0.0)
    place.leave("a")
    place.leave("a")

    assert place.enter("b", "", 0.0) is None


def test_moving_to_another_network() -> None:
    """Who turns out to be of another network counts there, with the time it has had."""
    place = waiting(count_max=10, per_network_max=1)
    for one in ("1", "2", "3"):
        place.enter(one, "", 0.0)

    assert place.move("1", "a", 0.5) is None
    assert place.move("2", "a", 0.5) == "2"
    assert place.move("3", "a", 2.0) == "1"
    assert place.move("3", "a", 2.0) is None
    assert place.move("4", "a", 2.0) is None
    assert len(place) == 1


places = st.lists(
    st.tuples(
        st.sampled_from(["enter", "leave", "move"]), st.integers(0, 15), st.sampled_from(["", "a", "b"])
    ),
    max_size=60,
)


@settings(deadline=None)
@given(places, st.sampled_from([0.0, 5.0]))
def test_places_are_limited(steps: list[tuple[str, int, str]], seconds_min: float) -> None:
    """Whatever happens, neither limit is passed, and who had to go is not there any more."""
    place: Waiting[int] = Waiting(count_max=5, per_network_max=2, seconds_min=seconds_min)
    there: dict[int, str] = {}
    for now, (step, one, network) in enumerate(steps):
        gone: int | None = None
        if step == "leave":
            place.leave(one)
            there.pop(one, None)
        elif step == "enter" and one not in there:
            there[one] = network
            gone = place.enter(one, network, float(now))
        elif step == "move" and one in there:
            there[one] = network
            gone = place.move(one, network, float(now))
        if gone is not None:
            del there[gone]
        assert len(place) == len(there) <= 5
        assert all(list(there.values()).count(name) <= 2 for name in ("a", "b"))
