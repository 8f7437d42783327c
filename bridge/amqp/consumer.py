"""Keeps one domain's consumer attached to its queue, whatever happens to either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from bridge.amqp.bulk import source_on
from bridge.amqp.channels import channel_on
from bridge.amqp.link import RETRYABLE, Connection, is_open, unless
from bridge.amqp.source import StockSource
from bridge.amqp.topology import Topology
from bridge.amqp.witness import Witness
from bridge.cancellation import obey_cancellation
from bridge.core.backoff import Backoff
from bridge.core.catalogue import Domain
from bridge.core.errors import cause_of
from bridge.core.health import Health

log = structlog.get_logger()

BACKOFF_SECONDS_FIRST = 0.1
ATTACH_BACKOFF_SECONDS_MAX = 2.0  # Consumption is to be back within 5 s of the queue being back.
WORK_BACKOFF_SECONDS_MAX = 30.0  # Work that fails at once must not spend its deliveries' limit soon.
STEADY_SECONDS = 5.0
ATTACH_SECONDS_MAX = 10.0

Work = Callable[[StockSource, Connection], Awaitable[None]]
"""Processes a source, which lives on a channel of the connection, until that stops. May raise RETRYABLE."""


class DomainConsumer:
    """One domain's consumer on one connection after another.

    `waiting`, `consumers` are what the broker said last about the queue; None before it did.
    """

    def __init__(
        self,
        domain: Domain,
        topology: Topology,
        work: Work,
        *,
        ready: Callable[[], Awaitable[None]],
        prefetch: int,
    ) -> None:
        """`work` processes a source until that stops; it may raise RETRYABLE.

        `ready` returns when it could. Until then nothing is attached: a single active consumer that
        cannot work would keep another node's from working.
        """
        self.domain = domain
        self.queue_name = topology.names.queue(domain)
        self.witness = Witness(self.queue_name, topology.names.witness(domain))
        self.waiting: int | None = None
        self.consumers: int | None = None
        self._topology = topology
        self._work = work
        self._ready = ready
        self._prefetch = prefetch
        self._source: StockSource | None = None  # Set while attached.
        self._stopping = asyncio.Event()
        self._trouble = "not attached yet"

    @property
    def attached(self) -> bool:
        """Whether the broker has accepted our consumer and not taken it away."""
        return self._source is not None and self._source.alive

    @property
    def oldest_unacked_at(self) -> float | None:
        """When the oldest delivery in hand came in; seconds since the Unix epoch."""
        return self._source.oldest_unacked_at if self._source else None

    def health(self) -> Health:
        """Tell whether this domain is being consumed."""
        detail = f"{self.waiting} waiting" if self.waiting is not None else "attached"
        return Health(self.queue_name, self.attached, detail if self.attached else self._trouble)

    async def run(self, connection: Connection) -> None:
        """Consume over this connection until stopped or cancelled; come back after every trouble."""
        attaching = Backoff(seconds_first=BACKOFF_SECONDS_FIRST, seconds_max=ATTACH_BACKOFF_SECONDS_MAX)
        working = Backoff(seconds_first=BACKOFF_SECONDS_FIRST, seconds_max=WORK_BACKOFF_SECONDS_MAX)
        while True:
            await unless(self._stopping, self._ready())
            if self._stopping.is_set():
                return
            backoff = attaching
            try:
                async with self._attached(connection) as source:
                    backoff = working
                    attaching.reset()
                    steady = asyncio.get_running_loop().call_later(STEADY_SECONDS, working.reset)
                    try:
                        await self._work(source, connection)
                    finally:
                        steady.cancel()
            except RETRYABLE as exc:
                obey_cancellation()
                self._trouble = cause_of(exc)
                if not is_open(connection):
                    return  # The link makes a new one and calls again.
                wait_seconds = backoff.next()
                log.warning(
                    "amqp.consumer_lost",
                    queue=self.queue_name,
                    reason=self._trouble,
                    retry_seconds=round(wait_seconds, 3),
                )
                await unless(self._stopping, asyncio.sleep(wait_seconds))

    def stop(self) -> None:
        """Begin no further batch; the one in hand is finished by `run`."""
        self._stopping.set()
        if self._source is not None:
            self._source.stop()

    def doubt(self, reason: str) -> None:
        """Attach anew, because nothing may reach our consumer."""
        if self._source is not None:
            self._source.lose(reason)

    @asynccontextmanager
    async def _attached(self, connection: Connection) -> AsyncIterator[StockSource]:
        """Declare everything and attach to the queue, for the length of the context."""
        async with channel_on(connection, confirms=True) as channel:
            async with asyncio.timeout(ATTACH_SECONDS_MAX):
                await self._topology.declare(channel)
                await self.witness.attaching(connection)
                source = source_on(connection, channel, self.queue_name, prefetch=self._prefetch)
                await source.start()
            self._source = source
            try:
                log.info("amqp.consumer_attached", queue=self.queue_name)
                if self._stopping.is_set():
                    source.stop()
                yield source
            finally:
                self._source = None
