"""Times as they come, and as they leave: in UTC, with milliseconds, `2026-11-21T10:00:00.000Z`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

PLAIN_CHARACTERS = len("2026-11-21T10:00:00.000Z")
_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)  # How every one begins.


def utc_time(value: object, parse: Callable[[Any], datetime]) -> datetime:
    """Read a time. The usual form is read here, any other by `parse`.

    Raises:
        ValueError: it is no ISO 8601 time, or outside the years 1 to 9999 in UTC.
    """
    time = plain_time(value)
    if time is not None:
        return time
    return _as_utc(parse(_iso_text(value)))


def iso_utc(value: datetime) -> str:
    """Write a UTC time as on the wire: `2026-11-21T10:00:00.000Z`."""
    return f"{value.isoformat(timespec='milliseconds')[:-6]}Z"  # Without "+00:00".


def plain_time(text: object) -> datetime | None:
    """Read a time that is written just as `iso_utc` writes it, as JavaScript does and nearly everybody sends.

    None if it is written in another way, or is no time.
    """
    if (
        not isinstance(text, str)
        or len(text) != PLAIN_CHARACTERS
        or not text.isascii()
        or text[7] != "-"  # With the next five, one way is left to write the rest of what ISO 8601 allows.
        or text[10] != "T"
        or text[13] != ":"
        or text[16] != ":"
        or text[19] != "."
        or text.find("Z") != PLAIN_CHARACTERS - 1  # CPython passes over one that a zero byte follows.
        or text[11:13] == "24"  # Some read it as the next day's first hour.
    ):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _iso_text(value: object) -> object:
    """Let only ISO 8601 text through: a bare number would be a guess between seconds and milliseconds."""
    if isinstance(value, str) and not _ISO_TIME.match(value):
        raise ValueError('must be an ISO 8601 time, such as "2026-11-21T10:00:00.000Z"')
    if not isinstance(value, str | datetime):
        raise ValueError('must be an ISO 8601 time as text, such as "2026-11-21T10:00:00.000Z"')  # noqa: TRY004 - pydantic
    return value


def _as_utc(value: datetime) -> datetime:
    """Bring a time to UTC; one without a zone is taken as UTC already."""
    try:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None
