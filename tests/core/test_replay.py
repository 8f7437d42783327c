"""What a session is sent from the window: all that it missed, once, in order, and nothing else."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.core.entry import Entry, EventKey, Logged, Position
from bridge.core.policy import Policy
from bridge.core.replay import Replay
from bridge.core.window import Window, WindowLimits

ROOMS = ("a", "b", "c", "d")
EPOCH = "e1"
BYTES_MAX = 10**6
ENDLESS = WindowLimits(seconds_max=1e9, bytes_max=10**9)

rooms_strategy = st.sets(st.sampled_from(ROOMS), min_size=1)


def logged(offset: int, *rooms: str) -> Logged:
    """Return an entry for these rooms at this offset."""
    return Logged(
        offset,
        Entry(EventKey("t.t", str(offset)), rooms, Policy.MUST_DELIVER, "", 0.0, None, b"{}"),
    )


def window_of(*entries: Logged) -> Window:
    """Return a window that begins at offset 0 and holds these."""
    window = Window(ENDLESS)
    window.begin(Position(EPOCH, 0))
    window.append(entries, 0.0)
    return window


def replayed(replay: Replay, rooms: dict[str, int], *, entries_max: int = 2) -> list[tuple[int, str]]:
    """Take everything to the end; return each offset with the room by which it came."""
    sent: list[tuple[int, str]] = []
    while not replay.done:
        owed = replay.take(rooms, entries_max=entries_max, bytes_max=BYTES_MAX)
        assert owed is not None
        sent += [(one.logged.offset, one.room) for one in owed]
    return sent


def test_nothing_is_owed_at_the_head() -> None:
    """Who comes back with the newest position goes live at once."""
    assert Replay(window_of(logged(1, "a")), after=1).done


def test_missed_entries_of_its_rooms_are_owed() -> None:
    """Exactly the entries behind the position that go to the session's rooms come, in order, once."""
    window = window_of(logged(1, "a"), logged(2, "a", "b"), logged(3, "c"), logged(9, "b", "a"))

    assert replayed(Replay(window, after=1), {"a": 1, "b": 1}) == [(2, "a"), (9, "b")]


def test_entries_logged_meanwhile_come_in_their_turn() -> None:
    """What is logged during a replay comes after what was missed, by the same replay."""
    window = window_of(logged(1, "a"), logged(2, "a"))
    replay = Replay(window, after=0)
    first = replay.take({"a": 0}, entries_max=1, bytes_max=BYTES_MAX)
    window.append([logged(3, "a")], 0.0)

    assert first is not None
    assert [one.logged.offset for one in first] == [1]
    assert replayed(replay, {"a": 0}) == [(2, "a"), (3, "a")]


@pytest.mark.parametrize(("bytes_max", "takes"), [(1, [1, 1, 1]), (4, [2, 1]), (100, [3])])
def test_take_is_bounded_in_bytes(bytes_max: int, takes: list[int]) -> None:
    """A take stops before it grows past the bytes, but never gives nothing."""
    replay = Replay(window_of(logged(1, "a"), logged(2, "a"), logged(3, "a")), after=0)
    taken = []
    while not replay.done:
        owed = replay.take({"a": 0}, entries_max=10, bytes_max=bytes_max)
        assert owed is not None
        taken.append(len(owed))

    assert taken == takes


def test_room_joined_later_comes_from_its_own_offset() -> None:
    """A room joined during a replay without a position gets what is logged from then on."""
    window = window_of(logged(1, "a", "b"), logged(2, "b"))
    replay = Replay(window, after=0)
    rooms = {"a": 0, "b": 2}
    window.append([logged(3, "b")], 0.0)

    assert replayed(replay, rooms) == [(1, "a"), (3, "b")]


def test_looking_back_brings_what_other_rooms_did_not() -> None:
    """A room that comes in with a position of its own brings what went to it alone."""
    window = window_of(logged(1, "b"), logged(2, "a", "b"), logged(3, "b"))
    replay = Replay(window, after=3)
    replay.look_back({"a": 0}, ["b"], after=0)

    assert replayed(replay, {"a": 0, "b": 0}) == [(1, "b"), (3, "b")]


