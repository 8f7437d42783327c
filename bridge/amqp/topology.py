"""Exchanges, queues and bindings: what the bridge declares, and under which names.

    cloudphone.events (topic) ──#──► bridge.in (topic) ──topics──► bridge.<domain> (quorum)
                                          │ no domain's topic matches
                                          ▼
                                 bridge.unrouted (fanout) ──► bridge.unrouted (quorum)

The bridge's own exchange `bridge.in` stands behind the publishers' one because its alternate
exchange catches what no domain binds: a misnamed event gets a reason instead of vanishing, an
event published while a queue is being repaired is still consumed, and a dead letter can be
replayed to the bridge without reaching the other consumers of the bus.

Sources: https://www.rabbitmq.com/docs/ae (alternate exchanges), /docs/e2e (exchange bindings),
/docs/quorum-queues (single active consumer, delivery limit, at-least-once dead-lettering).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelPreconditionFailed

from bridge.core.catalogue import Domain

DEAD_DELIVERY_LIMIT = 1_000_000_000  # Listing returns messages, which counts as a delivery each time.


class TopologyError(Exception):
    """Something of ours exists on the broker with other arguments; only a person can decide."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of everything on the broker."""

    exchange: str
    prefix: str

    @property
    def inbound(self) -> str:
        """The bridge's own topic exchange."""
        return f"{self.prefix}.in"

    @property
    def unrouted(self) -> str:
        """The exchange and the queue for what no domain binds."""
        return f"{self.prefix}.unrouted"

    @property
    def dead(self) -> str:
        """The dead-letter queue."""
        return f"{self.prefix}.dead"

    @property
    def log(self) -> str:
        """The stream that carries the event log."""
        return f"{self.prefix}.log"

    @property
    def nodes(self) -> str:
        """The exchange over which nodes know of each other; begins the names of their queues there."""
        return f"{self.prefix}.nodes"

    def queue(self, domain: Domain) -> str:
        """The queue of a domain."""
        return f"{self.prefix}.{domain.name}"

    def witness(self, domain: Domain) -> str:
        """The exchange that stands as long as this very queue does; see `witness.py`."""
        return f"{self.prefix}.witness.{domain.name}"


class Topology:
    """Declares everything, idempotently: on start, and again to verify and repair."""

    def __init__(self, names: Names, domains: Iterable[Domain], *, delivery_limit: int) -> None:
        """`delivery_limit` is how often a delivery may come back before the broker dead-letters it."""
        self.names = names
        self.domains = tuple(domains)
        self._delivery_limit = delivery_limit

    async def declare(self, channel: AbstractChannel) -> None:
        """Declare exchanges, queues and bindings.

        Queues come before the binding to the publishers' exchange, so that nothing arrives that
        has no place yet.

        Raises:
            TopologyError: something exists with other arguments.
            AMQPError: the channel or connection broke.
        """
        try:
            events = await channel.declare_exchange(self.names.exchange, ExchangeType.TOPIC, durable=True)
            unrouted = await channel.declare_exchange(self.names.unrouted, ExchangeType.FANOUT, durable=True)
            inbound = await channel.declare_exchange(
                self.names.inbound,
                ExchangeType.TOPIC,
                durable=True,
                arguments={"alternate-exchange": self.names.unrouted},
            )
            await channel.declare_queue(
                self.names.dead,
                durable=True,
                arguments={"x-queue-type": "quorum", "x-delivery-limit": DEAD_DELIVERY_LIMIT},
            )
            for domain in self.domains:
                queue = await self.declare_queue(channel, domain)
                for key in domain.binding_keys:
                    await queue.bind(inbound, key)
                if domain.catches_unrouted:
                    await queue.bind(unrouted)
            await inbound.bind(events, "#")
        except ChannelPreconditionFailed as exc:
            raise TopologyError(
                f"RabbitMQ refuses a declaration: {exc}. Something of that name exists with other arguments: "
                "delete it if it is left over, or choose another amqp.prefix"
            ) from exc

    async def declare_queue(self, channel: AbstractChannel, domain: Domain):  # type: ignore[no-untyped-def] # noqa: ANN201
        """Declare one domain's queue."""
        return await channel.declare_queue(
            self.names.queue(domain),
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-single-active-consumer": True,
                "x-delivery-limit": self._delivery_limit,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.names.dead,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",  # At-least-once dead-lettering asks for it.
            },
        )
