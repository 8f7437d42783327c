"""Frames for many: joined once, and coded once for each coding in use."""

from __future__ import annotations

from collections import Counter

from bridge.core.outbox import Frame
from bridge.core.policy import Policy
from bridge.core.run import Run


class Louder:
    """A coding that anybody can check, and which counts."""

    def __init__(self, mark: bytes = b"!") -> None:
        self._mark = mark
        self.encoded: Counter[bytes] = Counter()

    def encode(self, frame: Frame) -> Frame:
        """Return the frame with a mark, unless it is short."""
        self.encoded[frame.data] += 1
        if len(frame.data) < 2:
            return frame
        return Frame(frame.data + self._mark, frame.policy, frame.conflate_key, frame.offset)


def test_one_frame() -> None:
    """A run of one frame is written as the frame's own bytes: nothing is copied."""
    frame = Frame(b"one")

    assert Run([frame]).data is frame.data


def test_several_frames() -> None:
    """Several frames are joined in their order."""
    assert Run([Frame(b"one"), Frame(b"two")]).data == b"onetwo"


def test_coded() -> None:
    """A run in a coding has each frame in it, with what an outbox needs; the run itself stays as it was."""
    run = Run([Frame(b"one", Policy.CONFLATE, "key", 7), Frame(b"2", offset=8)])

    coded = run.coded(Louder())

    assert coded.data == b"one!2"
    assert coded.frames == [Frame(b"one!", Policy.CONFLATE, "key", 7), Frame(b"2", offset=8)]
    assert run.data == b"one2"


def test_coded_once() -> None:
    """However many ask, each frame is coded and the run joined once for each coding."""
    run = Run([Frame(b"one"), Frame(b"two")])
    codings = Louder(b"!"), Louder(b"?")

    first, second = ([run.coded(coding) for _ in range(100)] for coding in codings)

    assert all(coded is first[0] for coded in first)
    assert all(coded is second[0] for coded in second)
    assert (first[0].data, second[0].data) == (b"one!two!", b"one?two?")
    assert all(coding.encoded == {b"one": 1, b"two": 1} for coding in codings)
