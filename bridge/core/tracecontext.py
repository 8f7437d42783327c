"""W3C Trace Context: the one header by which an event belongs to a trace.

A `traceparent` is kept as text and in version 00, as it is published, logged, framed and linked:

    00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
       trace id                         parent id        flags

Empty text stands for none. What is malformed counts as none, since a trace is never a reason to refuse an
event. `tracestate` is not carried: up to 32 entries that only tracing systems understand; nobody who reads
a frame or a log line needs it, and the standard lets it be left out.

Source: https://www.w3.org/TR/trace-context/ (sections 3.2, 3.3 and 4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

# Of one in version 00, for schemas.
PATTERN = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
CHARACTERS_MAX = 512  # Of a later version, which may be longer than the 55 of this one.
_PARTS = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})"
    r"-(?!0{32})(?P<trace>[0-9a-f]{32})"
    r"-(?!0{16})(?P<parent>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.ASCII | re.DOTALL,
)
_CURRENT = "00"
_SAMPLED = 1
_TRACE_ID = slice(3, 35)
_PARENT_ID = slice(36, 52)
_FLAGS = slice(53, 55)


def read_traceparent(value: object) -> str:
    """Return a header's traceparent in version 00; empty if it is none.

    One of a later version is read as far as this version goes, as section 3.2.4 asks.
    """
    if isinstance(value, bytes | bytearray):
        value = value.decode("ascii", errors="replace")
    if not isinstance(value, str) or len(value) > CHARACTERS_MAX:
        return ""
    parts = _PARTS.fullmatch(value)
    if parts is None:
        return ""
    if parts["version"] == _CURRENT:
        return "" if parts["more"] else value
    sampled = int(parts["flags"], 16) & _SAMPLED
    return f"{_CURRENT}-{parts['trace']}-{parts['parent']}-{sampled:02x}"


def is_sampled(traceparent: str) -> bool:
    """Tell whether whoever began this trace records it. False for none."""
    return bool(traceparent) and bool(int(traceparent[_FLAGS], 16) & _SAMPLED)


def ids_of(traceparent: str) -> tuple[int, int]:
    """Return the trace id and the parent id of a traceparent that is not empty."""
    return int(traceparent[_TRACE_ID], 16), int(traceparent[_PARENT_ID], 16)


def log_fields(traceparent: str) -> Mapping[str, str]:
    """Return what a log line about one event says of its trace; nothing if there is none."""
    return {"trace_id": traceparent[_TRACE_ID]} if traceparent else {}


class TraceStarter:
    """Begins traces for events that come without one."""

    def __init__(self, ratio: float, source: Random | None = None) -> None:
        """`ratio` is the share of those events that get one, from 0 to 1. All that are begun are sampled."""
        self._ratio = ratio
        self._source = source or Random()  # noqa: S311 - an id is to be rare, not secret

    def begin(self) -> str:
        """Return a new traceparent, or empty text for an event that is not to have one."""
        source = self._source
        if source.random() >= self._ratio:
            return ""
        trace, parent = source.getrandbits(128) or 1, source.getrandbits(64) or 1
        return f"{_CURRENT}-{trace:032x}-{parent:016x}-{_SAMPLED:02x}"
