"""What happens to an event type's frames when a socket does not keep up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Policy(StrEnum):
    """What an outbox at its limit does with a frame."""

    CONFLATE = "conflate"
    """Only the newest frame of a key is worth keeping: a gauge."""
    DROP_OLDEST = "drop_oldest"
    """The oldest may go, and the client is told by a `gap` notice: a trail of notifications."""
    MUST_DELIVER = "must_deliver"
    """None may go: the socket is closed with 4008 and the client resumes: a payment."""


@dataclass(frozen=True, slots=True)
class Overflow:
    """A policy, and for conflation the payload fields (wire names) whose values make the key."""

    policy: Policy
    key_fields: tuple[str, ...] = ()


MUST_DELIVER = Overflow(Policy.MUST_DELIVER)
DROP_OLDEST = Overflow(Policy.DROP_OLDEST)


def conflate(*key_fields: str) -> Overflow:
    """Keep the newest frame per value of these payload fields, e.g. `conflate("quotaId")`."""
    return Overflow(Policy.CONFLATE, key_fields)
