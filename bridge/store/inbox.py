"""The inbox of each user: read, mark as read, count, and hear of changes on every node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from bridge.core.authority import InboxItem, UnavailableError
from bridge.store.connecting import Connection
from bridge.store.database import Database
from bridge.store.queries import is_user
from bridge.store.statements import statement, unread_channel

ITEMS_MAX = 1_000  # Of one page, and of one command that marks as read.
ITEM_ID_MAX = 2**63 - 1
TOLD_USERS_MAX = 100_000  # Whose new count waits for a watcher; past that the oldest is not told.
LOOK_BACK_SECONDS = 60.0  # Before the time that nobody listened: a change is told when it is committed.


class PostgresInbox:
    """Reads and marks; `Projector` fills it."""

    def __init__(self, database: Database) -> None:
        """Ask nothing yet. Tell the database to listen, so make it before the database runs."""
        schema = database.rules.schema
        self._database = database
        self._channel = unread_channel(schema)
        self._items = statement("items", schema)
        self._mark_read = statement("mark_read", schema)
        self._unread = statement("unread", schema)
        self._changed = statement("changed", schema)
        self._watches: set[_Watch] = set()
        self._told: set[str] | None = None  # While counts are read anew: who was told a newer one.
        database.listen(self._channel, self._heard)
        database.on_attached(self._attached)

    async def items(self, user_id: str, after: int, limit: int) -> Sequence[InboxItem]:
        """Return a page of the user's inbox; see `Inbox`. `limit` is from 1 to ITEMS_MAX.

        Raises:
            UnavailableError: the inbox cannot be read at the moment.
            ValueError: the limit is out of its range.
        """
        if not 1 <= limit <= ITEMS_MAX:
            raise ValueError(f"a page has from 1 to {ITEMS_MAX} items, not {limit}")
        if not is_user(user_id) or after >= ITEM_ID_MAX:
            return ()
        self._check()
        rows = await self._database.ask(
            lambda connection: connection.fetch(self._items, user_id, max(0, after), limit)
        )
        return [InboxItem(row["item_id"], row["payload"], row["read"]) for row in rows]

    async def mark_read(self, user_id: str, item_ids: Sequence[int]) -> int:
        """Mark items of the user as read, at most ITEMS_MAX; others' ids do nothing. Return the unread count.

        Raises:
            UnavailableError: the inbox cannot be written at the moment.
            ValueError: there are too many ids.
        """
        if len(item_ids) > ITEMS_MAX:
            raise ValueError(f"at most {ITEMS_MAX} items are marked at once, not {len(item_ids)}")
        if not is_user(user_id):
            return 0
        self._check()
        ids = [item_id for item_id in item_ids if 0 < item_id <= ITEM_ID_MAX]
        unread = await self._database.ask(
            lambda connection: connection.fetchval(self._mark_read, user_id, ids, self._channel)
        )
        return int(unread)

    async def unread(self, user_id: str) -> int:
        """Return how many items of the user are unread. Raises UnavailableError."""
        if not is_user(user_id):
            return 0
        self._check()
        unread = await self._database.ask(lambda connection: connection.fetchval(self._unread, user_id))
        return int(unread or 0)

    async def watch_unread(self) -> AsyncGenerator[tuple[str, int]]:
        """Yield each user whose unread count has changed, on whichever node, with the count as it is now.

        Only the newest count of a user is kept for a watcher that is slow. After the connection was lost,
        the counts that changed meanwhile are told, whether they were heard before or not.
        """
        watch = _Watch()
        self._watches.add(watch)
        try:
            while True:
                yield await watch.next()
        finally:
            self._watches.discard(watch)

    def _check(self) -> None:
        if self._database.schema_trouble:
            raise UnavailableError(self._database.schema_trouble)

    def _heard(self, payload: str) -> None:
        unread, _, user_id = payload.partition(" ")
        if unread.isascii() and unread.isdecimal() and user_id:
            if self._told is not None:
                self._told.add(user_id)
            self._tell(user_id, int(unread))

    def _tell(self, user_id: str, unread: int) -> None:
        for watch in self._watches:
            watch.tell(user_id, unread)

    async def _attached(self, connection: Connection, silent_seconds: float | None) -> None:
        """Tell what changed while nobody listened."""
        if silent_seconds is None or self._database.schema_trouble:
            return
        self._told = set()
        try:
            rows = await connection.fetch(self._changed, silent_seconds + LOOK_BACK_SECONDS, TOLD_USERS_MAX)
            for row in rows:
                if row["user_id"] not in self._told:
                    self._tell(row["user_id"], row["unread"])
        finally:
            self._told = None


class _Watch:
    """The counts that one watcher has not taken yet, the newest of each user."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._told = asyncio.Event()

    def tell(self, user_id: str, unread: int) -> None:
        self._counts[user_id] = unread
        if len(self._counts) > TOLD_USERS_MAX:
            del self._counts[next(iter(self._counts))]
        self._told.set()

    async def next(self) -> tuple[str, int]:
        while not self._counts:
            self._told.clear()
            await self._told.wait()
        user_id = next(iter(self._counts))
        return user_id, self._counts.pop(user_id)
