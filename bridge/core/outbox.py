"""A session's bounded queue of frames, and what gives way when it is full.

An outbox is empty most of its life: frames go in while a batch of events is handed out and
leave in one write. Only a socket whose client does not keep up lets it fill. At a limit it is
compacted once: superseded gauges go first, then the oldest droppable frames until a quarter of
the limit is free, so that the next compaction is far away and each frame costs constant time.
A second limit, the pool's, is for all sockets of a node together.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from bridge.core.close import SLOW, CloseReason
from bridge.core.policy import Policy


class Frame(Struct, frozen=True, gc=False):
    """One message as it goes on the wire, shared by every socket that gets it.

    `offset` is the event's offset in the log, 0 for a message that is not an event.
    """

    data: bytes
    policy: Policy = Policy.MUST_DELIVER
    conflate_key: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that a socket did not get: how many, and between which offsets (inclusive)."""

    events: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait for one socket."""

    frames_max: int
    bytes_max: int


class Pool:
    """What all outboxes of a node hold together.

    Beyond `bytes_max` each outbox that holds anything may hold its fair share and no more, so that
    those who are far behind make room first.
    """

    __slots__ = ("bytes_held", "bytes_max", "holders")

    def __init__(self, *, bytes_max: int) -> None:
        """Start empty."""
        self.bytes_max = bytes_max
        self.bytes_held = 0
        self.holders = 0

    @property
    def share_bytes_max(self) -> int:
        """How many bytes one outbox may hold when there is not room for all."""
        return self.bytes_max // max(1, self.holders)


class Outbox:
    """The frames that wait for one socket, in log order."""

    __slots__ = ("_bytes", "_frames", "_gap", "_limits", "_pool", "conflated", "dropped")

    def __init__(self, limits: OutboxLimits, pool: Pool) -> None:
        """Start empty. `limits` and `pool` are shared by all outboxes of a node."""
        self._limits = limits
        self._pool = pool
        self._frames: list[Frame] = []
        self._bytes = 0
        self._gap: Gap | None = None  # Set while dropped frames have not been reported.
        self.conflated = 0
        self.dropped = 0

    def __bool__(self) -> bool:
        """Tell whether there is something to write: frames, or a gap to report."""
        return bool(self._frames) or self._gap is not None

    def __len__(self) -> int:
        """Return how many frames wait."""
        return len(self._frames)

    @property
    def bytes_waiting(self) -> int:
        """How many bytes wait."""
        return self._bytes

    def offer(self, frame: Frame) -> CloseReason | None:
        """Queue a frame. If a reason is returned, the caller must close the socket with it."""
        size = len(frame.data)
        pool, limits = self._pool, self._limits
        if not self._frames:
            pool.holders += 1
        self._frames.append(frame)
        self._bytes += size
        pool.bytes_held += size
        if self._bytes > limits.bytes_max or len(self._frames) > limits.frames_max:
            return self._make_room(limits)
        if pool.bytes_held > pool.bytes_max and self._bytes > pool.share_bytes_max:
            return self._make_room(OutboxLimits(limits.frames_max, pool.share_bytes_max))
        return None

    def take(self) -> tuple[Gap | None, list[Frame]]:
        """Empty the outbox: what was dropped and not yet reported, then the frames to write."""
        gap, frames = self._gap, self._frames
        self._gap = None
        if frames:
            self._keep([])
        return gap, frames

    def clear(self) -> None:
        """Forget everything; the socket is going away."""
        self.take()

    def _over(self, limits: OutboxLimits, numerator: int, denominator: int) -> bool:
        """Tell whether more waits than this part of a limit."""
        return (
            self._bytes * denominator > limits.bytes_max * numerator
            or len(self._frames) * denominator > limits.frames_max * numerator
        )

    def _make_room(self, limits: OutboxLimits) -> CloseReason | None:
        self._conflate()
        if self._over(limits, 3, 4):
            self._drop_oldest(limits)
        if self._over(limits, 1, 1):
            waiting_frames, waiting_bytes = len(self._frames), self._bytes
            self.clear()
            return SLOW.because(f"slow consumer: {waiting_frames} frames, {waiting_bytes} bytes waiting")
        return None

    def _conflate(self) -> None:
        """Keep only the newest frame of every conflation key."""
        newest = {frame.conflate_key: frame for frame in self._frames if frame.conflate_key}
        kept = [
            frame for frame in self._frames if not frame.conflate_key or newest[frame.conflate_key] is frame
        ]
        self.conflated += len(self._frames) - len(kept)
        self._keep(kept)

    def _drop_oldest(self, limits: OutboxLimits) -> None:
        """Drop droppable frames from the oldest on until a quarter of the limit is free."""
        kept: list[Frame] = []
        excess_bytes = self._bytes - limits.bytes_max * 3 // 4
        excess_frames = len(self._frames) - limits.frames_max * 3 // 4
        for frame in self._frames:
            if frame.policy is Policy.MUST_DELIVER or (excess_bytes <= 0 and excess_frames <= 0):
                kept.append(frame)
                continue
            excess_bytes -= len(frame.data)
            excess_frames -= 1
            self._report(frame)
        self._keep(kept)

    def _report(self, frame: Frame) -> None:
        self.dropped += 1
        gap = self._gap or Gap(0, frame.offset, frame.offset)
        first = min(gap.first_offset, frame.offset)
        self._gap = Gap(gap.events + 1, first, max(gap.last_offset, frame.offset))

    def _keep(self, frames: list[Frame]) -> None:
        held, self._bytes = self._bytes, sum(len(frame.data) for frame in frames)
        self._pool.bytes_held += self._bytes - held
        if self._frames and not frames:
            self._pool.holders -= 1
        self._frames = frames
