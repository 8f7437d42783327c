"""Quotas of the user-service: what a user may use and does use."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bridge.core.catalogue import Domain
from bridge.core.event import (
    Counters,
    Flag,
    Identifier,
    Number,
    Percent,
    Text,
    UserEvent,
    UtcTime,
)
from bridge.core.policy import DROP_OLDEST, MUST_DELIVER, conflate

DOMAIN = Domain("quota", publisher="user-service", topics=("quota.#",))

MEASUREMENT_AGE_SECONDS_MAX = 300.0  # A figure that the next one replaces anyway.


class Resources(Counters):
    """Amounts per kind of resource; further kinds may appear at any time."""

    devices: Number | None = Field(default=None, description="Number of devices.")


class QuotaEvent(UserEvent):
    """What every quota event may say."""

    quota_id: Identifier = Field(description="The quota concerned.")
    limits: Resources | None = Field(default=None, description="What the user may use at most.")
    usage: Resources | None = Field(default=None, description="What the user uses now.")


class QuotaBooking(QuotaEvent):
    """What an event about a use of a quota may say."""

    resource: Text | None = Field(default=None, description="The kind of resource, such as `devices`.")
    amount: Number | Resources | None = Field(
        default=None, description="How much of the resource, or how much of each kind."
    )
    reason: Text | None = Field(default=None, description="What it was for.")


@DOMAIN.event("quota.updated", overflow=conflate("quotaId"))
class QuotaUpdated(QuotaEvent):
    """Limits or usage changed; only the newest state counts, and it counts however late it comes."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "quotaId": "quota-7f3a",
        "limits": {"devices": 10, "storageGB": 100},
        "usage": {"devices": 4, "storageGB": 37.5},
    }

    limits: Resources = Field(description="What the user may use at most.")
    usage: Resources = Field(description="What the user uses now.")


@DOMAIN.event("quota.exceeded", overflow=MUST_DELIVER)
class QuotaExceeded(QuotaEvent):
    """The user tried to use more than the quota allows, and must learn why it failed."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "quotaId": "quota-7f3a",
        "limits": {"devices": 10},
        "usage": {"devices": 11},
        "usagePercent": 110,
    }

    usage_percent: Percent = Field(description="Usage as a percentage of the limit; past 100 when exceeded.")


@DOMAIN.event("quota.renewed", overflow=MUST_DELIVER)
class QuotaRenewed(QuotaEvent):
    """A new period began; rare, and paid for."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "quotaId": "quota-7f3a",
        "limits": {"devices": 10},
        "usage": {"devices": 0},
        "validUntil": "2026-12-21T00:00:00.000Z",
    }

    valid_until: UtcTime = Field(description="When the new period ends.")


@DOMAIN.event("quota.alert", overflow=conflate("quotaId"))
class QuotaAlert(QuotaEvent):
    """Usage came near the limit; a newer alert of the same quota says all that the older one did."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "quotaId": "quota-7f3a",
        "level": "warning",
        "threshold": 80,
        "usagePercent": 82.5,
    }

    level: Text | None = Field(
        default=None, description="How serious it is, such as `warning` or `critical`."
    )
    threshold: Number | None = Field(default=None, description="The mark that usage passed, in percent.")
    usage_percent: Percent | None = Field(default=None, description="Usage as a percentage of the limit.")
    message: Text | None = Field(default=None, description="The alert in words.")


@DOMAIN.event("quota.metrics", overflow=conflate("quotaId"), age_seconds_max=MEASUREMENT_AGE_SECONDS_MAX)
class QuotaMetrics(QuotaEvent):
    """A regular measurement of usage."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "quotaId": "quota-7f3a",
        "usage": {"devices": 4, "cpuCores": 12.5},
        "usagePercent": 40,
    }

    metrics: Resources | None = Field(default=None, description="Further measurements.")
    usage_percent: Percent | None = Field(default=None, description="Usage as a percentage of the limit.")


@DOMAIN.event("quota.deduct", overflow=DROP_OLDEST)
class QuotaDeducted(QuotaBooking):
    """A part of the quota was taken into use; a trail, whose sum `quota.updated` tells."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "quotaId": "quota-7f3a",
        "usage": {"devices": 5},
        "resource": "devices",
        "amount": 1,
        "reason": "device.created",
    }


@DOMAIN.event("quota.restore", overflow=DROP_OLDEST)
class QuotaRestored(QuotaBooking):
    """A part of the quota was given back; a trail, whose sum `quota.updated` tells."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "quotaId": "quota-7f3a",
        "usage": {"devices": 4},
        "resource": "devices",
        "amount": 1,
        "reason": "device.deleted",
    }


@DOMAIN.event("quota.check", overflow=conflate("quotaId"), age_seconds_max=MEASUREMENT_AGE_SECONDS_MAX)
class QuotaChecked(QuotaBooking):
    """The quota was checked before a use; the answer holds only for that moment."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "quotaId": "quota-7f3a",
        "limits": {"devices": 10},
        "usage": {"devices": 4},
        "allowed": True,
    }

    allowed: Flag | None = Field(default=None, description="Whether the use was within the quota.")
