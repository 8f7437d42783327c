"""From the log to the sockets: once, in order, and made once for all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings, strategies as st

from bridge.core.entry import Entry, EventKey, Logged, Position
from bridge.core.hub import Hub
from bridge.core.outbox import Frame
from bridge.core.policy import Policy
from bridge.core.run import Run
from bridge.core.stats import Stats
from bridge.core.window import Window, WindowLimits
from bridge.fanout import Fanout
from tests.fakes import FakeSocket


def entry(offset: int, *targets: str, expires_in: float | None = None, occurred_ago: float = 0.0) -> Logged:
    """Return an event of the log for these rooms. Times in seconds from now."""
    now = time.time()
    return Logged(
        offset,
        Entry(
            key=EventKey("quota.updated", f"e-{offset}"),
            targets=targets,
            policy=Policy.CONFLATE,
            conflate_key=f"key-{offset}",
            occurred_at=now - occurred_ago,
            expires_at=None if expires_in is None else now + expires_in,
            payload=b"{}",
        ),
    )


@dataclass
class World:
    """A fan-out, the rooms it serves, and what it made."""

    hub: Hub[FakeSocket] = field(default_factory=Hub)
    stats: Stats = field(default_factory=Stats)
    made: list[tuple[int, str]] = field(default_factory=list)  # Offset and room of every frame.
    lives: int = 0
    window: Window = field(default_factory=lambda: Window(WindowLimits(300.0, 1_000_000)))

    def __post_init__(self) -> None:
        """Put the parts together, at the birth of a log."""
        self.fanout = Fanout(
            self.hub, self.window, frame=self._frame, on_new_life=self._on_new_life, stats=self.stats
        )
        self.fanout.begin(Position("life-1", 0))

    def _frame(self, logged: Logged, room: str) -> Frame:
        self.made.append((logged.offset, room))
        one = logged.entry
        return Frame(f"{logged.offset}@{room}".encode(), one.policy, one.conflate_key, logged.offset)

    def _on_new_life(self) -> None:
        self.lives += 1

    def socket(self, *rooms: str) -> FakeSocket:
        """Return a socket that is in these rooms."""
        socket = FakeSocket()
        for room in rooms:
            self.hub.join(socket, room)
        return socket


def texts(frames: Sequence[Frame]) -> list[str]:
    """Return what stands in frames."""
    return [frame.data.decode() for frame in frames]


def test_one_frame_for_a_room() -> None:
    """An event is made into one frame for a room, and every socket in it gets that very frame."""
    world = World()
    sockets = [world.socket("user:u1") for _ in range(100)]

    world.fanout.receive([entry(1, "user:u1")])

    assert world.made == [(1, "user:u1")]
    frame = sockets[0].frames[0]
    assert all(len(socket.frames) == 1 and socket.frames[0] is frame for socket in sockets)


def test_one_frame_for_each_target() -> None:
    """For each of its rooms an event is made into a frame that names the room."""
    world = World()
    owner, watcher = world.socket("user:u1"), world.socket("device:d7")

    world.fanout.receive([entry(1, "device:d7", "user:u1")])

    assert texts(owner.frames) == ["1@user:u1"]
    assert texts(watcher.frames) == ["1@device:d7"]


def test_in_several_targets() -> None:
    """A socket in several of an event's rooms gets it once, by the first of them."""
    world = World()
    both = world.socket("user:u1", "device:d7")

    world.fanout.receive([entry(1, "device:d7", "user:u1")])

    assert texts(both.frames) == ["1@device:d7"]
    assert world.made == [(1, "device:d7")]  # Nobody else is in the other room: no frame is made for it.


def test_one_write_for_a_batch() -> None:
    """The frames that a batch has for a socket are written at once, in the order of the log."""
    world = World()
    one, other = world.socket("user:u1", "all"), world.socket("all")

    world.fanout.receive(
        [entry(1, "user:u1"), entry(2, "all"), entry(3, "user:u2"), entry(4, "user:u1", "all")]
    )

    assert [texts(write) for write in one.writes] == [["1@user:u1", "2@all", "4@user:u1"]]
    assert [texts(write) for write in other.writes] == [["2@all", "4@all"]]


def test_what_is_written_at_once_is_counted() -> None:
    """A single frame of a batch is counted by fan-out, joined ones by the socket that joins them."""
    world = World()

    class Uncounted(FakeSocket):
        def send(self, run: Run) -> int:
            super().send(run)
            return len(run.data)

    for room in ("user:u1", "user:u2"):
        world.hub.join(Uncounted(), room)

    world.fanout.receive([entry(1, "user:u1"), entry(2, "user:u2"), entry(3, "user:u2")])

    assert (world.stats.frames_sent, world.stats.bytes_sent) == (1, len("1@user:u1"))


