"""Orders and payments of the billing-service: money, so every event must arrive, and stays in the inbox."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bridge.core.catalogue import Domain
from bridge.core.event import Code, Identifier, Money, Text, UserEvent
from bridge.core.policy import MUST_DELIVER

DOMAIN = Domain("billing", publisher="billing-service", topics=("order.#", "billing.#"))


class BillingEvent(UserEvent):
    """What every order and billing event may say."""

    order_id: Identifier | None = Field(default=None, description="The order concerned.")
    payment_id: Identifier | None = Field(default=None, description="The payment concerned.")
    amount: Money | None = Field(default=None, description="The amount, in units of the currency.")
    currency: Text | None = Field(default=None, description="The currency, such as the ISO 4217 code `EUR`.")


class OrderEvent(BillingEvent):
    """What every event of an order says."""

    order_id: Identifier = Field(description="The order concerned.")


class PaymentEvent(BillingEvent):
    """What every event of a payment says."""

    payment_id: Identifier = Field(description="The payment concerned.")


@DOMAIN.event("order.completed", overflow=MUST_DELIVER, durable=True)
class OrderCompleted(OrderEvent):
    """An order was paid for and carried out."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "orderId": "order-2041",
        "paymentId": "payment-880",
        "amount": "29.90",
        "currency": "EUR",
    }


@DOMAIN.event("order.cancelled", overflow=MUST_DELIVER, durable=True)
class OrderCancelled(OrderEvent):
    """An order was cancelled; it may never have had a payment."""

    EXAMPLE: ClassVar[dict[str, object]] = {"orderId": "order-2042", "reason": "not paid in time"}

    reason: Text | None = Field(default=None, description="Why it was cancelled.")


@DOMAIN.event("billing.payment_success", overflow=MUST_DELIVER, durable=True)
class PaymentSucceeded(PaymentEvent):
    """A payment was received; it may belong to no order, such as one into an account."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "paymentId": "payment-880",
        "orderId": "order-2041",
        "amount": "29.90",
        "currency": "EUR",
    }

    amount: Money = Field(description="The amount received, in units of the currency.")


@DOMAIN.event("billing.payment_failed", overflow=MUST_DELIVER, durable=True)
class PaymentFailed(PaymentEvent):
    """A payment was refused or broken off."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "paymentId": "payment-881",
        "orderId": "order-2043",
        "amount": "9.90",
        "currency": "EUR",
        "reason": "The card was declined.",
        "errorCode": "card_declined",
    }

    reason: Text | None = Field(default=None, description="Why it failed, in words.")
    error_code: Code | None = Field(default=None, description="Why it failed, as the provider's code.")


@DOMAIN.event("billing.refund_completed", overflow=MUST_DELIVER, durable=True)
class RefundCompleted(BillingEvent):
    """Money was paid back, for a payment or for a whole order."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "refundId": "refund-17",
        "paymentId": "payment-880",
        "orderId": "order-2041",
        "amount": "29.90",
        "currency": "EUR",
        "reason": "The order was cancelled.",
    }

    amount: Money = Field(description="The amount paid back, in units of the currency.")
    refund_id: Identifier | None = Field(default=None, description="The refund.")
    reason: Text | None = Field(default=None, description="Why it was paid back.")


@DOMAIN.event("billing.invoice_generated", overflow=MUST_DELIVER, durable=True)
class InvoiceGenerated(BillingEvent):
    """An invoice is ready."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "invoiceId": "invoice-2026-0093",
        "orderId": "order-2041",
        "amount": "29.90",
        "currency": "EUR",
    }

    invoice_id: Identifier | None = Field(default=None, description="The invoice.")
