"""What the end of a socket tells a client to do (docs/protocol.md, Close codes). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

# Delays double from the first to the last: 0-1 s, 0-2 s, … 0-30 s.
BASE_SECONDS = 1.0
DELAY_SECONDS_MAX = 30.0
# No hint is trusted for longer.
HINT_SECONDS_MAX = 300.0
# A socket that was open for so long is a success: delays begin anew.
STEADY_SECONDS = 10.0
# LATER waits as if so many attempts had failed before: up to 8 s and more.
LATER_FAILURES_MIN = 3

BROKEN = 1006  # What RFC 6455 section 7.4.1 has for a connection that ended without a close frame.


class Verdict(Enum):
    """What a client does after a close code."""

    RETRY = "come back"
    LATER = "come back, but not soon"
    RENEW = "come back with a new token"
    FINAL = "do not come back: it would change nothing, or a person is needed"


VERDICTS = {
    1007: Verdict.FINAL,
    4009: Verdict.LATER,
    4400: Verdict.FINAL,
    4401: Verdict.RENEW,
    4403: Verdict.FINAL,
}
"""Codes that are not here are RETRY."""


@dataclass(frozen=True, slots=True)
class End:
    """Why a socket, or an attempt at one, ended. `hint_seconds` is how long the bridge asked to stay away."""

    code: int
    reason: str
    hint_seconds: float | None = None


def verdict_of(code: int) -> Verdict:
    """Return what a close code tells to do."""
    return VERDICTS.get(code, Verdict.RETRY)


def delay_seconds(failures: int, random: float) -> float:
    """Return a delay below a limit that doubles with each failure: full jitter. `random` is from 0 to 1."""
    return random * min(DELAY_SECONDS_MAX, BASE_SECONDS * 2.0 ** min(failures, 30))


def hint_of_reason(reason: str) -> float | None:
    """Return how long a close reason asks to wait: `come back after 1493 ms`."""
    found = re.search(r"come back after (\d{1,9}) ms", reason)
    return limited(int(found[1]) / 1_000) if found else None


def hint_of_header(retry_after: str | None) -> float | None:
    """Return how long an HTTP `Retry-After` in seconds asks to wait (RFC 9110 section 10.2.3)."""
    found = re.fullmatch(r"\d{1,9}", retry_after or "")
    return limited(float(found[0])) if found else None


def limited(seconds: float) -> float:
    """Return a hint within its limits."""
    return min(HINT_SECONDS_MAX, max(0.0, seconds))  # In this order NaN, which JSON of Python can hold, is 0.
