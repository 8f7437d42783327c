"""The replay window holds the newest entries within its limits, and never claims more than it holds."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bridge.core import window as window_module
from bridge.core.entry import Entry, EventKey, Logged, Position
from bridge.core.policy import Policy
from bridge.core.window import ENTRY_OVERHEAD_BYTES, Window, WindowLimits

ROOMS = ("a", "b", "c")
SECONDS_MAX = 10.0
ENDLESS = WindowLimits(seconds_max=1e9, bytes_max=10**9)


def logged(offset: int, *rooms: str, payload_bytes: int = 2) -> Logged:
    """Return an entry for these rooms at this offset."""
    payload = b"{%b}" % (b" " * (payload_bytes - 2))
    return Logged(
        offset, Entry(EventKey("t.t", str(offset)), rooms, Policy.MUST_DELIVER, "", 0.0, None, payload)
    )


def size(entry: Logged) -> int:
    """Return what an entry counts."""
    return len(entry.entry.payload) + ENTRY_OVERHEAD_BYTES


def window_of(*entries: Logged, limits: WindowLimits = ENDLESS, floor: int = 0) -> Window:
    """Return a window that begins at an offset and holds these, all of the time 0."""
    window = Window(limits)
    window.begin(Position("e1", floor))
    window.append(entries, 0.0)
    return window


def offsets(
    window: Window, *rooms: str, after: int = 0, up_to: int = 10**9, entries_max: int = 10**9
) -> list[int]:
    """Return the offsets of what a look-up finds."""
    return [one.offset for one in window.read(rooms, after=after, up_to=up_to, entries_max=entries_max)]


def test_window_begins_empty_where_it_is_told() -> None:
    """At its beginning a window holds nothing and covers exactly its own position."""
    window = window_of(floor=7)

    assert (len(window), window.bytes_held, window.position) == (0, 0, Position("e1", 7))
    assert window.covers(Position("e1", 7))
    assert not window.covers(Position("e1", 6))
    assert not window.covers(Position("e1", 8))


@pytest.mark.parametrize(
    "position", [Position("e0", 1), Position("", 1), Position("e1", -1), Position("e1", 10**9)]
)
def test_positions_from_elsewhere_are_not_covered(position: Position) -> None:
    """Another epoch, a negative offset and one from the future are not covered."""
    assert not window_of(logged(1, "a"), logged(2, "a")).covers(position)


def test_offsets_between_entries_are_covered() -> None:
    """A position at which no entry stands is covered if what follows it is there."""
    window = window_of(logged(10, "a"), logged(20, "a"), floor=5)

    assert window.covers(Position("e1", 15))
    assert offsets(window, "a", after=15) == [20]


def test_advancing_moves_the_head_only_forward() -> None:
    """The head follows the log, with entries and without, and never goes back."""
    window = window_of(logged(10, "a"))
    window.advance(30)
    window.advance(20)

    assert window.head == 30
    assert window.covers(Position("e1", 30))
    assert offsets(window, "a") == [10]


def test_entries_past_their_age_are_let_go() -> None:
    """Entries that are older than the limit go, the exact limit stays, and the floor follows."""
    window = window_of(logged(1, "a"), limits=WindowLimits(SECONDS_MAX, 10**9))
    window.append([logged(2, "a")], 5.0)

    window.trim(SECONDS_MAX)
    assert offsets(window, "a") == [1, 2]

    window.trim(SECONDS_MAX + 0.001)
    assert (offsets(window, "a"), window.floor) == ([2], 1)
    assert window.covers(Position("e1", 1))
    assert not window.covers(Position("e1", 0))


def test_after_a_pause_it_lets_go_little_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has become too old in a pause goes with the next batches, with each some more than come."""
    monkeypatch.setattr(window_module, "AGED_AT_ONCE_MAX", 2)
    window = window_of(
        *(logged(offset, "a") for offset in range(1, 7)), limits=WindowLimits(SECONDS_MAX, 10**9)
    )

    window.append([logged(7, "a")], SECONDS_MAX + 1)
    assert (offsets(window, "a"), window.floor) == ([4, 5, 6, 7], 3)

    window.append([logged(8, "a")], SECONDS_MAX + 1)
    assert (offsets(window, "a"), window.floor) == ([7, 8], 6)