def test_rooms_that_look_back_one_after_the_other_leave_nothing_to_each_other() -> None:
    """An entry for two rooms that both still look back comes once."""
    window = window_of(logged(1, "b", "c"), logged(2, "c"), logged(3, "b", "c"))
    replay = Replay(window, after=3)
    replay.look_back({}, ["b"], after=0)
    replay.look_back({"b": 0}, ["c"], after=0)

    assert [offset for offset, _ in replayed(replay, {"b": 0, "c": 0})] == [1, 2, 3]


def test_room_that_left_and_came_back_is_owed_all_that_it_asks_for() -> None:
    """A room that is left and joined again with an earlier position begins anew, and brings nothing twice."""
    window = window_of(logged(1, "b"), logged(2, "b"))
    replay = Replay(window, after=2)
    replay.look_back({}, ["b"], after=1)
    replay.look_back({}, ["b"], after=0)

    assert replayed(replay, {"b": 0}) == [(1, "b"), (2, "b")]


def test_room_that_was_away_has_not_brought_what_came_meanwhile() -> None:
    """What went by while a room was left is not taken for sent by it, if another room asks for it."""
    window = window_of(logged(1, "c"), logged(2, "a", "b"), logged(3, "c"), logged(4, "c"))
    replay = Replay(window, after=0)
    replay.look_back({"a": 0}, ["c"], after=0)
    # Here `a` is left; two entries are sent; and it is joined again, without a position.
    replay.take({"c": 0}, entries_max=2, bytes_max=BYTES_MAX)
    replay.look_back({"a": 4, "c": 0}, ["b"], after=0)

    assert replayed(replay, {"a": 4, "b": 0, "c": 0}) == [(2, "b"), (4, "c")]


@pytest.mark.parametrize("looking_back", [False, True])
def test_owed_entries_that_are_gone_end_it(looking_back: bool) -> None:  # noqa: FBT001 - pytest's parameter
    """When the window has left what is owed behind, taking says so: the socket must be closed."""
    window = Window(WindowLimits(seconds_max=10.0, bytes_max=10**9))
    window.begin(Position(EPOCH, 0))
    window.append([logged(1, "a")], 0.0)
    replay = Replay(window, after=1 if looking_back else 0)
    if looking_back:
        replay.look_back({}, ["a"], after=0)
    window.append([logged(2, "a")], 100.0)

    assert replay.take({"a": 0}, entries_max=10, bytes_max=BYTES_MAX) is None


