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
from bridge.amqp.witness import Finding, look
from bridge.cancellation import obey_cancellation
from bridge.core.errors import cause_of
from bridge.core.health import Health
from bridge.core.stats import Stats

log = structlog.get_logger()

PROBE_SECONDS = 2.0
PROBES_PER_REPAIR = 2  # A binding that is gone cannot be seen, only made again: within 5 s.
PROBE_SECONDS_MAX = 5.0


class Probe:
    """Looks at everything every PROBE_SECONDS; declares it anew now and then, and when a part is missing."""

    def __init__(self, topology: Topology, consumers: Sequence[DomainConsumer], stats: Stats) -> None:
        """Tell `consumers` what the broker says of their queues, and `stats` of the dead letters."""
        self._topology = topology
        self._consumers = consumers
        self._stats = stats
        self._trouble = ""

    def health(self) -> Health:
        """Tell whether everything stood at the last look."""
        return Health("topology", not self._trouble, self._trouble or "as declared")

    async def run(self, connection: Connection) -> None:
        """Probe until cancelled. Trouble is told by `health`: the next turn may do better."""
        turn = 0
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            turn += 1
            missing = await self._turn(connection, repair=turn % PROBES_PER_REPAIR == 0)
            if missing:
                await self._turn(connection, repair=True)

    async def _turn(self, connection: Connection, *, repair: bool) -> bool:
        """Look, and tell whether something is missing."""
        trouble, missing = "", False
        try:
            async with asyncio.timeout(PROBE_SECONDS_MAX), channel_on(connection, confirms=False) as channel:
                if repair:
                    await self._topology.declare(channel)
                await self._look(channel)
                await self._vouch(connection)
        except RETRYABLE as exc:
            trouble, missing = cause_of(exc), isinstance(exc, ChannelNotFoundEntity)
        obey_cancellation()
        if trouble:
            log.warning("amqp.probe_failed", reason=trouble)
        self._trouble = trouble
        return missing

    async def _look(self, channel: Channel) -> None:
        names = self._topology.names
        for exchange in (names.exchange, names.inbound, names.unrouted):
            await channel.get_exchange(exchange)
        dead = await channel.declare_queue(names.dead, passive=True)
        self._stats.dead_letters_waiting = dead.declaration_result.message_count
        for consumer in self._consumers:
            await _look_at(channel, consumer)

    async def _vouch(self, connection: Connection) -> None:
        """Have those consumers attach anew that may be attached to a queue which is no more."""
        attached = {
            consumer.witness: (consumer, consumer.witness.attachments)
            for consumer in self._consumers
            if consumer.attached
        }
        for witness, stands in (await look(connection, attached)).items():
            consumer, attachments = attached[witness]
            if witness.attachments != attachments or not consumer.attached:
                continue  # What was seen says nothing about the consumer that is there now.
            finding = witness.judge(stands=stands, now=asyncio.get_running_loop().time())
            if finding is Finding.ATTACH_ANEW:
                log.warning("amqp.queue_replaced", queue=consumer.queue_name)
                consumer.doubt("the queue may be another one of the same name")
            elif finding is Finding.SET_UP:
                await witness.set_up(connection)


async def _look_at(channel: Channel, consumer: DomainConsumer) -> None:
    attached_before = consumer.attached
    queue = await channel.declare_queue(consumer.queue_name, passive=True)
    result = queue.declaration_result
    consumer.waiting, consumer.consumers = result.message_count, result.consumer_count
    if attached_before and consumer.attached and not result.consumer_count:
        log.warning("amqp.consumer_unknown", queue=consumer.queue_name)
        consumer.doubt("the broker does not know the consumer")
