"""What a person puts on the bus by hand: made as a service would make it, and judged as the bridge will."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from bridge.core.catalogue import UNROUTED, Catalogue
from bridge.core.delivery import Delivery
from bridge.core.intake import Intake
from bridge.core.names import topic_matches
from bridge.core.revocation import ChangeKind
from bridge.core.times import iso_utc
from bridge.core.verdict import Verdict

SHORT_BYTES_MAX = 255  # Of a routing key and a message_id (AMQP 0-9-1 section 4.2.5.3).


def event_by_hand(
    event_type: str, payload: Mapping[str, object], *, now: datetime, message_id: str
) -> Delivery:
    """Return an event; one without a timestamp happens now. `now` is in UTC.

    Raises:
        ValueError: AMQP does not allow such a text.
    """
    for what, text in (("the event type", event_type), ("the message id", message_id)):
        if not is_text(text):
            raise ValueError(f"{what} is not UTF-8")
        if len(text.encode()) > SHORT_BYTES_MAX:
            raise ValueError(f"{what} is longer than {SHORT_BYTES_MAX} bytes, which AMQP does not allow")
    body = json.dumps({"timestamp": iso_utc(now), **payload}).encode()
    return Delivery(event_type, body, received_at=now.timestamp(), message_id=message_id)


def is_text(text: str) -> bool:
    """Tell whether a text can be written as UTF-8: an argument of other bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def disconnection(
    user_id: str, *, token_id: str | None, reason: str | None, now: datetime, message_id: str
) -> Delivery:
    """Return the event that closes a user's sockets on every node; as `event_by_hand`."""
    payload = {"userId": user_id, "issuedBefore": iso_utc(now), "tokenId": token_id, "reason": reason}
    given = {name: value for name, value in payload.items() if value is not None}
    return event_by_hand(ChangeKind.SESSION_REVOKED.value, given, now=now, message_id=message_id)


def judge(catalogue: Catalogue, delivery: Delivery, *, body_bytes_max: int) -> Verdict:
    """Judge a delivery as the bridge would: the domain whose queue it comes to does."""
    domain = catalogue.domains[UNROUTED]
    for bound in catalogue.domains.values():
        if any(topic_matches(key, delivery.routing_key) for key in bound.binding_keys):
            domain = bound
    return Intake(catalogue, domain, body_bytes_max=body_bytes_max).judge(delivery)
