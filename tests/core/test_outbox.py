"""What waits for a slow socket, and what gives way when it is too much."""

from __future__ import annotations

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.core.close import SLOW
from bridge.core.outbox import Frame, Gap, Outbox, OutboxLimits, Pool
from bridge.core.policy import Policy

MUST, DROP, CONFLATE = Policy.MUST_DELIVER, Policy.DROP_OLDEST, Policy.CONFLATE


def outbox(frames_max: int = 1_000, bytes_max: int = 1_000_000) -> Outbox:
    """Return an empty outbox; the limit that a test is not about is far away."""
    return Outbox(OutboxLimits(frames_max, bytes_max), Pool(bytes_max=2**40))


def must(offset: int, data: bytes = b"payment") -> Frame:
    """Return a frame that may not be dropped."""
    return Frame(data, MUST, offset=offset)


def trail(offset: int, data: bytes = b"trail") -> Frame:
    """Return a frame that may be dropped."""
    return Frame(data, DROP, offset=offset)


def gauge(offset: int, key: str, data: bytes = b"gauge") -> Frame:
    """Return a frame that a newer one of the same key supersedes."""
    return Frame(data, CONFLATE, key, offset)


def offsets(frames: list[Frame]) -> list[int]:
    """Return where in the log the frames stand."""
    return [frame.offset for frame in frames]


def test_everything_below_the_limits() -> None:
    """Below its limits an outbox gives everything back, in the order in which it came."""
    box = outbox()
    frames = [must(1), trail(2), gauge(3, "q1"), gauge(4, "q1"), trail(5)]

    assert [box.offer(frame) for frame in frames] == [None] * 5
    assert (len(box), box.bytes_waiting) == (5, sum(len(frame.data) for frame in frames))
    assert box.take() == (None, frames)


def test_empty_after_take() -> None:
    """What was taken is no longer there."""
    box = outbox()
    box.offer(must(1))
    box.take()

    assert not box
    assert (len(box), box.bytes_waiting) == (0, 0)
    assert box.take() == (None, [])


def test_exactly_at_the_limits() -> None:
    """An outbox is full when a limit is passed, not when it is reached."""
    box = outbox(frames_max=3, bytes_max=9)

    assert [box.offer(must(offset, b"abc")) for offset in (1, 2, 3)] == [None] * 3
    assert len(box) == 3


def test_offer_past_frame_limit() -> None:
    """An outbox over its frame limit asks for SLOW, says by how much, and keeps nothing."""
    box = outbox(frames_max=2)
    box.offer(must(1, b"a"))
    box.offer(must(2, b"b"))

    reason = box.offer(must(3, b"c"))

    assert reason is not None
    assert (reason.code, reason.reconnect) == (SLOW.code, True)
    assert reason.text == "slow consumer: 3 frames, 3 bytes waiting"
    assert not box
    assert box.take() == (None, [])


def test_offer_past_byte_limit() -> None:
    """An outbox over its byte limit asks for SLOW and keeps nothing."""
    box = outbox(bytes_max=3)

    reason = box.offer(must(1, b"four"))

    assert reason is not None
    assert reason.code == SLOW.code
    assert (len(box), box.bytes_waiting) == (0, 0)


def test_only_the_newest_gauge_of_a_key_is_kept() -> None:
    """At a limit every gauge gives way to a newer one of its key; nobody is told of a gap."""
    box = outbox(frames_max=5)
    for offset, key in enumerate(["q1", "q2", "q1", "q1", "q2"], 1):
        box.offer(gauge(offset, key))

    box.offer(gauge(6, "q1"))

    gap, frames = box.take()
    assert gap is None
    assert offsets(frames) == [5, 6]
    assert box.conflated == 4


def test_conflating_little_is_not_enough() -> None:
    """Where conflation frees less than a quarter the oldest go too: the next compaction is to be far away."""
    box = outbox(frames_max=8)
    for offset in range(1, 8):
        box.offer(trail(offset))
    box.offer(gauge(8, "q1"))

    box.offer(gauge(9, "q1"))

    gap, frames = box.take()
    assert gap == Gap(events=2, first_offset=1, last_offset=2)
    assert offsets(frames) == [3, 4, 5, 6, 7, 9]
    assert (box.conflated, box.dropped) == (1, 2)


