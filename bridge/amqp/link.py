"""The supervised connections to RabbitMQ: made, watched, and made again.

Two of them: a broker that is short of memory or disk stops reading from connections that publish
(https://www.rabbitmq.com/docs/alarms), and acks must not be stuck behind that.

Not aio-pika's RobustConnection: that one retries without jitter, does not bring back a consumer
that the broker cancelled, and can look healthy with a consumer gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel as Channel
from aio_pika.abc import AbstractConnection as Connection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity
from yarl import URL

from bridge.amqp.consumer import CLOSE_SECONDS_MAX, RETRYABLE, DomainConsumer, close_quietly
from bridge.amqp.publisher import Publisher
from bridge.amqp.topology import Topology
from bridge.core.backoff import Backoff
from bridge.core.health import Health
from bridge.core.stats import Stats

log = structlog.get_logger()

__all__ = ["CONNECT_ERRORS", "Channel", "Connection", "Link", "connect"]

CONNECT_SECONDS_MAX = 5.0
HEARTBEAT_SECONDS = 10
BACKOFF_SECONDS_FIRST = 0.2
BACKOFF_SECONDS_MAX = 3.0  # Consumption is to be back within 5 s of the broker being back.
CONNECT_ERRORS = (*CONNECTION_EXCEPTIONS, TimeoutError)
PROBE_SECONDS = 2.0
PROBES_PER_REPAIR = 5
PROBE_SECONDS_MAX = 5.0


class ConnectionLostError(Exception):
    """The connection to RabbitMQ ended."""


async def connect(url: str, name: str) -> Connection:
    """Open a connection. `name` is shown by the broker's management page.

    Raises:
        AMQPError, OSError, TimeoutError: no connection.
    """
    with_heartbeat = URL(url)
    if "heartbeat" not in with_heartbeat.query:
        with_heartbeat = with_heartbeat.update_query(heartbeat=HEARTBEAT_SECONDS)
    return await aio_pika.connect(
        with_heartbeat, timeout=CONNECT_SECONDS_MAX, client_properties={"connection_name": name}
    )


class Link:
    """Owns the connection, the publisher's channel and every domain consumer."""

    def __init__(
        self,
        url: str,
        *,
        topology: Topology,
        publisher: Publisher,
        consumers: Sequence[DomainConsumer],
        stats: Stats,
    ) -> None:
        """`url` is an AMQP URI (https://www.rabbitmq.com/docs/uri-spec); it may hold a password."""
        self._url = url
        self._topology = topology
        self._publisher = publisher
        self._consumers = consumers
        self._stats = stats
        self._connections: tuple[Connection, ...] = ()  # Both of them, while there are.
        self._trouble = "not connected yet"
        self._stopping = asyncio.Event()

    def health(self) -> list[Health]:
        """Tell how the connection and each consumer are."""
        connected = bool(self._connections) and not any(one.is_closed for one in self._connections)
        detail = "connected" if connected else self._trouble
        return [Health("rabbitmq", connected, detail), *(c.health() for c in self._consumers)]

    async def run(self) -> None:
        """Keep connected and consuming until stopped (then what is in hand is finished) or cancelled."""
        backoff = Backoff(seconds_first=BACKOFF_SECONDS_FIRST, seconds_max=BACKOFF_SECONDS_MAX)
        while not self._stopping.is_set():
            try:
                await self._one_connection(backoff)
            except* (ConnectionLostError, *RETRYABLE) as group:
                reason = _first_reason(group)
                self._trouble = reason
                self._stats.reconnects += 1
                wait_seconds = backoff.next()
                log.warning("amqp.disconnected", reason=reason, retry_seconds=round(wait_seconds, 3))
                await self._sleep(wait_seconds)

    async def stop(self) -> None:
        """Take nothing more; `run` returns when what is in hand is done."""
        self._stopping.set()
        await asyncio.gather(*(consumer.stop() for consumer in self._consumers))

    async def _one_connection(self, backoff: Backoff) -> None:
        prefix = self._topology.names.prefix
        async with AsyncExitStack() as stack:
            consuming = await _opened(stack, self._url, f"{prefix} consumes")
            publishing = await _opened(stack, self._url, f"{prefix} publishes")
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                channel = publishing.channel(publisher_confirms=True, on_return_raises=True)
                await channel.initialize()
                await self._topology.declare(channel)
            self._publisher.use(channel)
            stack.callback(self._publisher.use, None)
            self._connections = (consuming, publishing)
            stack.callback(setattr, self, "_connections", ())
            backoff.reset()
            log.info("amqp.connected", prefix=prefix)
            await self._work(consuming, channel)

    async def _work(self, consuming: Connection, publishing: Channel) -> None:
        """Consume until stopped; raise ConnectionLostError when either connection ends."""
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(_watch(consuming.closed(), "the consuming connection was closed")),
                tasks.create_task(_watch(publishing.closed(), "the publishing channel was closed")),
                tasks.create_task(self._probe(consuming)),
            ]
            working = [tasks.create_task(consumer.run(consuming)) for consumer in self._consumers]
            await asyncio.wait(working)
            if self._stopping.is_set():
                for task in watching:
                    task.cancel()

    async def _probe(self, connection: Connection) -> None:
        """Ask the broker what it sees, and repair what is missing."""
        turn = 0
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            turn += 1
            channel = connection.channel(publisher_confirms=False)
            try:
                async with asyncio.timeout(PROBE_SECONDS_MAX):
                    await channel.initialize()
                    if turn % PROBES_PER_REPAIR == 0:
                        await self._topology.declare(channel)
                    for consumer in self._consumers:
                        await self._probe_one(channel, consumer)
            except ChannelNotFoundEntity as exc:
                log.warning("amqp.queue_missing", reason=str(exc))
                turn = -1  # Repair at the next turn.
            except TimeoutError:
                # A connection can be cut without either end being told; do not wait for the heartbeat.
                raise ConnectionLostError(f"the broker did not answer within {PROBE_SECONDS_MAX:g} s") from None
            except RETRYABLE as exc:
                log.warning("amqp.probe_failed", reason=f"{type(exc).__name__}: {exc}")
            finally:
                await close_quietly(channel)

    @staticmethod
    async def _probe_one(channel: Channel, consumer: DomainConsumer) -> None:
        attached_before = consumer.attached
        queue = await channel.declare_queue(consumer.queue_name, passive=True)
        result = queue.declaration_result
        consumer.waiting, consumer.consumers = result.message_count, result.consumer_count
        if attached_before and consumer.attached and not result.consumer_count:
            log.warning("amqp.consumer_unknown", queue=consumer.queue_name)
            consumer.doubt()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not through a stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


async def _opened(stack: AsyncExitStack, url: str, name: str) -> Connection:
    """Open a connection that the stack closes; one that does not answer is left to the heartbeat."""
    connection = await connect(url, name)

    async def close() -> None:
        with contextlib.suppress(*RETRYABLE):
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await connection.close()

    stack.push_async_callback(close)
    return connection


async def _watch(closed: Awaitable[object], reason: str) -> None:
    await closed
    raise ConnectionLostError(reason)


def _first_reason(group: BaseExceptionGroup[BaseException]) -> str:
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return f"{type(exc).__name__}: {exc}"
