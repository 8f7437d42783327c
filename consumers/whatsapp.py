"""A company's WhatsApp account, as the marketplace integration connects it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field, Strict, StringConstraints

from bridge.core.catalogue import Domain
from bridge.core.event import BaseEvent, RoomId, Text
from bridge.core.policy import conflate

DOMAIN = Domain(
    "whatsapp",
    publisher="marketplace integration",
    topics=("whatsapp.#",),
    timestamp_required=False,
)

QR_AGE_SECONDS_MAX = 20.0  # Then the next code has replaced it.
QR_CHARACTERS_MAX = 65_536  # Room for an image as a data URL, too.


class WhatsappEvent(BaseEvent):
    """What every WhatsApp event says; the newest of a company replaces the older ones."""

    company_id: RoomId = Field(description="The company concerned.")

    def targets(self) -> Sequence[str]:
        """Return the company's room."""
        return (f"company:{self.company_id}",)


@DOMAIN.event("whatsapp.qr", overflow=conflate("companyId"), age_seconds_max=QR_AGE_SECONDS_MAX)
class WhatsappQr(WhatsappEvent):
    """A QR code to scan, good for 20 seconds."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "companyId": "company-3",
        "qr": "2@Zk3v9QpX1mR7,dGhpcyBpcyBub3QgYSBrZXk=,8Hs2",
    }

    qr: Annotated[str, Strict(), StringConstraints(min_length=1, max_length=QR_CHARACTERS_MAX)] = Field(
        description="What the code says, or its image as a data URL."
    )


@DOMAIN.event("whatsapp.connection", overflow=conflate("companyId"))
class WhatsappConnection(WhatsappEvent):
    """The state of a company's connection; the newest counts, however late it comes."""

    EXAMPLE: ClassVar[dict[str, object]] = {"companyId": "company-3", "status": "connected"}

    status: Text = Field(
        min_length=1, description="The connection's state, such as `connecting` or `connected`."
    )