def test_what_is_let_go_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an entry that is gone nothing is kept, and of its places in a room only so many."""
    monkeypatch.setattr(window_module, "GONE_MAX", 4)
    window = window_of(limits=WindowLimits(SECONDS_MAX, 10**9))
    for offset in range(1, 101):
        window.append([logged(offset, "a")], float(offset))

        entries = window._trails["a"].entries
        gone = [entry for entry in entries if entry.offset == 0]
        assert len(gone) < 4
        assert len(entries) - len(gone) == len(window)


def test_entries_past_the_bytes_are_let_go() -> None:
    """The oldest entries go until the rest fits; one that alone does not fit leaves nothing."""
    limits = WindowLimits(1e9, 3 * size(logged(1, "a")))
    window = window_of(*(logged(offset, "a") for offset in range(1, 6)), limits=limits)
    assert (offsets(window, "a"), window.floor) == ([3, 4, 5], 2)

    window.append([logged(6, "a", payload_bytes=10_000)], 0.0)
    assert (len(window), window.bytes_held, window.floor, window.head) == (0, 0, 6, 6)
    assert window.covers(Position("e1", 6))
    assert not window.covers(Position("e1", 5))


def test_new_life_forgets_the_old() -> None:
    """After a new beginning nothing of the former life is found or covered."""
    window = window_of(logged(1, "a"), logged(2, "b"))
    window.begin(Position("e2", 0))

    assert offsets(window, "a", "b") == []
    assert not window.covers(Position("e1", 0))
    assert window.covers(Position("e2", 0))
    assert (len(window), window.bytes_held) == (0, 0)


def test_entry_for_several_of_the_rooms_is_found_once() -> None:
    """An entry is found once, whatever number of the rooms asked for it goes to."""
    window = window_of(logged(1, "a", "b", "c"), logged(2, "b"), logged(3, "c", "a"))

    assert offsets(window, "c", "b", "a") == [1, 2, 3]
    assert offsets(window, "a", "a") == [1, 3]


def test_look_up_is_bounded_and_can_go_on() -> None:
    """Reading in parts gives what reading at once gives; fewer than asked for means the end."""
    window = window_of(*(logged(offset, "abc"[offset % 3]) for offset in range(1, 20)))

    parts: list[int] = []
    while part := offsets(window, "a", "b", after=parts[-1] if parts else 0, entries_max=4):
        parts += part
        if len(part) < 4:
            break
    assert parts == offsets(window, "a", "b")


class Windows(RuleBasedStateMachine):
    """A window, beside the plain list of everything that was ever logged in this life of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.lives = 0

    @initialize(bytes_max=st.sampled_from([10**9, 5_000, 700]))
    def make(self, bytes_max: int) -> None:
        """Make a window."""
        self.limits = WindowLimits(SECONDS_MAX, bytes_max)
        self.window = Window(self.limits)
        self.begin(0)

    @rule(offset=st.integers(0, 1000))
    def begin(self, offset: int) -> None:
        """Start a life of the log."""
        self.lives += 1
        self.log: list[tuple[float, Logged]] = []
        self.begun = offset
        self.head = offset
        self.window.begin(Position(f"e{self.lives}", offset))

    @rule(
        batch=st.lists(
            st.tuples(st.sets(st.sampled_from(ROOMS)), st.integers(1, 3), st.integers(2, 400)), max_size=5
        ),
        seconds=st.sampled_from([0.0, 0.5, 4.0, 11.0]),
    )
    def append(self, batch: list[tuple[set[str], int, int]], seconds: float) -> None:
        """Log some entries, some time later, with holes between their offsets."""
        self.now += seconds
        entries = []
        for rooms, hole, payload_bytes in batch:
            self.head += hole
            entries.append(logged(self.head, *sorted(rooms), payload_bytes=payload_bytes))
        self.log += [(self.now, entry) for entry in entries]
        self.window.append(entries, self.now)

    @rule(by=st.integers(0, 5))
    def advance(self, by: int) -> None:
        """Let the log come to an offset without an entry."""
        self.head += by
        self.window.advance(self.head)

    @rule(seconds=st.sampled_from([0.5, 6.0, 20.0]))
    def trim(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.window.trim(self.now)

    def held(self) -> list[Logged]:
        """Return what should be held: the longest end of the log within both limits."""
        kept: list[Logged] = []
        bytes_held = 0
        for arrived_at, entry in reversed(self.log):
            bytes_held += size(entry)
            if bytes_held > self.limits.bytes_max or arrived_at < self.now - SECONDS_MAX:
                break
            kept.append(entry)
        return kept[::-1]

    @invariant()
    def holds_what_the_limits_allow(self) -> None:
        """Exactly the newest entries within the limits of age and bytes are held."""
        held = self.held()
        # Once let go, an entry does not come back when a larger one after it has gone.
        assert len(self.window) <= len(held)
        tail = held[len(held) - len(self.window) :]
        assert self.window.bytes_held == sum(map(size, tail)) <= self.limits.bytes_max
        assert self.read(ROOMS, self.window.floor) == [entry for entry in tail if entry.entry.targets]

    @invariant()
    def head_is_the_newest(self) -> None:
        """The head is where the log is, and the position names this life."""
        assert self.window.position == Position(f"e{self.lives}", self.head)

    @rule(room=st.sampled_from(ROOMS), count=st.integers(0, 5))
    def newest(self, room: str, count: int) -> None:
        """The newest entries, of all rooms or of one, are the end of what is held."""
        held = self.log[len(self.log) - len(self.window) :]
        in_room = [entry for _, entry in held if room in entry.entry.targets]

        assert self.window.newest(count) == held[max(0, len(held) - count) :]
        assert self.window.newest_of(room, count) == in_room[max(0, len(in_room) - count) :]
        assert self.window.oldest_at == (held[0][0] if held else None)

    @rule(data=st.data(), rooms=st.sets(st.sampled_from(ROOMS)), entries_max=st.integers(1, 20))
    def covered_positions_are_whole(self, data: st.DataObject, rooms: set[str], entries_max: int) -> None:
        """What follows a covered position is all there; what is not covered is out of reach."""
        since = data.draw(st.integers(self.begun - 2, self.head + 2), "since")
        missed = [entry for _, entry in self.log if entry.offset > since and rooms & set(entry.entry.targets)]
        if self.window.covers(Position(f"e{self.lives}", since)):
            assert self.read(rooms, since) == missed
            assert self.read(rooms, since, entries_max=entries_max) == missed[:entries_max]
            up_to = data.draw(st.integers(since, self.head), "up_to")
            assert self.read(rooms, since, up_to=up_to) == [one for one in missed if one.offset <= up_to]
        else:
            assert since < self.window.floor or since > self.head

    def read(
        self, rooms: Collection[str], after: int, *, up_to: int | None = None, entries_max: int = 10**9
    ) -> list[Logged]:
        """Look up."""
        limit = self.head if up_to is None else up_to
        return list(self.window.read(rooms, after=after, up_to=limit, entries_max=entries_max))


TestWindows = Windows.TestCase
TestWindows.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
