"""What a gateway asks of whoever knows its users: who is active, who may join what, what waits in an inbox.

Only the questions are here. ``bridge.store`` answers them from PostgreSQL; without a database nobody does.
Each answer may be a little old: the life of a cached one is a setting. When nobody can answer, the question
raises; it never comes back as a yes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol


class UnavailableError(Exception):
    """Whoever knows cannot be asked at the moment; ask again later."""


class Users(Protocol):
    """Knows which users exist and are active."""

    async def active(self, user_id: str) -> bool:
        """Whether the user exists and is active.

        Raises:
            UnavailableError: nobody can tell at the moment.
        """
        ...


class Grants(Protocol):
    """Knows which users may join which rooms, for the kinds of room that a query decides."""

    @property
    def kinds(self) -> Collection[str]:
        """The kinds of room that a query decides."""
        ...

    async def granted(self, user_id: str, rooms: Sequence[str]) -> Collection[str]:
        """The subset of ``rooms`` that the user may join; a room of any other kind is never in it.

        Raises:
            UnavailableError: nobody can tell at the moment.
        """
        ...


@dataclass(frozen=True, slots=True)
class InboxItem:
    """One durable event that waits for its user."""

    item_id: int  # Grows with time within one user's inbox; never used twice.
    payload: bytes  # The event's JSON payload, as it was sent.
    read: bool


class Inbox(Protocol):
    """Keeps what happened for a user until it is read, or until it is too old or one too many."""

    async def items(self, user_id: str, after: int, limit: int) -> Sequence[InboxItem]:
        """At most ``limit`` items with an id above ``after`` (0: from the oldest), oldest first.

        Ask again with the last id to turn the page; fewer than ``limit`` means that there are no more.

        Raises:
            UnavailableError: the inbox cannot be read at the moment.
        """
        ...

    async def mark_read(self, user_id: str, item_ids: Sequence[int]) -> int:
        """Mark the user's own items among ``item_ids`` as read; return how many stay unread.

        Raises:
            UnavailableError: the inbox cannot be written at the moment.
        """
        ...

    async def unread(self, user_id: str) -> int:
        """How many items of the user are unread.

        Raises:
            UnavailableError: the inbox cannot be read at the moment.
        """
        ...
