"""Somebody who knows users, grants and inboxes, and can be slow, out of reach, or broken."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from bridge.core.authority import InboxItem, UnavailableError


class Authority:
    """Answers every question, in memory. `asked` counts questions by name; `cancelled` those given up."""

    def __init__(self) -> None:
        """Know nobody."""
        self.users: set[str] = set()
        self.grants: set[tuple[str, str]] = set()  # User and room.
        self.inboxes: defaultdict[str, list[InboxItem]] = defaultdict(list)
        self.kinds: Collection[str] = ("lock",)
        self.trouble: Exception | None = None  # Raised instead of any answer.
        self.let_go = asyncio.Event()  # Set unless questions are to hang.
        self.let_go.set()
        self.asked: Counter[str] = Counter()
        self.cancelled = 0

    def out_of_reach(self) -> None:
        """Answer nothing from now on."""
        self.trouble = UnavailableError("the database does not answer")

    async def active(self, user_id: str) -> bool:
        """See Users."""
        await self._come_to_the_desk("active")
        return user_id in self.users

    async def granted(self, user_id: str, rooms: Sequence[str]) -> Collection[str]:
        """See Grants."""
        found = {room for room in rooms if (user_id, room) in self.grants}
        await self._come_to_the_desk("granted")
        return found  # As of when it was asked, however long that takes.

    async def items(self, user_id: str, after: int, limit: int) -> Sequence[InboxItem]:
        """See Inbox."""
        await self._come_to_the_desk("items")
        return [item for item in self.inboxes[user_id] if item.item_id > after][:limit]

    async def mark_read(self, user_id: str, item_ids: Sequence[int]) -> int:
        """See Inbox."""
        await self._come_to_the_desk("mark_read")
        self.inboxes[user_id] = [
            InboxItem(item.item_id, item.payload, item.read or item.item_id in item_ids)
            for item in self.inboxes[user_id]
        ]
        return self._unread(user_id)

    async def unread(self, user_id: str) -> int:
        """See Inbox."""
        await self._come_to_the_desk("unread")
        return self._unread(user_id)

    def _unread(self, user_id: str) -> int:
        return sum(not item.read for item in self.inboxes[user_id])

    async def _come_to_the_desk(self, question: str) -> None:
        self.asked[question] += 1
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.trouble is not None:
            raise self.trouble
