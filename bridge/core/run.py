"""Frames on their way to many sockets: made once, joined once, and coded once for all who want them coded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bridge.core.outbox import Frame


class Coding(Protocol):
    """How the sockets of one parameter set get their frames, such as compressed. One object for each set."""

    def encode(self, frame: Frame) -> Frame:
        """Return the frame in this coding, or the frame itself if the coding is of no use to it."""


class Run:
    """One frame or several in log order, that leave in one write to each socket.

    `data` is what is written: the frames' bytes, joined.
    """

    __slots__ = ("_coded", "data", "frames")

    def __init__(self, frames: Sequence[Frame]) -> None:
        """Join frames; there is at least one."""
        self.frames = frames
        self.data = frames[0].data if len(frames) == 1 else b"".join([frame.data for frame in frames])
        self._coded: dict[Coding, Run] | None = None  # Made with the first; at most one for each coding.

    def coded(self, coding: Coding) -> Run:
        """Return the run in a coding. Frames are coded for the first who asks, and shared from then on."""
        if self._coded is None:
            self._coded = {}
        run = self._coded.get(coding)
        if run is None:
            run = self._coded[coding] = Run([coding.encode(frame) for frame in self.frames])
        return run
