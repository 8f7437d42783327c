"""What is a traceparent, and what is none."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, strategies as st

from bridge.core.tracecontext import (
    CHARACTERS_MAX,
    TraceStarter,
    ids_of,
    is_sampled,
    log_fields,
    read_traceparent,
)

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SOUND = f"00-{TRACE}-{PARENT}-01"
READ = [
    (SOUND, SOUND, "as it is"),
    (SOUND.encode(), SOUND, "as bytes"),
    (f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-00", "not sampled"),
    (f"00-{TRACE}-{PARENT}-ff", f"00-{TRACE}-{PARENT}-ff", "flags that are not known yet"),
    (f"01-{TRACE}-{PARENT}-03", SOUND, "of a later version, without the flags of that"),
    (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", SOUND, "of a later version, which is longer"),
]
NONE = [
    (None, "nothing"),
    (5, "a number"),
    ("", "empty"),
    (SOUND + " ", "white space behind"),
    (" " + SOUND, "white space before"),
    (SOUND + "\n", "a line's end"),
    (SOUND.upper(), "capitals"),
    (f"00-{TRACE}-{PARENT}", "no flags"),
    (f"00-{TRACE}-{PARENT}-1", "short flags"),
    (f"00-{TRACE}-{PARENT}-01-more", "more than version 00 has"),
    (f"ff-{TRACE}-{PARENT}-01", "the version that is none"),
    (f"01-{TRACE}-{PARENT}-01more", "a later version with something else than a hyphen behind"),
    (f"00-{'0' * 32}-{PARENT}-01", "a trace id of zeros"),
    (f"00-{TRACE}-{'0' * 16}-01", "a parent id of zeros"),
    (f"00-{TRACE[:-1]}g-{PARENT}-01", "a letter that is no digit"),
    (f"00-{TRACE[:-1]}\N{ARABIC-INDIC DIGIT ONE}-{PARENT}-01", "a digit of another script"),
    (b"\xff" * 55, "bytes that are no text"),
    (f"01-{TRACE}-{PARENT}-01-{'x' * CHARACTERS_MAX}", "longer than any header"),
]


@pytest.mark.parametrize(("value", "traceparent", "_"), READ, ids=[row[2] for row in READ])
def test_read(value: object, traceparent: str, _: str) -> None:
    """A traceparent of any version is read into version 00."""
    assert read_traceparent(value) == traceparent


@pytest.mark.parametrize(("value", "_"), NONE, ids=[row[1] for row in NONE])
def test_none(value: object, _: str) -> None:
    """Whatever is malformed counts as none."""
    assert not read_traceparent(value)


@given(st.text() | st.binary() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"))
def test_anything(value: object) -> None:
    """Whatever comes, what is read is none or sound."""
    read = read_traceparent(value)

    assert not read or (len(read) == len(SOUND) and read_traceparent(read) == read and all(ids_of(read)))


def test_parts() -> None:
    """The ids and the sampled flag are told, and a log line says the trace's id and nothing else."""
    assert ids_of(SOUND) == (int(TRACE, 16), int(PARENT, 16))
    assert [is_sampled(one) for one in ("", f"{SOUND[:-1]}0", SOUND, f"{SOUND[:-1]}3")] == [
        False,
        False,
        True,
        True,
    ]
    assert log_fields(SOUND) == {"trace_id": TRACE}
    assert log_fields("") == {}


@pytest.mark.parametrize(("ratio", "begun"), [(1.0, (1000, 1000)), (0.25, (200, 300)), (0.0, (0, 0))])
def test_starter(ratio: float, begun: tuple[int, int]) -> None:
    """The share that was asked for gets a trace, sampled, and none twice."""
    starter = TraceStarter(ratio, Random(1))  # noqa: S311 - the same every time

    traces = [trace for _ in range(1000) if (trace := starter.begin())]

    assert begun[0] <= len(traces) <= begun[1]
    assert len({ids_of(trace) for trace in traces}) == len(traces)
    assert all(is_sampled(trace) and read_traceparent(trace) == trace for trace in traces)
