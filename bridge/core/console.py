"""What the operator console needs of the other parts of a node, and what it gets from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.core.delivery import Delivery

BODY_SHOWN_BYTES_MAX = 65_536  # Of a dead letter.


class BusUnavailableError(Exception):
    """The broker did not do what an operator asked for; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, as an operator looks at it. `at` is the time as it was written down.

    `body` is at most the first BODY_SHOWN_BYTES_MAX of its `size` bytes, so that a look at many large ones is
    bounded in memory.
    """

    id: str
    domain: str
    reason: str
    field: str | None
    message: str
    routing_key: str
    message_id: str | None
    at: str
    body: bytes
    size: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Letters:
    """The oldest dead letters, and how many there are in all."""

    letters: Sequence[Letter]
    total: int


class OperatorBus(Protocol):
    """What an operator can have done on the bus. Every method raises BusUnavailableError."""

    async def letters(self, letters_max: int) -> Letters:
        """Return the oldest dead letters; takes nothing away."""

    async def replay(self, ids: frozenset[str]) -> frozenset[str]:
        """Give dead letters back to the bridge; return the ids of those that were there.

        None is lost whatever happens meanwhile; one can come twice, which deduplication repairs.
        """

    async def purge(self, ids: frozenset[str]) -> frozenset[str]:
        """Remove dead letters for good; return the ids of those that were there."""

    async def publish(self, delivery: Delivery) -> None:
        """Publish to the exchange, as a service does; returns once the broker has it."""


@dataclass(frozen=True, slots=True)
class DomainNow:
    """One domain as it is now. None where the broker has not said yet; `trouble` is None where is none."""

    name: str
    owner: str
    queue: str
    topics: Sequence[str]
    unknown: str
    types: Sequence[str]
    waiting: int | None
    consumers: int | None
    attached: bool
    oldest_unacked_seconds: float
    settled: Mapping[str, int]
    trouble: str | None
    ceilings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LogNow:
    """The event log, and how much of it is in the replay window."""

    kind: str
    epoch: str
    offset: int
    window_entries: int
    window_seconds: float
