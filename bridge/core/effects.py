"""What a session decides and the socket edge does, in the order in which it was decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bridge.core.close import CloseReason
from bridge.core.commands import Notice
from bridge.core.questions import Question


@dataclass(frozen=True, slots=True)
class Say:
    """Send this notice."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class Join:
    """Put the socket into these rooms: it gets what is logged from now on."""

    rooms: Sequence[str]


@dataclass(frozen=True, slots=True)
class Resume:
    """Send what `owed` returns, at the client's pace, until the session is live; then join its rooms."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Take the socket out of these rooms."""

    rooms: Sequence[str]


@dataclass(frozen=True, slots=True)
class Verify:
    """Find out whom this token names; then call `identified` or `rejected`."""

    token: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask whoever knows; then call `answered` with the question. At most one is open for a session."""

    question: Question


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket."""

    reason: CloseReason


Effect = Say | Join | Resume | Leave | Verify | Ask | Close
