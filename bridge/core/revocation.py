"""Who has lost what: what the access events of the log say, remembered for a while.

An access event closes sockets when it comes by. What is kept here is for those who come later with a token
from before: on every node, also on one that starts later and reads the log back, since each mark ends so
many seconds after its event was logged, wherever it is read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import jiter

from bridge.core.entry import Entry

if TYPE_CHECKING:
    from bridge.core.access import Principal


class ChangeKind(StrEnum):
    """What can change; the value is the name of the event type."""

    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    SESSION_REVOKED = "session.revoked"
    GRANT_REVOKED = "grant.revoked"
    GRANT_ADDED = "grant.added"


_KINDS: Mapping[str, ChangeKind] = {kind.value: kind for kind in ChangeKind}


@dataclass(frozen=True, slots=True)
class Change:
    """A change of who may what. Times in seconds since the Unix epoch, by the publisher's clock.

    `token_id` and `issued_before` belong to SESSION_REVOKED: the one token of this id, or else all of the
    user's that were issued before. `room` belongs to the grants. `reason` is for the user to read. `trace` is
    the event's traceparent, or empty.
    """

    kind: ChangeKind
    user_id: str
    at: float
    token_id: str = ""
    issued_before: float = 0.0
    room: str = ""
    reason: str = ""
    trace: str = ""


def change_of(entry: Entry) -> Change | None:
    """Return the change that an entry of the log tells of, None if it is another kind of event.

    Ingest has validated it. What somebody else has written into the log concerns nobody, if it says not whom.
    """
    kind = _KINDS.get(entry.key.event_type)
    if kind is None:
        return None
    data = _data(entry.payload)
    return Change(
        kind,
        user_id=_text(data, "userId"),
        at=entry.occurred_at,
        token_id=_text(data, "tokenId"),
        issued_before=_time(data, "issuedBefore", entry.occurred_at),
        room=_text(data, "room"),
        reason=_text(data, "reason"),
        trace=entry.trace,
    )


def _data(payload: bytes) -> Mapping[str, Any]:
    try:
        message = jiter.from_json(payload)
    except ValueError:
        return {}
    data = message.get("data") if isinstance(message, dict) else None
    return data if isinstance(data, dict) else {}


def _time(data: Mapping[str, Any], name: str, default: float) -> float:
    try:
        return datetime.fromisoformat(data[name]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return default


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


class _Mark(NamedTuple):
    ends_at: float
    at: float  # For grants and tokens: those issued before are concerned.


class Revocations:
    """What is remembered: at most `marks_max` marks, each for `seconds_max` after it was logged.

    Past `marks_max` the oldest is forgotten early, and counted in `evicted`.
    """

    def __init__(self, *, seconds_max: float, marks_max: int) -> None:
        """Remember nothing yet."""
        self._seconds_max = seconds_max
        self._marks_max = marks_max
        # In the order of the log, so that the first ends first.
        self._marks: OrderedDict[tuple[str, ...], _Mark] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        """Return how many marks are held."""
        return len(self._marks)

    def apply(self, change: Change, *, logged_at: float, now: float) -> None:
        """Remember a change, in the order of the log. `logged_at` is 0 when the log does not say."""
        user_id = change.user_id
        key: tuple[str, ...]
        match change.kind:
            case ChangeKind.USER_DISABLED:
                key, at = ("user", user_id), change.at
            case ChangeKind.SESSION_REVOKED if change.token_id:
                key, at = ("token", user_id, change.token_id), change.at
            case ChangeKind.SESSION_REVOKED:
                key, at = ("issued", user_id), change.issued_before
            case ChangeKind.GRANT_REVOKED:
                key, at = ("grant", user_id, change.room), change.at
            case ChangeKind.USER_ENABLED:
                self._marks.pop(("user", user_id), None)
                return
            case ChangeKind.GRANT_ADDED:
                self._marks.pop(("grant", user_id, change.room), None)
                return
        before = self._marks.pop(key, None)
        at = max(at, before.at) if before else at  # An older event that comes later gives nothing back.
        self._marks[key] = _Mark((logged_at or now) + self._seconds_max, at)
        self._expire(now)
        while len(self._marks) > self._marks_max:
            self._marks.popitem(last=False)
            self.evicted += 1

    def denial(self, principal: Principal, now: float) -> str:
        """Say why this token opens nothing, in a few words; empty if nothing speaks against it.

        A token that does not say when it was issued counts as issued before anything.
        """
        if not self._marks:
            return ""
        self._expire(now)
        user_id, token_id = principal.user_id, principal.token_id
        if ("user", user_id) in self._marks:
            return "the user is disabled"
        if token_id and ("token", user_id, token_id) in self._marks:
            return "the token is revoked"
        issued = self._marks.get(("issued", user_id))
        if issued is not None and _is_before(principal, issued):
            return "the user's sessions are revoked; log in again"
        return ""

    def grant_lost(self, principal: Principal, room: str) -> bool:
        """Tell whether a claim to this room is from before the user lost it."""
        if not self._marks:
            return False
        mark = self._marks.get(("grant", principal.user_id, room))
        return mark is not None and _is_before(principal, mark)

    def _expire(self, now: float) -> None:
        while self._marks and next(iter(self._marks.values())).ends_at <= now:
            self._marks.popitem(last=False)


def _is_before(principal: Principal, mark: _Mark) -> bool:
    return principal.issued_at is None or principal.issued_at < mark.at
