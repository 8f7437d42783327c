"""The reader of frames, fed anything: any frames in any order, cut anywhere, damaged, or no frames at all."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pamqp import commands, frame
from pamqp.heartbeat import Heartbeat

from bridge.amqp.frames import FrameError
from tests.amqp.wire import (
    ALSO_OURS,
    OTHERS,
    OURS,
    START,
    THEIRS,
    delivery,
    method,
    read_by_pamqp,
    read_by_us,
    returned,
    some,
)

pytestmark = pytest.mark.filterwarnings("ignore:This command is deprecated")  # Says pamqp of some.
Basic, Channel = commands.Basic, commands.Channel
HEARTBEAT = frame.marshal(Heartbeat(), 0)

TEXTS = st.text(min_size=1, max_size=20)
PROPERTIES_OF_ANY_KIND = st.fixed_dictionaries(
    {},
    optional={
        "message_id": TEXTS,
        "content_type": TEXTS,
        "headers": st.dictionaries(TEXTS, st.integers(0, 2**31) | TEXTS | st.booleans(), max_size=3),
        "priority": st.integers(0, 255),
        "app_id": TEXTS,
    },
)


@st.composite
def parts(draw: st.DrawFn, channel: int) -> list[bytes]:
    """One thing that a broker says on a channel, as frames."""
    kind = draw(st.sampled_from(["delivery", "return", "confirm", "else", "end"]))
    if kind == "delivery":
        size = draw(st.integers(0, 9))
        properties = draw(PROPERTIES_OF_ANY_KIND)
        tag = draw(st.integers(1, 2**63 - 1))
        return delivery(channel, tag, draw(st.binary(max_size=40)), body_bytes_max=size, **properties)
    if kind == "return":
        return returned(channel, draw(st.binary(max_size=40)))
    if kind == "confirm":
        tag, multiple = draw(st.integers(1, 2**63 - 1)), draw(st.booleans())
        return [method(draw(st.sampled_from([Basic.Ack, Basic.Nack]))(tag, multiple), channel)]
    if kind == "else":
        return [method(some(draw(st.sampled_from(OTHERS))), channel)]
    end = draw(st.sampled_from([Channel.CloseOk(), Channel.Close(406, "PRECONDITION_FAILED", 60, 80)]))
    return [method(end, channel)]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What a broker says on several channels, whose frames alternate in any way."""
    waiting: dict[int, list[bytes]] = {
        channel: [one for part in draw(st.lists(parts(channel), max_size=4)) for one in part]
        for channel in (OURS, ALSO_OURS, THEIRS)
    }
    waiting[0] = [HEARTBEAT] * draw(st.integers(0, 2))
    stream = START
    while any(waiting.values()):
        channel = draw(st.sampled_from([channel for channel, left in waiting.items() if left]))
        stream += waiting[channel].pop(0)
    return stream


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """Cut a stream at these places."""
    ends = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in pairwise(ends)]


PLACES = st.lists(st.integers(0, 2**16), max_size=12)


@given(streams(), PLACES)
def test_any_stream_is_read_as_pamqp_reads_it(stream: bytes, places: list[int]) -> None:
    """All that is ours comes once, in order; all else is passed on byte for byte, in order."""
    assert read_by_us(cut(stream, places), OURS, ALSO_OURS) == read_by_pamqp(stream, OURS, ALSO_OURS)


def outcome(pieces: list[bytes]) -> Any:  # noqa: ANN401 - what was read, or that it could not be
    """Read pieces; only FrameError may be raised."""
    try:
        return read_by_us(pieces, OURS, ALSO_OURS)
    except FrameError:
        return FrameError


@given(streams(), st.lists(st.tuples(st.integers(0, 2**16), st.binary(max_size=3)), min_size=1), PLACES)
def test_damage_is_the_same_however_it_is_cut(
    stream: bytes, damages: list[tuple[int, bytes]], places: list[int]
) -> None:
    """Wherever bytes are changed, all is read, or refused with FrameError, in one piece as in many."""
    for place, put in damages:
        at = len(START) + place % (len(stream) - len(START) + 1)
        stream = stream[:at] + put + stream[at + max(1, len(put)) :]

    assert outcome(cut(stream, places)) == outcome([stream])


@given(st.lists(st.binary(min_size=1), min_size=1))
def test_any_bytes_are_read_or_refused(pieces: list[bytes]) -> None:
    """No bytes raise anything but FrameError, whether they begin as AMQP or not."""
    outcome(pieces)
    outcome([START, *pieces])