class Sessions(RuleBasedStateMachine):
    """One session that comes, joins and leaves rooms, and reads, while entries are logged.

    It acts as bridge.core.session does. What must hold is written against the plain list of all entries.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = count(1)  # One tick for everything that happens to the session.
        self.log: list[Logged] = []
        self.rooms: dict[str, int] = {}
        self.joined_at: dict[str, int] = {}
        self.sent: dict[int, list[tuple[int, str]]] = {}  # By offset: when, and by which room.
        self.replay: Replay | None = None
        self.newest_sent = 0  # Set back only by a room that asks for older entries.

    @initialize(
        bytes_max=st.sampled_from([10**9, 10**9, 6_000]),
        batch=st.lists(rooms_strategy, min_size=3, max_size=12),
    )
    def begin(self, bytes_max: int, batch: list[set[str]]) -> None:
        """Start a life of the log, and a session that is live."""
        self.window = Window(WindowLimits(seconds_max=1e9, bytes_max=bytes_max))
        self.window.begin(Position(EPOCH, 0))
        self.log_entries(batch, 1)
        self.come_back(self.window.head, {"a"})

    @rule(batch=st.lists(rooms_strategy, max_size=4), hole=st.integers(1, 3))
    def log_entries(self, batch: list[set[str]], hole: int) -> None:
        """Log some entries; a live session is sent its own at once."""
        start = self.window.head + hole
        entries = [logged(offset, *sorted(rooms)) for offset, rooms in enumerate(batch, start)]
        self.log += entries
        self.window.append(entries, 0.0)
        if self.replay is None:
            for entry in entries:
                room = next((room for room in entry.entry.targets if room in self.rooms), None)
                if room is not None:
                    self.send(entry, room)

    @rule(by=st.integers(1, 3))
    def advance(self, by: int) -> None:
        """Let the log come to an offset without an entry."""
        self.window.advance(self.window.head + by)

    @precondition(lambda self: self.replay is not None)
    @rule(entries_max=st.integers(1, 5), bytes_max=st.sampled_from([1, 5, BYTES_MAX]))
    def take(self, entries_max: int, bytes_max: int) -> None:
        """Take a part of what is owed."""
        assert self.replay is not None
        owed = self.replay.take(self.rooms, entries_max=entries_max, bytes_max=bytes_max)
        if owed is None:
            assert self.replay._read_to < self.window.floor
            self.start_over()
            return
        assert len(owed) <= entries_max
        assert owed or self.replay.done
        offsets = [one.logged.offset for one in owed]
        assert offsets == sorted(set(offsets))
        for one in owed:
            self.send(one.logged, one.room)
        if self.replay.done:
            self.replay = None

    @rule(data=st.data(), rooms=st.sets(st.sampled_from(ROOMS), min_size=1, max_size=2))
    def subscribe(self, data: st.DataObject, rooms: set[str]) -> None:
        """Join rooms, with or without a position."""
        since = data.draw(st.integers(0, self.window.head) | st.none(), "since")
        if since is not None and not self.window.covers(Position(EPOCH, since)):
            since = None
        joined = sorted(rooms - self.rooms.keys())
        self.join(joined, self.window.head if since is None else since)
        if since is not None and joined:
            if self.replay is None:
                self.replay = Replay(self.window, after=self.window.head)
            before = {room: start for room, start in self.rooms.items() if room not in joined}
            self.replay.look_back(before, joined, after=since)
            self.newest_sent = min(self.newest_sent, since)

    @rule(room=st.sampled_from(ROOMS))
    def unsubscribe(self, room: str) -> None:
        """Leave a room."""
        self.rooms.pop(room, None)

    @precondition(lambda self: self.log)
    @rule(data=st.data(), rooms=rooms_strategy)
    def reconnect(self, data: st.DataObject, rooms: set[str]) -> None:
        """Come back as a new socket, with any position."""
        self.come_back(data.draw(st.integers(0, self.window.head), "since"), rooms)

    @invariant()
    def whole_when_live(self) -> None:
        """A live session has been sent everything in its rooms that is behind their offsets."""
        if self.replay is not None:
            return
        for entry in self.log:
            due = [room for room in entry.entry.targets if entry.offset > self.rooms.get(room, entry.offset)]
            assert not due or entry.offset in self.sent, f"{entry.offset} is missing, due by {due}"

    def send(self, entry: Logged, room: str) -> None:
        """Note that the session is sent an entry, and that this is right."""
        now = next(self.clock)
        assert room in entry.entry.targets
        assert room in self.rooms
        assert entry.offset > self.rooms[room]
        for then, by in self.sent.get(entry.offset, ()):
            stayed = by in self.rooms and self.joined_at[by] < then
            assert not stayed, f"{entry.offset} came by {by} already"
        assert entry.offset > self.newest_sent
        self.newest_sent = entry.offset
        self.sent.setdefault(entry.offset, []).append((now, room))

    def come_back(self, since: int, rooms: Collection[str]) -> None:
        """Open a new session with a position."""
        self.start_over()
        covered = self.window.covers(Position(EPOCH, since))
        self.join(rooms, since if covered else self.window.head)
        if covered:
            self.newest_sent = since
            self.replay = Replay(self.window, after=since)
            if self.replay.done:
                self.replay = None

    def start_over(self) -> None:
        """Be a new socket in no room."""
        self.rooms = {}
        self.sent = {}
        self.replay = None
        self.newest_sent = 0

    def join(self, rooms: Collection[str], after: int) -> None:
        """Join rooms from an offset on."""
        self.rooms.update(dict.fromkeys(rooms, after))
        self.joined_at.update(dict.fromkeys(rooms, next(self.clock)))


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
