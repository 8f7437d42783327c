"""A supervised connection to RabbitMQ: made, put to work, watched, and made again.

Not aio-pika's RobustConnection: that one retries without jitter, does not bring back a consumer
that the broker cancelled, and can look healthy with a consumer gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel as Channel, AbstractConnection as Connection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    ProbableAuthenticationError,
)
from yarl import URL

from bridge.amqp.bulk import BulkConnection
from bridge.amqp.faults import ConnectionLostError, SourceLostError, honest
from bridge.amqp.publisher import PublishFailedError
from bridge.amqp.topology import TopologyError
from bridge.cancellation import obey_cancellation
from bridge.core.backoff import Backoff
from bridge.core.errors import LogUnavailableError, cause_of
from bridge.core.health import Health
from bridge.core.stats import Stats

__all__ = [
    "AUTHENTICATION_ERRORS",
    "CONNECT_ERRORS",
    "RETRYABLE",
    "Channel",
    "Connection",
    "ConnectionLostError",
    "Link",
    "Reader",
    "Work",
    "close",
    "connect",
    "first_reason",
    "is_open",
    "unless",
]

log = structlog.get_logger()

CONNECT_SECONDS_MAX = 5.0
CLOSE_SECONDS_MAX = 2.0
HEARTBEAT_SECONDS = 10
BACKOFF_SECONDS_FIRST = 0.2
BACKOFF_SECONDS_MAX = 2.0  # Consumption is to be back within 5 s of the broker being back.
STEADY_SECONDS = 10.0  # A connection that has lived so long begins the back-off anew.
PULSE_SECONDS = 2.0
PULSE_SECONDS_MAX = 5.0
CONNECT_ERRORS = (*CONNECTION_EXCEPTIONS, TimeoutError)
AUTHENTICATION_ERRORS = (AuthenticationError, ProbableAuthenticationError)

T = TypeVar("T")
Reader = Literal["bulk", "stock"]


RETRYABLE = (
    *CONNECT_ERRORS,
    ConnectionLostError,
    SourceLostError,
    PublishFailedError,
    LogUnavailableError,
    TopologyError,
)
"""What goes wrong between us and a broker, and may go right the next time."""


async def connect(url: str, name: str, reader: Reader = "bulk") -> Connection:
    """Open a connection. `name` is shown by the broker's management page.

    `reader` says how deliveries are read on it: in bulk by ourselves, or by aio-pika.

    Raises:
        CONNECT_ERRORS: no connection.
    """
    with_heartbeat = URL(url)
    if "heartbeat" not in with_heartbeat.query:
        with_heartbeat = with_heartbeat.update_query(heartbeat=HEARTBEAT_SECONDS)
    return await aio_pika.connect(
        with_heartbeat,
        timeout=CONNECT_SECONDS_MAX,
        client_properties={"connection_name": name},
        connection_class=BulkConnection if reader == "bulk" else aio_pika.Connection,
    )


def is_open(connection: Connection) -> bool:
    """Tell whether a connection is there; aio-pika's own `is_closed` tells only whether we closed it."""
    return connection.connected.is_set()


async def unless(stopping: asyncio.Event, work: Awaitable[T]) -> T | None:
    """Await some work, but not past a stop: then it is cancelled, and None is returned."""
    tasks = (asyncio.ensure_future(work), asyncio.ensure_future(stopping.wait()))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Work = Callable[[Connection], Awaitable[None]]


