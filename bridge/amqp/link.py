"""A supervised connection to RabbitMQ: made, put to work, watched, and made again.

Not aio-pika's RobustConnection: that one retries without jitter, does not bring back a consumer
that the broker cancelled, and can look healthy with a consumer gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel as Channel
from aio_pika.abc import AbstractConnection as Connection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from yarl import URL

from bridge.amqp.publisher import PublishFailedError
from bridge.amqp.source import SourceLostError
from bridge.amqp.topology import TopologyError
from bridge.core.backoff import Backoff
from bridge.core.errors import LogUnavailableError
from bridge.core.health import Health
from bridge.core.stats import Stats

__all__ = ["CONNECT_ERRORS", "RETRYABLE", "Channel", "Connection", "ConnectionLostError", "Link", "Work", "connect"]

log = structlog.get_logger()

CONNECT_SECONDS_MAX = 5.0
CLOSE_SECONDS_MAX = 2.0
HEARTBEAT_SECONDS = 10
BACKOFF_SECONDS_FIRST = 0.2
BACKOFF_SECONDS_MAX = 3.0  # Consumption is to be back within 5 s of the broker being back.
CONNECT_ERRORS = (*CONNECTION_EXCEPTIONS, TimeoutError)


class ConnectionLostError(Exception):
    """The connection to RabbitMQ ended."""


RETRYABLE = (
    *CONNECT_ERRORS,
    ConnectionLostError,
    SourceLostError,
    PublishFailedError,
    LogUnavailableError,
    TopologyError,
)
"""What goes wrong between us and a broker, and may go right the next time."""


async def connect(url: str, name: str) -> Connection:
    """Open a connection. `name` is shown by the broker's management page.

    Raises:
        CONNECT_ERRORS: no connection.
    """
    with_heartbeat = URL(url)
    if "heartbeat" not in with_heartbeat.query:
        with_heartbeat = with_heartbeat.update_query(heartbeat=HEARTBEAT_SECONDS)
    return await aio_pika.connect(
        with_heartbeat, timeout=CONNECT_SECONDS_MAX, client_properties={"connection_name": name}
    )


Work = Callable[[Connection], Awaitable[None]]


class Link:
    """One connection and what works on it.

    Every work is started anew on each connection. The link is done when all `works` have
    returned on their own accord; `helpers` run beside them and end with them.
    """

    def __init__(
        self, url: str, name: str, *, works: Sequence[Work], helpers: Sequence[Work] = (), stats: Stats
    ) -> None:
        """`url` is an AMQP URI (https://www.rabbitmq.com/docs/uri-spec); it may hold a password."""
        self._url = url
        self._name = name
        self._works = works
        self._helpers = helpers
        self._stats = stats
        self._connection: Connection | None = None  # Set while there is one, closed or not.
        self._trouble = "not connected yet"
        self._stopping = asyncio.Event()

    def health(self) -> Health:
        """Tell whether the connection is there."""
        connected = self._connection is not None and not self._connection.is_closed
        return Health(self._name, connected, "connected" if connected else self._trouble)

    async def run(self) -> None:
        """Keep connected and working until all works are done after `stop`, or until cancelled."""
        backoff = Backoff(seconds_first=BACKOFF_SECONDS_FIRST, seconds_max=BACKOFF_SECONDS_MAX)
        while not self._stopping.is_set():
            try:
                await self._one_connection(backoff)
            except* RETRYABLE as group:
                self._trouble = _first_reason(group)
                self._stats.reconnects += 1
                wait_seconds = backoff.next()
                log.warning(
                    "amqp.disconnected",
                    link=self._name,
                    reason=self._trouble,
                    retry_seconds=round(wait_seconds, 3),
                )
                await self._sleep(wait_seconds)

    def stop(self) -> None:
        """Make no further connection. The works must be told by their owners."""
        self._stopping.set()

    async def _one_connection(self, backoff: Backoff) -> None:
        connection = await connect(self._url, self._name)
        try:
            self._connection = connection
            log.info("amqp.connected", link=self._name)
            async with asyncio.TaskGroup() as tasks:
                beside = [tasks.create_task(self._watch(connection))]
                beside += [tasks.create_task(_awaiting(helper(connection))) for helper in self._helpers]
                working = [tasks.create_task(_awaiting(work(connection))) for work in self._works]
                await asyncio.wait(working)
                backoff.reset()
                for task in beside if self._stopping.is_set() else ():
                    task.cancel()
        finally:
            self._connection = None
            with contextlib.suppress(*RETRYABLE):  # One that does not answer is left to the heartbeat.
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await connection.close()

    @staticmethod
    async def _watch(connection: Connection) -> None:
        await connection.closed()
        raise ConnectionLostError("the connection was closed")

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not through a stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


async def _awaiting(work: Awaitable[None]) -> None:
    await work


def _first_reason(group: BaseExceptionGroup[BaseException]) -> str:
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return f"{type(exc).__name__}: {exc}"
