"""A node as people see it: what it holds, counts and serves now, put together when somebody asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bridge.admin.metrics import DomainGauge, NodeGauges
from bridge.amqp.consumer import DomainConsumer
from bridge.core.catalogue import Domain
from bridge.core.console import DomainNow, LogNow
from bridge.core.dedupe import Once
from bridge.core.hub import Hub
from bridge.core.presence import SocketStatus
from bridge.core.revocation import Revocations
from bridge.core.samples import DomainReading, Gauges, Reading, read
from bridge.core.stats import Stats
from bridge.core.storm import Ceilings
from bridge.core.window import Window
from bridge.ingest import Ingest
from bridge.ws.connection import Connection
from bridge.ws.server import SocketServer


@dataclass(frozen=True)
class View:
    """The parts of a node that are looked at."""

    stats: Stats
    hub: Hub[Connection]
    window: Window
    once: Once
    revocations: Revocations
    sockets: SocketServer
    consumers: Sequence[DomainConsumer]
    ingests: Mapping[str, Ingest]
    ceilings: Ceilings
    log_kind: str
    ready: Callable[[], bool]

    def gauges(self) -> NodeGauges:
        """Return what /metrics tells of this moment."""
        now = time.time()
        return NodeGauges(
            sockets=len(self.sockets.connections),
            users=self.sockets.users,
            rooms=len(self.hub),
            outbox_frames=self._outbox_frames(),
            outbox_bytes=self.sockets.pool.bytes_held,
            log_offset=self.window.head,
            window_entries=len(self.window),
            window_bytes=self.window.bytes_held,
            dedupe_keys=len(self.once),
            dedupe_shortened=self.once.shortened,
            revocations=len(self.revocations),
            sockets_waiting=len(self.sockets.desk),
            ready=self.ready(),
            domains=tuple(
                DomainGauge(
                    consumer.domain.name,
                    consumer.attached,
                    consumer.consumers,
                    consumer.waiting,
                    _oldest_unacked_seconds(consumer, now),
                )
                for consumer in self.consumers
            ),
        )

    def reading(self) -> Reading:
        """Take down what the console's samples are made of."""
        now = time.time()
        gauges = Gauges(
            sockets=len(self.sockets.connections),
            users=self.sockets.users,
            rooms=len(self.hub),
            outbox_frames=self._outbox_frames(),
            outbox_bytes=self.sockets.pool.bytes_held,
            domains={
                consumer.domain.name: DomainReading(
                    consumer.waiting,
                    consumer.consumers,
                    consumer.attached,
                    round(_oldest_unacked_seconds(consumer, now), 3),
                )
                for consumer in self.consumers
            },
        )
        return read(self.stats, gauges, now)

    def log(self) -> LogNow:
        """Tell of the event log, and how far back the window reaches."""
        window = self.window
        oldest_at = window.oldest_at
        seconds = 0.0 if oldest_at is None else max(0.0, time.time() - oldest_at)
        return LogNow(self.log_kind, window.epoch, window.head, len(window), round(seconds, 1))

    def domains(self) -> list[DomainNow]:
        """Tell how each domain is consumed."""
        settled: dict[str, dict[str, int]] = {}
        for (domain, _, fate), count in self.stats.deliveries.items():
            fates = settled.setdefault(domain, {})
            fates[fate] = fates.get(fate, 0) + count
        now = time.time()
        return [
            self._domain(consumer, settled.get(consumer.domain.name, {}), now) for consumer in self.consumers
        ]

    def sockets_of(self, user_id: str) -> list[SocketStatus]:
        """Tell of the sockets that a user has on this node."""
        return [connection.status() for connection in self.sockets.audience.of(user_id)]

    def _domain(self, consumer: DomainConsumer, settled: Mapping[str, int], now: float) -> DomainNow:
        domain = consumer.domain
        return DomainNow(
            name=domain.name,
            owner=domain.publisher,
            queue=consumer.queue_name,
            topics=domain.binding_keys,
            unknown=domain.unknown.value,
            types=list(dict.fromkeys(event_type.name for event_type in domain.event_types)),
            waiting=consumer.waiting,
            consumers=consumer.consumers,
            attached=consumer.attached,
            oldest_unacked_seconds=round(_oldest_unacked_seconds(consumer, now), 3),
            settled=settled,
            trouble=self._trouble(consumer),
            ceilings=self._ceilings_of(domain),
        )

    def _trouble(self, consumer: DomainConsumer) -> str | None:
        health = consumer.health()
        return self.ingests[consumer.domain.name].trouble or (None if health.ok else health.detail)

    def _ceilings_of(self, domain: Domain) -> dict[str, float]:
        names = (event_type.name for event_type in domain.event_types)
        return {name: ceiling for name in names if (ceiling := self.ceilings.of(name))}

    def _outbox_frames(self) -> int:
        if not self.sockets.pool.holders:
            return 0
        return sum(len(connection.outbox) for connection in self.sockets.connections)


def _oldest_unacked_seconds(consumer: DomainConsumer, now: float) -> float:
    return max(0.0, now - consumer.oldest_unacked_at) if consumer.oldest_unacked_at else 0.0
