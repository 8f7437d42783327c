"""Asks the broker what it sees, and repairs what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from aio_pika.exceptions import ChannelNotFoundEntity

from bridge.amqp.channels import channel_on
from bridge.amqp.consumer import DomainConsumer
from bridge.amqp.link import RETRYABLE, Channel, Connection
from bridge.amqp.topology import Topology

log = structlog.get_logger()

PROBE_SECONDS = 2.0
PROBES_PER_REPAIR = 2  # A binding that is gone cannot be seen, only made again: within 5 s.
PROBE_SECONDS_MAX = 5.0


class Probe:
    """Looks at every domain's queue every PROBE_SECONDS; declares everything anew now and then."""

    def __init__(self, topology: Topology, consumers: Sequence[DomainConsumer]) -> None:
        """Tell `consumers` what the broker says of their queues."""
        self._topology = topology
        self._consumers = consumers
        self._turn = 0

    async def run(self, connection: Connection) -> None:
        """Probe until cancelled. Trouble is logged: the next turn may do better."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            self._turn += 1
            try:
                async with asyncio.timeout(PROBE_SECONDS_MAX):
                    await self._look(connection)
            except ChannelNotFoundEntity as exc:
                log.warning("amqp.queue_missing", reason=str(exc))
                self._turn = -1  # Repair at the next turn.
            except RETRYABLE as exc:
                log.warning("amqp.probe_failed", reason=f"{type(exc).__name__}: {exc}")

    async def _look(self, connection: Connection) -> None:
        async with channel_on(connection, confirms=False) as channel:
            if self._turn % PROBES_PER_REPAIR == 0:
                await self._topology.declare(channel)
            for consumer in self._consumers:
                await _look_at(channel, consumer)


async def _look_at(channel: Channel, consumer: DomainConsumer) -> None:
    attached_before = consumer.attached
    queue = await channel.declare_queue(consumer.queue_name, passive=True)
    result = queue.declaration_result
    consumer.waiting, consumer.consumers = result.message_count, result.consumer_count
    if attached_before and consumer.attached and not result.consumer_count:
        log.warning("amqp.consumer_unknown", queue=consumer.queue_name)
        consumer.doubt()
