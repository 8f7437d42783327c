"""Which times are written as the bridge itself writes them."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings, strategies as st

from bridge.core.times import iso_utc, plain_time

TIME = "2026-11-21T10:00:00.000Z"
WRITTEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
PIECES = st.sampled_from([*"0123456789-:.,TWZ+ t", "24", "W4", "00", "\uff12", "\0"])

OTHERS = [
    "",
    "2026-11-21",
    "2026-11-21T10:00:00Z",
    "2026-11-21T10:00:00.000z",
    "2026-11-21t10:00:00.000Z",
    "2026-11-21 10:00:00.000Z",
    "2026-11-21T10:00:00,000Z",
    "2026-11-21T10:00.00.000Z",
    "2026-11-21T10:00:00.0000",
    "2026-11-21T24:00:00.000Z",
    "2026-02-30T10:00:00.000Z",
    "2026-13-01T10:00:00.000Z",
    "0000-01-01T00:00:00.000Z",
    "2026-W47-6T10:00:00.000Z",
    "20261121T100000.000+0000",
    "\uff12\uff10\uff12\uff16-11-21T10:00:00.000Z",
]


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_of_ours(time: datetime) -> None:
    """Whatever the bridge writes, it reads as it is, to the millisecond."""
    text = iso_utc(time)

    read = plain_time(text)

    assert read == time.replace(microsecond=time.microsecond // 1000 * 1000)
    assert read.tzinfo is UTC


@pytest.mark.parametrize("text", OTHERS)
def test_a_time_of_another(text: str) -> None:
    """Any other way to write a time is another's, and so is a time that is none."""
    assert plain_time(text) is None


@pytest.mark.parametrize("value", [None, 1, 1.5, True, b"2026-11-21T10:00:00.000Z", [TIME]])
def test_no_text(value: object) -> None:
    """What is no text is no time."""
    assert plain_time(value) is None


@given(st.lists(st.tuples(st.integers(0, 24), PIECES), max_size=4))
@settings(max_examples=2_000)
@example([(4, "0"), (7, "-")])
@example([(16, "Z"), (17, "\0")])
@example([(20, "Z"), (21, "\0")])
def test_nothing_else(changes: list[tuple[int, str]]) -> None:
    """However a time is changed, it is read if and only if it is written as the bridge would write it."""
    text = TIME
    for place, piece in changes:
        text = text[:place] + piece + text[place + len(piece) :]

    read = plain_time(text)

    if read is None:
        with suppress(ValueError):  # No day, no hour.
            assert not WRITTEN.fullmatch(text) or text != iso_utc(datetime.fromisoformat(text))
    else:
        assert iso_utc(read) == text
