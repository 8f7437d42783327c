"""The database: a pool that is asked with a deadline, and one connection that watches it.

The watching connection listens to notifications, notices within seconds when the database is gone or
silent, and is made again with back-off. While it cannot be made, questions are refused at once: nobody
waits for a deadline to hear what is known already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import structlog

from bridge.core.authority import UnavailableError
from bridge.core.backoff import Backoff
from bridge.core.health import Health
from bridge.core.stats import Stats
from bridge.store.connecting import (
    FAULTS,
    LOST,
    Connection,
    DatabaseRules,
    Pooled,
    arguments_of,
    connect,
    reason,
)
from bridge.store.migrating import trouble_with_schema

log = structlog.get_logger()

BACKOFF_SECONDS_FIRST = 0.2
BACKOFF_SECONDS_MAX = 2.0
PULSE_SECONDS = 2.0
RELEASE_SECONDS_MAX = 0.5
IDLE_SECONDS_MAX = 60.0  # Then a connection of the pool is closed; the next burst opens it again.

T = TypeVar("T")
Heard = Callable[[str], None]
Attached = Callable[[Connection, float | None], Awaitable[None]]


class Database:
    """Owns every pooled connection. `run` it; ask meanwhile."""

    def __init__(self, rules: DatabaseRules, *, stats: Stats, own_tables: bool = True) -> None:
        """`own_tables`: whether anybody needs the tables of the bridge's own schema."""
        self.rules = rules
        self._stats = stats
        self._own_tables = own_tables
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None  # Set while running.
        self._down = True  # Whether the last attempt to connect failed.
        self._trouble = "not connected yet"
        self.schema_trouble = ""  # What is wrong with the bridge's own tables.
        self._well_at: float | None = None  # When the watching connection last was known to be well.
        self._channels: dict[str, Heard] = {}
        self._attached: list[Attached] = []

    def listen(self, channel: str, heard: Heard) -> None:
        """Call `heard` with the payload of each notification. Say so before `run`."""
        self._channels[channel] = heard

    def on_attached(self, attached: Attached) -> None:
        """Await this each time that listening begins, with the connection.

        And with the seconds for which nobody listened at most; None the first time.
        """
        self._attached.append(attached)

    def health(self) -> Health:
        """Tell whether the database answers. Without it the node is degraded."""
        trouble = self._trouble or self.schema_trouble
        return Health("database", not trouble, trouble or "answers", vital=False)

    async def run(self) -> None:
        """Keep a connection that watches until cancelled."""
        backoff = Backoff(seconds_first=BACKOFF_SECONDS_FIRST, seconds_max=BACKOFF_SECONDS_MAX)
        self._pool = self._new_pool()
        try:
            await self._pool  # Opens no connection, since the pool's smallest size is 0.
            while True:
                try:
                    await self._watch(backoff)
                except FAULTS as fault:
                    self._trouble = reason(fault)
                    log.warning("database.disconnected", reason=self._trouble)
                await asyncio.sleep(backoff.next())
        finally:
            self._down = True
            self._pool.terminate()
            self._pool = None

    async def ask(self, work: Callable[[Pooled], Awaitable[T]]) -> T:
        """Do some work on a connection of the pool, within `query_seconds_max`.

        Raises:
            UnavailableError: the database is away, does not answer in time, or refuses the work.
        """
        pool = self._pool
        if pool is None or self._down:
            raise UnavailableError(f"the database is away: {self._trouble}")
        asked_at = _now()
        deadline = asked_at + self.rules.query_seconds_max
        try:
            async with asyncio.timeout_at(deadline):
                connection = await pool.acquire()
            try:
                async with asyncio.timeout_at(deadline):
                    return await work(connection)
            except asyncpg.PostgresError:
                # Somebody may have changed a table: what connections know of statements is out of date.
                await connection.reload_schema_state()
                raise
            except (*LOST, asyncio.CancelledError):
                connection.terminate()  # An answer may still be on its way, to nobody.
                raise
            finally:
                await pool.release(connection, timeout=RELEASE_SECONDS_MAX)
        except FAULTS as fault:
            raise UnavailableError(f"the database: {reason(fault)}") from fault
        finally:
            self._stats.database_seconds.observe(_now() - asked_at)

    def _new_pool(self) -> asyncpg.Pool[asyncpg.Record]:
        return asyncpg.create_pool(
            **arguments_of(self.rules, seconds_max=self.rules.query_seconds_max),
            min_size=0,
            max_size=self.rules.connections_max,
            max_inactive_connection_lifetime=IDLE_SECONDS_MAX,
            reset=_nothing_to_reset,
        )

    async def _watch(self, backoff: Backoff) -> None:
        """Listen until the connection is lost; raises what it was lost by."""
        self._trouble = self._trouble or "connecting"
        try:
            connection = await connect(self.rules)
        except FAULTS:
            self._down = True
            raise
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _: gone.set())
        try:
            await self._attach(connection)
            backoff.reset()
            while not gone.is_set():
                await self._pulse(connection, gone)
            raise ConnectionResetError("the connection was lost")
        finally:
            self._trouble = "the connection was lost"
            self._down = not gone.is_set()  # One that was ended may well be made again at once.
            connection.terminate()

    async def _attach(self, connection: Connection) -> None:
        async with asyncio.timeout(self.rules.connect_seconds_max):
            if self._own_tables:
                self.schema_trouble = await trouble_with_schema(connection, self.rules.schema)
            for channel, heard in self._channels.items():
                await connection.add_listener(channel, _handler(heard))
            silent = None if self._well_at is None else _now() - self._well_at
            for attached in self._attached:
                await attached(connection, silent)
        self._well_at = _now()
        self._down, self._trouble = False, ""
        log.info("database.connected", remark=self.schema_trouble)

    async def _pulse(self, connection: Connection, gone: asyncio.Event) -> None:
        """Wait a moment, then see whether the database still answers."""
        try:
            async with asyncio.timeout(PULSE_SECONDS):
                await gone.wait()
        except TimeoutError:
            async with asyncio.timeout(self.rules.query_seconds_max):
                if self._own_tables and self.schema_trouble:  # Somebody may have migrated by now.
                    self.schema_trouble = await trouble_with_schema(connection, self.rules.schema)
                else:
                    await connection.execute("SELECT 1")
            self._well_at = _now()


def _handler(heard: Heard) -> Callable[..., None]:
    def handle(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        heard(str(payload))

    return handle


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _nothing_to_reset(_: object) -> None:
    """Spare a round trip: no question leaves anything behind in its session."""
