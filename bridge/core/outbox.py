"""A session's bounded queue of frames, and what gives way when it is full.

An outbox is empty most of its life: frames go in while a batch of events is handed out and
leave in one write. Only a socket whose client does not keep up lets it fill. At a limit it is
compacted once: superseded gauges go first, then the oldest droppable frames until a quarter of
the limit is free, so that the next compaction is far away and each frame costs constant time.
"""

from __future__ import annotations

from dataclasses import dataclass

from bridge.core.close import SLOW, CloseReason
from bridge.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Frame:
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


class Outbox:
    """The frames that wait for one socket, in log order."""

    __slots__ = ("_bytes", "_frames", "_gap", "_limits", "conflated", "dropped")

    def __init__(self, limits: OutboxLimits) -> None:
        """Start empty. `limits` is shared by all outboxes."""
        self._limits = limits
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
        self._frames.append(frame)
        self._bytes += len(frame.data)
        if self._bytes > self._limits.bytes_max or len(self._frames) > self._limits.frames_max:
            return self._make_room()
        return None

    def take(self) -> tuple[Gap | None, list[Frame]]:
        """Empty the outbox: what was dropped and not yet reported, then the frames to write."""
        gap, frames = self._gap, self._frames
        self._gap = None
        self._frames = []
        self._bytes = 0
        return gap, frames

    def clear(self) -> None:
        """Forget everything; the socket is going away."""
        self.take()

    def _over(self, numerator: int, denominator: int) -> bool:
        """Tell whether more waits than this part of a limit."""
        limits = self._limits
        return (
            self._bytes * denominator > limits.bytes_max * numerator
            or len(self._frames) * denominator > limits.frames_max * numerator
        )

    def _make_room(self) -> CloseReason | None:
        self._conflate()
        if self._over(3, 4):
            self._drop_oldest()
        if self._over(1, 1):
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

    def _drop_oldest(self) -> None:
        """Drop droppable frames from the oldest on until a quarter of the limit is free."""
        kept: list[Frame] = []
        excess_bytes = self._bytes - self._limits.bytes_max * 3 // 4
        excess_frames = len(self._frames) - self._limits.frames_max * 3 // 4
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
        self._frames = frames
        self._bytes = sum(len(frame.data) for frame in frames)
