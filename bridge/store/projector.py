"""Fills the inboxes from the event log: each durable event once, by one node at a time.

The node that projects holds a session advisory lock (PostgreSQL manual, section 13.3.5) on the very
connection that it writes over. When it dies, or loses the connection, the lock is free, and it cannot
write any more. One statement adds a run of items and moves the position that stands in the database,
and does neither if the position is not where this node believes it to be. So whatever happens in
between, the next one goes on exactly where the last one came to.

A log that begins anew (a deleted stream, a restarted node whose log is in memory) is projected from its
first entry. What the old one held and nobody had projected is lost for the inbox, and that is logged.
"""

from __future__ import annotations

import asyncio

import structlog

from bridge.cancellation import obey_cancellation
from bridge.core.backoff import Backoff
from bridge.core.errors import LogUnavailableError
from bridge.core.feed import Feed
from bridge.core.health import Health
from bridge.core.inbox import InboxRules
from bridge.core.stats import Stats
from bridge.store.connecting import FAULTS, Connection, DatabaseRules, connect, reason
from bridge.store.migrating import trouble_with_schema
from bridge.store.projection import WRITE_SECONDS_MAX, PositionMovedError, Projection

log = structlog.get_logger()

STANDBY_SECONDS = 1.0  # Between two attempts to become the one that projects.
BACKOFF_SECONDS_FIRST = 0.2
BACKOFF_SECONDS_MAX = 5.0


class Projector:
    """Projects while this node is the one, and stands by while another is."""

    def __init__(self, database: DatabaseRules, rules: InboxRules, stats: Stats) -> None:
        """Do nothing yet; see `run`."""
        self._database = database
        self._rules = rules
        self._stats = stats
        self._trouble = "not connected yet"
        self._projection: Projection | None = None  # Set while this node is the one.

    def health(self) -> Health:
        """Tell whether inboxes are being filled, here or elsewhere. Without that the node is degraded."""
        detail = "standing by: another node projects"
        if self._projection is not None:
            epoch, offset = self._projection.written
            detail = f"projected up to offset {offset} of {epoch}" if epoch else "nothing projected yet"
        return Health("inbox", not self._trouble, self._trouble or detail, vital=False)

    async def run(self, feed: Feed) -> None:
        """Project, or stand by, until cancelled; begin again after every trouble."""
        backoff = Backoff(seconds_first=BACKOFF_SECONDS_FIRST, seconds_max=BACKOFF_SECONDS_MAX)
        while True:
            trouble = ""
            try:
                trouble = await asyncio.create_task(self._attend(feed, backoff))
            except* (*FAULTS, PositionMovedError, LogUnavailableError) as group:
                trouble = reason(group)
            obey_cancellation()
            if trouble != self._trouble:
                log.warning("inbox.interrupted", reason=trouble)
            self._trouble = trouble
            # Those that stand by come first: what is in the way may be in this node's alone.
            await asyncio.sleep(2 * STANDBY_SECONDS + backoff.next())

    async def _attend(self, feed: Feed, backoff: Backoff) -> str:
        """Make a connection, become the one that projects, and do so until something fails.

        Returns at once what is wrong with the tables, if something is.
        """
        connection = await connect(self._database, seconds_max=WRITE_SECONDS_MAX)
        try:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                trouble = await trouble_with_schema(connection, self._database.schema)
            if trouble:
                return trouble
            self._trouble = ""
            while not await self._locked(connection):  # noqa: ASYNC110 - it is the server that is asked
                await asyncio.sleep(STANDBY_SECONDS)
            backoff.reset()
            self._projection = Projection(
                connection, feed, schema=self._database.schema, rules=self._rules, stats=self._stats
            )
            await self._projection.run()
        finally:
            self._projection = None
            connection.terminate()
        return ""

    async def _locked(self, connection: Connection) -> bool:
        async with asyncio.timeout(WRITE_SECONDS_MAX):
            return bool(
                await connection.fetchval(
                    "SELECT pg_try_advisory_lock(hashtextextended($1, 0))",
                    f"project {self._database.schema}",
                )
            )