class Link:
    """One connection and what works on it.

    Every work is started anew on each connection. The link is done when all `works` have
    returned on their own accord; `helpers` run beside them and end with them.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        works: Sequence[Work],
        helpers: Sequence[Work] = (),
        stats: Stats,
        reader: Reader = "bulk",
    ) -> None:
        """`url` is an AMQP URI (https://www.rabbitmq.com/docs/uri-spec); it may hold a password."""
        self._url = url
        self._name = name
        self._works = works
        self._helpers = helpers
        self._stats = stats
        self._reader: Reader = reader
        self._connection: Connection | None = None  # Set while there is one, closed or not.
        self._trouble = "not connected yet"
        self._stopping = asyncio.Event()

    def health(self) -> Health:
        """Tell whether the connection is there."""
        connected = self._connection is not None and is_open(self._connection)
        return Health(self._name, connected, "connected" if connected else self._trouble)

    async def run(self) -> None:
        """Keep connected and working until all works are done after `stop`, or until cancelled."""
        backoff = Backoff(seconds_first=BACKOFF_SECONDS_FIRST, seconds_max=BACKOFF_SECONDS_MAX)
        while not self._stopping.is_set():
            rest_seconds: float | None = None
            try:
                with honest():
                    await asyncio.create_task(self._one_connection(backoff))
            except* RETRYABLE as group:
                rest_seconds = backoff.next()
                self._note_trouble(first_reason(group), rest_seconds)
            obey_cancellation()
            # Not in there: before Python 3.11.4 a cancellation would come out of it in an exception group.
            if rest_seconds is not None:
                await unless(self._stopping, asyncio.sleep(rest_seconds))

    def stop(self) -> None:
        """Make no further connection. The works must be told by their owners."""
        self._stopping.set()

    async def _one_connection(self, backoff: Backoff) -> None:
        connection = await unless(self._stopping, connect(self._url, self._name, self._reader))
        if connection is None:
            return
        steady = asyncio.get_running_loop().call_later(STEADY_SECONDS, backoff.reset)
        try:
            self._connection = connection
            log.info("amqp.connected", link=self._name)
            async with asyncio.TaskGroup() as tasks:
                beside = [tasks.create_task(_watch(connection))]
                beside += [tasks.create_task(_awaiting(helper(connection))) for helper in self._helpers]
                working = [tasks.create_task(_awaiting(work(connection))) for work in self._works]
                await asyncio.wait(working)
                for task in beside if self._stopping.is_set() else ():
                    task.cancel()
        finally:
            steady.cancel()
            self._connection = None
            await close(connection)

    def _note_trouble(self, trouble: str, rest_seconds: float) -> None:
        self._trouble = trouble
        self._stats.reconnects += 1
        log.warning(
            "amqp.disconnected", link=self._name, reason=trouble, retry_seconds=round(rest_seconds, 3)
        )


async def _watch(connection: Connection) -> None:
    """Watch over a connection.

    Raises:
        ConnectionLostError: it has ended, or the broker does not answer. A connection can be cut
            without either end being told; asking is sooner than the heartbeat.
    """
    gone: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    connection.close_callbacks.add(lambda _, exc: None if gone.done() else gone.set_result(exc))
    while is_open(connection):
        await asyncio.wait((gone,), timeout=PULSE_SECONDS)
        if is_open(connection) and not await _answers(connection):
            await close(connection)  # So that nobody tries to close channels politely.
            raise ConnectionLostError(f"the broker did not answer within {PULSE_SECONDS_MAX:g} s")
    reason = gone.result() if gone.done() else None
    raise ConnectionLostError(f"the connection was closed{f': {reason}' if reason else ''}")


async def close(connection: Connection) -> None:
    """Close a connection; one that does not answer is left to the heartbeat. Idempotent."""
    with contextlib.suppress(*RETRYABLE), honest():
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await connection.close()


async def _answers(connection: Connection) -> bool:
    """Tell whether the broker answers, or has told us that it will not for a while."""
    try:
        with honest():
            async with asyncio.timeout(PULSE_SECONDS_MAX):
                channel = await connection.channel(publisher_confirms=False)
                await channel.close()
    except TimeoutError:
        return await _blocked(connection)
    except RETRYABLE:
        return not is_open(connection)
    return True


async def _blocked(connection: Connection) -> bool:
    """Tell whether the broker does not read from us because of an alarm (/docs/connection-blocked)."""
    if connection.transport is None:
        return False
    try:
        async with asyncio.timeout(0):
            await connection.transport.ready()
    except TimeoutError:
        return True
    return False


async def _awaiting(work: Awaitable[None]) -> None:
    with honest():
        await work


def first_reason(group: BaseExceptionGroup[BaseException]) -> str:
    """Return what the first exception inside a group says."""
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return cause_of(exc)
