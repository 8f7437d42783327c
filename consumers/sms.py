"""Statistics of the sms-receive-service, for administrators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from bridge.core.catalogue import Domain
from bridge.core.event import BaseEvent, Counters, Text, UtcTime
from bridge.core.policy import conflate
from bridge.core.rooms import role_room

DOMAIN = Domain("sms", publisher="sms-receive-service", topics=("sms.#",))


@DOMAIN.event("sms.receive_stats", overflow=conflate("period"), age_seconds_max=3600)
class SmsReceiveStats(BaseEvent):
    """How many messages were received in a period; the next figures replace these within the hour."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "period": "hour",
        "periodStart": "2026-11-21T09:00:00.000Z",
        "periodEnd": "2026-11-21T10:00:00.000Z",
        "counts": {"received": 412, "matched": 398, "failed": 14},
    }

    period: Text | None = Field(default=None, description="The kind of period, such as `hour`.")
    period_start: UtcTime | None = Field(default=None, description="When the period began.")
    period_end: UtcTime | None = Field(default=None, description="When the period ended.")
    counts: Counters | None = Field(default=None, description="Numbers of messages, by what became of them.")

    def targets(self) -> Sequence[str]:
        """Return the administrators' room."""
        return (role_room("admin"),)
