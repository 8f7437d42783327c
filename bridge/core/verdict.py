"""What became of a delivery, and why."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from bridge.core.delivery import Delivery
from bridge.core.entry import Entry
from bridge.core.errors import Refused


class Fate(StrEnum):
    """What became of a delivery; the value is a metric label."""

    LOGGED = "logged"
    DUPLICATE = "duplicate"
    LATE = "late"
    DROPPED = "dropped"
    STORM = "storm"
    DEAD = "dead"
    FAILED = "failed"


_LOGGED = Fate.LOGGED  # To look a member up in its class takes longer than it seems.


class Verdict(Struct, frozen=True):
    """The judgement on one delivery.

    `entries` is what to log: empty unless the fate is LOGGED, more than one when further events
    derive from it. `event_type` is the canonical name, empty when it is not known; `declared` is
    False when no domain declares it. `refused` is set when the fate is DEAD. `trace_begun` is set when the
    publisher had sent no trace.
    """

    fate: Fate
    event_type: str = ""
    event_id: str = ""
    traceparent: str = ""
    entries: Sequence[Entry] = ()
    refused: Refused | None = None
    declared: bool = True
    trace_begun: bool = False


class Settling(Struct, eq=False):
    """A delivery on its way to its ack."""

    delivery: Delivery
    verdict: Verdict
    held: int = 0  # So many of its events are held back in a storm.
    logged: bool = False  # Whether one of them is in the log.

    @property
    def fate(self) -> Fate:
        """What has become of it, once nothing of it is held."""
        fate = self.verdict.fate
        return fate if self.logged or fate is not _LOGGED else Fate.STORM
