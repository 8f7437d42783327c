"""The work of the one node that projects: from the log's feed into the inboxes, over one connection."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import asyncpg
import structlog

from bridge.core.entry import Position
from bridge.core.errors import LogUnavailableError
from bridge.core.feed import Feed, Page
from bridge.core.inbox import Batch, InboxRules
from bridge.core.stats import Stats
from bridge.store.connecting import Connection
from bridge.store.statements import statement, unread_channel

log = structlog.get_logger()

BATCH_ITEMS_MAX = 1_000  # Past either, the feed waits until they are written; a page may overshoot once.
BATCH_BYTES_MAX = 4_194_304
PULSE_SECONDS = 2.0  # Between two looks at the connection; a position without items is written as often.
WRITE_SECONDS_MAX = 10.0  # For one statement.
SWEEP_ITEMS_MAX = 1_000  # Removed by one statement.
SWEEP_STATEMENTS_MAX = 20  # Of one kind in one sweep; the rest is left to the next.


class PositionMovedError(Exception):
    """The position in the database is not where this node left it: somebody else has projected."""


class Projection:
    """Reads ahead of what is being written by one batch, so that batches grow with the load."""

    def __init__(
        self, connection: Connection, feed: Feed, *, schema: str, rules: InboxRules, stats: Stats
    ) -> None:
        """`connection` holds the lock of the one that projects."""
        self._connection = connection
        self._feed = feed
        self._rules = rules
        self._stats = stats
        self._channel = unread_channel(schema)
        self._sql = {
            name: statement(name, schema)
            for name in ("position", "add_items", "sweep_old", "sweep_crowded", "sweep_owners")
        }
        self._turn = asyncio.Lock()  # A connection does one thing at a time.
        self._changed = asyncio.Condition()  # Notified when the batch has grown or was taken.
        self.written = Position("", 0)  # What stands in the database.
        self._batch = Batch(self.written)

    async def run(self) -> None:
        """Project until something fails, and raise that."""
        row = await self._ask("position")
        self.written = Position(row["epoch"], row["log_offset"])
        self._batch = Batch(self.written)
        log.info("inbox.projecting", epoch=self.written.epoch, offset=self.written.offset)
        async with asyncio.TaskGroup() as tasks:
            for work in (self._read, self._write_items, self._pulse, self._sweep):
                tasks.create_task(work())

    async def _read(self) -> None:
        after = self.written if self.written.epoch else None
        async with aclosing(self._feed.follow(after)) as pages:
            async for page in pages:
                async with self._changed:
                    await self._changed.wait_for(lambda: not self._full)
                    self._take(page)
                    self._changed.notify_all()
        raise LogUnavailableError("the log has ended")

    @property
    def _full(self) -> bool:
        return len(self._batch) >= BATCH_ITEMS_MAX or self._batch.payload_bytes >= BATCH_BYTES_MAX

    def _take(self, page: Page) -> None:
        batch = self._batch
        if batch.position.epoch not in ("", page.epoch):
            log.error("inbox.log_began_anew", old=batch.position.epoch, new=page.epoch)
        elif page.gap:
            log.error("inbox.gap", epoch=page.epoch, after=batch.position.offset)
        for logged in page.entries:
            if self._rules.wants(logged.entry):
                batch.add(logged, now=time.time(), dedupe_seconds=self._rules.dedupe_seconds)
        batch.position = Position(page.epoch, page.up_to)

    async def _write_items(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: len(self._batch) > 0)
            await self._write()

    async def _pulse(self) -> None:
        """Notice when the connection is lost; write how far the log has come without items."""
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            if self._batch.position == self.written:
                await self._ask("position")
            else:
                await self._write()

    async def _write(self) -> None:
        """Write what has been read.

        Raises:
            PositionMovedError: nothing was written.
        """
        async with self._turn:
            batch, before = self._batch, self.written
            async with self._changed:
                self._batch = Batch(batch.position)
                self._changed.notify_all()
            row = await self._run(
                "add_items",
                *batch.position,
                *before,
                batch.users,
                batch.types,
                batch.keys,
                batch.payloads,
                batch.logged_at,
                self._rules.dedupe_seconds,
                self._channel,
            )
            if not row["moved"]:
                raise PositionMovedError("another node has projected meanwhile")
            self.written = batch.position
        self._feed.done(batch.position)
        self._stats.inbox_items["added"] += row["added"]
        self._stats.inbox_items["known"] += len(batch) - row["added"]

    async def _sweep(self) -> None:
        """Remove what is too old or one too many, a bounded number at a time."""
        while True:
            await self._remove("sweep_old", self._rules.age_seconds_max)
            await self._remove("sweep_crowded", self._rules.items_per_user_max)
            await self._ask("sweep_owners", SWEEP_ITEMS_MAX)
            await asyncio.sleep(self._rules.sweep_seconds)

    async def _remove(self, name: str, limit: float) -> None:
        for _ in range(SWEEP_STATEMENTS_MAX):
            row = await self._ask(name, limit, SWEEP_ITEMS_MAX, self._channel)
            self._stats.inbox_items["removed"] += row["removed"]
            if row["removed"] < SWEEP_ITEMS_MAX:
                return

    async def _ask(self, name: str, *arguments: object) -> asyncpg.Record:
        async with self._turn:
            return await self._run(name, *arguments)

    async def _run(self, name: str, *arguments: object) -> asyncpg.Record:
        async with asyncio.timeout(WRITE_SECONDS_MAX):
            row = await self._connection.fetchrow(self._sql[name], *arguments)
        if row is None:
            raise PositionMovedError("the tables of the inbox have lost their position")
        return row
