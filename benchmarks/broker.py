"""Leaves nothing behind on a broker that is not ours."""

from __future__ import annotations

import contextlib

import aio_pika
from aio_pika.exceptions import AMQPError

from bridge.amqp.topology import Topology

CONNECT_SECONDS_MAX = 10.0


async def remove(url: str, topology: Topology, *queues: str) -> None:
    """Remove everything that a bridge of ours has declared, and further queues, from a broker."""
    names = topology.names
    async with await aio_pika.connect(url, timeout=CONNECT_SECONDS_MAX) as connection:
        for queue in (*map(names.queue, topology.domains), names.dead, names.log, *queues):
            channel = await connection.channel()
            with contextlib.suppress(AMQPError):  # Not there: nothing to remove, but the channel is gone.
                await channel.queue_delete(queue)
        for exchange in (names.exchange, names.inbound, names.unrouted):
            channel = await connection.channel()
            with contextlib.suppress(AMQPError):
                await channel.exchange_delete(exchange)
