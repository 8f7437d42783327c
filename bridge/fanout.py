"""From the log to the sockets: each entry is framed once per target and offered to who is there.

Who takes it compressed gets it compressed once for all.

What was handed out stays in the replay window for those who come back.
Everything here is one synchronous call: no socket can see entries out of log order, and none can
make another wait, since an outbox takes or refuses a frame at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from bridge.core.entry import Logged, Position
from bridge.core.hub import Hub
from bridge.core.outbox import Frame
from bridge.core.run import Run
from bridge.core.stats import Stats
from bridge.core.tracecontext import is_sampled
from bridge.core.window import Window


class Member(Protocol):
    """What fan-out needs of a socket."""

    def offer(self, run: Run) -> None:
        """Queue frames."""

    def flush(self) -> None:
        """Write what is queued, if the client keeps up."""

    def send(self, run: Run) -> int:
        """Do both. How many bytes were written at once, uncounted, since nothing waited; else 0."""


class Spans(Protocol):
    """Where sampled traces are told that their events went out."""

    def handed_out(self, logged: Logged, *, sockets: int, began_at: float, written_at: float) -> None:
        """Note that an entry of a sampled trace was offered to so many sockets. Must neither wait nor raise.

        Times are in seconds since the Unix epoch: when this node got the entry, and when it had written it.
        """


M = TypeVar("M", bound=Member)
AGE_SECONDS_MAX = 3_600.0  # Counted at most: a publisher's wrong clock is not our latency.
JOINED_BYTES_MAX = 65_536  # Of one write, so that a client which falls behind is noticed between two.


class Fanout(Generic[M]):
    """Hands log entries to the sockets in their target rooms."""

    def __init__(
        self,
        hub: Hub[M],
        window: Window,
        *,
        frame: Callable[[Logged, str], Frame],
        on_new_life: Callable[[], None],
        stats: Stats,
        spans: Spans | None = None,
    ) -> None:
        """`frame` makes an entry into what the sockets of one room get.

        `on_new_life` is called when the log starts over, or has a hole: every socket must then be
        closed, since none can know what it missed.
        """
        self._hub = hub
        self._window = window
        self._frame = frame
        self._on_new_life = on_new_life
        self._stats = stats
        self._spans = spans

    def begin(self, position: Position) -> None:
        """Start over at a position of the log."""
        first = not self._window.epoch
        self._window.begin(position)
        if not first:
            self._on_new_life()

    def advance(self, offset: int) -> None:
        """Note that the log has come to this offset without an entry."""
        self._window.advance(offset)

    def receive(self, batch: Sequence[Logged]) -> None:
        """Hand a run of entries out, in order; frames for one socket leave in one write."""
        now = time.time()
        self._window.append(batch, now)
        current = [logged for logged in batch if not self._expired(logged, now)]
        self._stats.entries_seen += len(batch)
        # Most runs are of one entry, and in a storm most entries have the same targets.
        alike = len({logged.entry.targets for logged in current}) == 1
        sent = self._send_alike(current) if alike else self._send_mixed(current)
        self._observe(sent)
        if self._spans is not None:
            self._trace(self._spans, sent, now)

    def _expired(self, logged: Logged, now: float) -> bool:
        expires_at = logged.entry.expires_at
        if expires_at is None or now <= expires_at:
            return False
        self._stats.entries_expired += 1
        return True

    def _send_alike(self, current: Sequence[Logged]) -> Sequence[Logged]:
        """Hand out entries with the same targets, joined once for all; return those that reached anybody."""
        reached: Sequence[Logged] = ()
        for room, members in self._hub.audience(current[0].entry.targets):
            reached = current
            for frames in _bounded([self._frame(logged, room) for logged in current]):
                run = Run(frames)
                sizes = [member.send(run) for member in members]
                self._stats.frames_sent += (len(sizes) - sizes.count(0)) * len(frames)
                self._stats.bytes_sent += sum(sizes)
        return reached

    def _send_mixed(self, current: Sequence[Logged]) -> Sequence[Logged]:
        """Hand out entries with different targets, joined by socket; return those that reached anybody."""
        waiting: dict[M, list[Run]] = {}
        reached: list[Logged] = []
        for logged in current:
            for room, members in self._hub.audience(logged.entry.targets):
                run = Run([self._frame(logged, room)])
                for member in members:
                    waiting.setdefault(member, []).append(run)
                if not reached or reached[-1] is not logged:
                    reached.append(logged)
        sizes = [
            member.send(runs[0]) if len(runs) == 1 else _send_joined(member, runs)
            for member, runs in waiting.items()
        ]
        self._stats.frames_sent += len(sizes) - sizes.count(0)
        self._stats.bytes_sent += sum(sizes)
        return reached

    def _observe(self, sent: Iterable[Logged]) -> None:
        written_at = time.time()
        for logged in sent:
            age_seconds = written_at - logged.entry.occurred_at
            self._stats.latency_seconds.observe(min(max(0.0, age_seconds), AGE_SECONDS_MAX))

    def _trace(self, spans: Spans, sent: Iterable[Logged], began_at: float) -> None:
        written_at = time.time()
        for logged in sent:
            if is_sampled(logged.entry.trace):
                sockets = sum(len(members) for _, members in self._hub.audience(logged.entry.targets))
                spans.handed_out(logged, sockets=sockets, began_at=began_at, written_at=written_at)


def _send_joined(member: Member, runs: Sequence[Run]) -> int:
    """Have a socket join its runs, and write them; it counts that itself, so 0 is returned."""
    for run in runs:
        member.offer(run)
    member.flush()
    return 0


def _bounded(frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
    """Split frames into runs of at most JOINED_BYTES_MAX; a larger frame is a run of its own."""
    run: list[Frame] = []
    size = 0
    for frame in frames:
        if run and size + len(frame.data) > JOINED_BYTES_MAX:
            yield run
            run, size = [], 0
        run.append(frame)
        size += len(frame.data)
    yield run
