"""Deposits and withdrawals of the wallet: money, so every event must arrive, and stays in the inbox.

Each goes to the user that owns the transaction and to nobody else; the page picks its own by
`transactionId`. The versioned names are those that the wallet publishes. Payment providers call
back twice, with a fresh time and id: what a transaction can do only once is told only once.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bridge.core.catalogue import Domain
from bridge.core.event import FreeJson, Identifier, Money, Text, UserEvent
from bridge.core.policy import MUST_DELIVER

DOMAIN = Domain("wallet", publisher="wallet", topics=("wallet.#",))


class WalletEvent(UserEvent):
    """What every wallet event says."""

    transaction_id: Identifier = Field(description="The transaction concerned.")
    amount: Money = Field(description="The transaction's amount, in units of the wallet's currency.")
    message: Text = Field(default="", description="What happened, in words for the page.")


@DOMAIN.event(
    "wallet.deposit_completed",
    overflow=MUST_DELIVER,
    durable=True,
    version=1,
    aliases=("deposit_completed:v1", "deposit_completed"),
    once_by=("transactionId",),
)
class DepositCompleted(WalletEvent):
    """A deposit was confirmed and booked."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "transactionId": "tx-90210",
        "amount": "50.00",
        "newBalance": "162.35",
        "providerTransactionId": "pi_3Nk2",
        "message": "Your deposit of 50.00 has arrived.",
    }

    new_balance: Money = Field(
        description="The wallet's balance after the deposit, in units of its currency."
    )
    provider_transaction_id: Identifier | None = Field(
        default=None, description="The payment provider's name for the transaction."
    )


@DOMAIN.event(
    "wallet.payment_status_updated",
    overflow=MUST_DELIVER,
    durable=True,
    version=1,
    aliases=("payment_status_update:v1", "payment_status_update"),
    once_by=("transactionId", "status"),
)
class PaymentStatusUpdated(WalletEvent):
    """A transaction came to another status."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "transactionId": "tx-90210",
        "status": "pending",
        "amount": "50.00",
        "transactionType": "deposit",
        "message": "Your deposit is being confirmed.",
        "metadata": {"provider": "example-pay", "attempt": 1},
    }

    status: Literal["pending", "completed", "failed", "cancelled"] = Field(
        description="The transaction's status now."
    )
    transaction_type: Text = Field(description="The kind of transaction, such as `deposit` or `withdrawal`.")
    metadata: dict[str, FreeJson] | None = Field(
        default=None, description="Whatever the wallet adds, for the page."
    )


@DOMAIN.event(
    "wallet.withdrawal_completed",
    overflow=MUST_DELIVER,
    durable=True,
    version=1,
    aliases=("withdrawal_completed:v1", "withdrawal_completed"),
    once_by=("transactionId",),
)
class WithdrawalCompleted(WalletEvent):
    """A withdrawal was paid out and booked."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "transactionId": "tx-90211",
        "amount": "20.00",
        "newBalance": "142.35",
        "message": "Your withdrawal of 20.00 is on its way.",
    }

    new_balance: Money = Field(
        description="The wallet's balance after the withdrawal, in units of its currency."
    )
