"""Subscriptions and purchases of the paid-content platform, under the names that it publishes too."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bridge.core.catalogue import Domain
from bridge.core.event import Identifier, Money, Text, UserEvent, UtcTime
from bridge.core.policy import MUST_DELIVER

DOMAIN = Domain(
    "content",
    publisher="paid-content platform",
    topics=("subscription.#", "post.#"),
    timestamp_required=False,
)


@DOMAIN.event(
    "subscription.updated",
    overflow=MUST_DELIVER,
    durable=True,
    aliases=("subscription-updated",),
)
class SubscriptionUpdated(UserEvent):
    """A subscription began, changed or ended: what the user may see depends on it."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "subscriptionId": "sub-301",
        "creatorId": "creator-8",
        "status": "active",
        "plan": "monthly",
        "expiresAt": "2026-12-21T00:00:00.000Z",
    }

    subscription_id: Identifier | None = Field(default=None, description="The subscription concerned.")
    creator_id: Identifier | None = Field(default=None, description="Whose content is subscribed to.")
    status: Text | None = Field(default=None, description="The subscription's status now.")
    plan: Text | None = Field(default=None, description="The plan subscribed to.")
    expires_at: UtcTime | None = Field(default=None, description="When the subscription ends.")


@DOMAIN.event(
    "post.purchased",
    overflow=MUST_DELIVER,
    durable=True,
    aliases=("post-purchased",),
)
class PostPurchased(UserEvent):
    """A post was bought, and may be shown to its buyer."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "postId": "post-7714",
        "purchaseId": "purchase-55",
        "creatorId": "creator-8",
        "amount": "4.99",
        "currency": "USD",
    }

    post_id: Identifier | None = Field(default=None, description="The post bought.")
    purchase_id: Identifier | None = Field(default=None, description="The purchase.")
    creator_id: Identifier | None = Field(default=None, description="Whose post it is.")
    amount: Money | None = Field(default=None, description="The price paid, in units of the currency.")
    currency: Text | None = Field(default=None, description="The currency, such as the ISO 4217 code `USD`.")
