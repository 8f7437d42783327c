"""Times as they come, and as they leave: in UTC, with milliseconds, `2026-11-21T10:00:00.000Z`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeGuard

# What JavaScript writes, and nearly everybody sends; `iso_utc` writes the same.
_PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d\.\d{3}Z", re.ASCII)
_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)  # How every one begins.


def utc_time(value: object, parse: Callable[[Any], datetime]) -> datetime:
    """Read a time. The usual form is read here, any other by `parse`.

    Raises:
        ValueError: it is no ISO 8601 time, or outside the years 1 to 9999 in UTC.
    """
    if is_iso_utc(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass  # The 30th of February: pydantic says it better.
    return _as_utc(parse(_iso_text(value)))


def iso_utc(value: datetime) -> str:
    """Write a UTC time as on the wire: `2026-11-21T10:00:00.000Z`."""
    return f"{value.isoformat(timespec='milliseconds')[:-6]}Z"  # Without "+00:00".


def is_iso_utc(text: object) -> TypeGuard[str]:
    """Tell whether a time that has been read was written just as `iso_utc` would write it."""
    return isinstance(text, str) and _PLAIN_TIME.fullmatch(text) is not None


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