def test_gauges_are_kept_below_the_limits() -> None:
    """Nothing is conflated without need: a client that keeps up sees every value."""
    box = outbox()
    for offset in range(1, 10):
        box.offer(gauge(offset, "q1"))

    assert offsets(box.take()[1]) == list(range(1, 10))


def test_oldest_are_dropped_and_reported() -> None:
    """At a limit the oldest droppable frames go until a quarter is free, and the gap says which."""
    box = outbox(frames_max=8)
    for offset in range(11, 19):
        box.offer(trail(offset))

    assert box.offer(trail(19)) is None

    gap, frames = box.take()
    assert gap == Gap(events=3, first_offset=11, last_offset=13)
    assert offsets(frames) == [14, 15, 16, 17, 18, 19]
    assert box.dropped == 3


def test_oldest_are_dropped_by_bytes() -> None:
    """The limit in bytes drops the oldest as the limit in frames does."""
    box = outbox(bytes_max=8)
    for offset in range(1, 5):
        box.offer(trail(offset, b"ab"))

    assert box.offer(trail(5, b"ab")) is None

    gap, frames = box.take()
    assert gap == Gap(events=2, first_offset=1, last_offset=2)
    assert offsets(frames) == [3, 4, 5]


def test_payments_outlive_trails() -> None:
    """Frames that must be delivered stay where they are while droppable ones go from between them."""
    box = outbox(frames_max=4)
    for frame in (must(1), trail(2), must(3), trail(4)):
        box.offer(frame)

    assert box.offer(must(5)) is None

    gap, frames = box.take()
    assert gap == Gap(events=2, first_offset=2, last_offset=4)
    assert offsets(frames) == [1, 3, 5]


def test_gauges_of_many_keys_are_dropped_like_trails() -> None:
    """A gauge without a newer one is the last to be superseded but not safe: it may be in the gap."""
    box = outbox(frames_max=4)
    for offset in range(1, 6):
        box.offer(gauge(offset, f"q{offset}"))

    gap, frames = box.take()
    assert gap == Gap(events=2, first_offset=1, last_offset=2)
    assert offsets(frames) == [3, 4, 5]


def test_gaps_add_up_until_reported() -> None:
    """One gap covers all that was dropped since the last report; the next begins anew."""
    box = outbox(frames_max=4)
    for offset in range(1, 10):
        box.offer(trail(offset))
    first, _ = box.take()
    for offset in range(10, 15):
        box.offer(trail(offset))
    second, frames = box.take()

    assert first == Gap(events=6, first_offset=1, last_offset=6)
    assert second == Gap(events=2, first_offset=10, last_offset=11)
    assert offsets(frames) == [12, 13, 14]


def test_gap_without_frames_is_something_to_write() -> None:
    """A frame too big for the whole outbox leaves nothing but a gap, and the gap waits to be written."""
    box = outbox(bytes_max=3)

    assert box.offer(trail(7, b"four")) is None

    assert len(box) == 0
    assert box
    assert box.take() == (Gap(1, 7, 7), [])
    assert not box


def test_notices_are_never_dropped() -> None:
    """A frame without a policy is an answer to the client, and must be delivered."""
    box = outbox(frames_max=4)
    box.offer(Frame(b"pong"))
    for offset in range(1, 20):
        box.offer(trail(offset))

    gap, frames = box.take()
    assert frames[0] == Frame(b"pong")
    assert gap is not None
    assert gap.first_offset == 1


def test_clear() -> None:
    """Clearing forgets frames and gap."""
    box = outbox(frames_max=2)
    for offset in range(1, 6):
        box.offer(trail(offset))

    box.clear()

    assert not box
    assert box.take() == (None, [])