def test_nobody_is_there() -> None:
    """For rooms without sockets nothing is made and nothing written; the event stays in the window."""
    world = World()
    bystander = world.socket("user:u2")

    world.fanout.receive([entry(1, "user:u1", "device:d7")])

    assert world.made == []
    assert bystander.writes == []
    assert len(world.window) == 1
    assert (world.stats.entries_seen, sum(world.stats.latency_seconds.counts)) == (1, 0)


def test_expired_events_are_not_sent() -> None:
    """An event that has become worthless on its way is counted and not sent; those around it are."""
    world = World()
    socket = world.socket("all")

    world.fanout.receive(
        [
            entry(1, "all"),
            entry(2, "all", expires_in=-0.001),
            entry(3, "all", expires_in=60.0),
        ]
    )

    assert texts(socket.frames) == ["1@all", "3@all"]
    assert (world.stats.entries_seen, world.stats.entries_expired) == (3, 1)


def test_frames_keep_what_an_outbox_needs() -> None:
    """A frame has the event's policy, conflation key and offset."""
    world = World()
    socket = world.socket("all")

    world.fanout.receive([entry(7, "all")])

    (frame,) = socket.frames
    assert (frame.policy, frame.conflate_key, frame.offset) == (Policy.CONFLATE, "key-7", 7)


def test_latency_is_observed_once_for_an_event() -> None:
    """The time from publisher to socket counts once for each event, however many sockets; never below 0."""
    world = World()
    for _ in range(10):
        world.socket("all")

    world.fanout.receive([entry(1, "all", occurred_ago=0.3), entry(2, "all", occurred_ago=-100.0)])

    latency = world.stats.latency_seconds
    assert sum(latency.counts) == 2
    assert latency.counts[0] == 1
    assert latency.total == pytest.approx(0.3, abs=0.2)


def test_who_leaves_while_served() -> None:
    """A socket that goes, and takes another with it, while an event is handed out disturbs nobody else."""
    world = World()

    class Leaving(FakeSocket):
        def offer(self, run: Run) -> None:
            super().offer(run)
            for socket in (self, second):
                world.hub.leave(socket, ["all"])

    first, second, third = Leaving(), FakeSocket(), FakeSocket()
    for socket in (first, second, third):
        world.hub.join(socket, "all")

    world.fanout.receive([entry(1, "all"), entry(2, "all")])

    assert texts(third.frames) == ["1@all", "2@all"]
    assert texts(first.frames)[0] == "1@all"


def test_a_new_life_of_the_log() -> None:
    """When the log starts over, all sockets are told once for each life; the first life is no news."""
    world = World()
    assert world.lives == 0

    world.fanout.receive([entry(1, "all")])
    world.fanout.begin(Position("life-2", 0))

    assert world.lives == 1
    assert world.window.position == Position("life-2", 0)
    assert len(world.window) == 0


def test_a_log_without_news() -> None:
    """The log can go on without an event; whoever asks where it is learns that."""
    world = World()

    world.fanout.advance(1024)

    assert world.window.position == Position("life-1", 1024)


rooms = st.sampled_from(["a", "b", "c", "d"])


@settings(deadline=None)
@given(
    st.lists(st.frozensets(rooms), max_size=5),
    st.lists(st.lists(rooms, min_size=1, max_size=3).map(tuple), max_size=12),
    st.integers(1, 5),
)
def test_everybody_gets_everything_once_in_order(
    memberships: list[frozenset[str]], events: list[tuple[str, ...]], batch_size: int
) -> None:
    """Whoever is in any room of an event gets it, once and in the order of the log, and nobody else does."""
    world = World()
    sockets = [world.socket(*sorted(membership)) for membership in memberships]
    log = [entry(offset, *targets) for offset, targets in enumerate(events, 1)]

    batches = [log[start : start + batch_size] for start in range(0, len(log), batch_size)]
    for batch in batches:
        world.fanout.receive(batch)

    for membership, socket in zip(memberships, sockets, strict=True):
        expected = [logged.offset for logged in log if membership & set(logged.entry.targets)]
        assert [frame.offset for frame in socket.frames] == expected
        assert len(socket.writes) <= len(batches)
        assert all(socket.writes)
    assert len(world.made) == len(set(world.made))