class OutboxModel(RuleBasedStateMachine):
    """Whatever is offered and taken, in any order, the promises hold."""

    LIMITS = OutboxLimits(frames_max=8, bytes_max=60)

    def __init__(self) -> None:
        """Start with an empty outbox."""
        super().__init__()
        self.box = Outbox(self.LIMITS, Pool(bytes_max=2**40))
        self.offered: list[Frame] = []
        self.offset = 0

    @rule(
        policy=st.sampled_from(Policy),
        key=st.sampled_from("abc"),
        size=st.integers(1, 25),
        step=st.integers(1, 3),
    )
    def offer(self, policy: Policy, key: str, size: int, step: int) -> None:
        """Offer the next frame."""
        self.offset += step
        frame = Frame(b"x" * size, policy, key if policy is CONFLATE else "", self.offset)
        self.offered.append(frame)
        reason = self.box.offer(frame)
        if reason is not None:
            assert reason.code == SLOW.code
            payments = [frame for frame in self.offered if frame.policy is MUST]
            assert len(payments) > self.LIMITS.frames_max or self.bytes_of(payments) > self.LIMITS.bytes_max
            assert not self.box
            self.offered.clear()

    @rule()
    @precondition(lambda self: bool(self.offered))
    def take(self) -> None:
        """Write everything: what was offered is there, or superseded by what is there, or in the gap."""
        gap, delivered = self.box.take()
        places = offsets(delivered)
        assert places == sorted(places)
        assert set(map(id, delivered)) <= set(map(id, self.offered))
        newest = {frame.conflate_key: frame.offset for frame in self.offered if frame.conflate_key}
        lost = [frame for frame in self.offered if frame.offset not in set(places)]
        dropped = 0
        for frame in lost:
            assert frame.policy is not MUST
            if frame.conflate_key and newest[frame.conflate_key] > frame.offset:
                continue
            assert gap is not None
            assert gap.first_offset <= frame.offset <= gap.last_offset
            dropped += 1
        assert dropped <= (gap.events if gap else 0) <= len(lost)
        self.offered.clear()

    @invariant()
    def within_limits(self) -> None:
        """An outbox is within its limits, and knows how much it holds."""
        assert len(self.box) <= self.LIMITS.frames_max
        assert self.box.bytes_waiting <= self.LIMITS.bytes_max

    @invariant()
    def counted(self) -> None:
        """The count of bytes is the bytes."""
        assert self.box.bytes_waiting == self.bytes_of(self.box._frames)

    @staticmethod
    def bytes_of(frames: list[Frame]) -> int:
        """Return how much these frames weigh."""
        return sum(len(frame.data) for frame in frames)


TestOutboxModel = OutboxModel.TestCase
TestOutboxModel.settings = settings(deadline=None, stateful_step_count=60, max_examples=150)


def test_outboxes_together_keep_to_the_pool() -> None:
    """Past the node's limit a socket that is far behind makes room, one that holds its share does not."""
    pool = Pool(bytes_max=1_000)
    limits = OutboxLimits(frames_max=1_000, bytes_max=1_000)
    far_behind, near = Outbox(limits, pool), Outbox(limits, pool)
    for offset in range(9):
        assert far_behind.offer(trail(offset, b"x" * 100)) is None
    assert near.offer(must(9, b"y" * 200)) is None

    assert far_behind.offer(trail(10, b"x" * 100)) is None

    assert far_behind.bytes_waiting <= pool.share_bytes_max == 500
    assert near.bytes_waiting == 200
    assert pool.bytes_held == far_behind.bytes_waiting + near.bytes_waiting <= pool.bytes_max


def test_an_outbox_past_its_share_that_may_drop_nothing_asks_for_slow() -> None:
    """The node's limit closes a socket whose frames must all be delivered."""
    pool = Pool(bytes_max=1_000)
    limits = OutboxLimits(frames_max=1_000, bytes_max=1_000)
    one, other = Outbox(limits, pool), Outbox(limits, pool)
    assert other.offer(must(1, b"y" * 300)) is None
    for offset in range(7):
        assert one.offer(must(offset, b"x" * 100)) is None

    reason = one.offer(must(8, b"x" * 100))

    assert reason is not None
    assert reason.code == SLOW.code
    assert pool.bytes_held == 300
    assert pool.holders == 1


def test_a_pool_counts_as_its_outboxes_do() -> None:
    """Taking, clearing and dropping give back to the pool what they free."""
    pool = Pool(bytes_max=10_000)
    box = Outbox(OutboxLimits(frames_max=3, bytes_max=10_000), pool)
    for offset in range(20):
        box.offer(trail(offset, b"x" * 10))
    assert (pool.bytes_held, pool.holders) == (box.bytes_waiting, 1)

    box.take()

    assert (pool.bytes_held, pool.holders) == (0, 0)
