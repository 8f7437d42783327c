"""What a session has to ask somebody who knows, and what it can be told.

The socket edge asks; a session has one question open at a time. Whoever knows may be out of reach: then
nothing is known, which is never a yes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bridge.core.authority import InboxItem


@dataclass(frozen=True, slots=True, eq=False)
class WhoMay:
    """Is this user active, which of these rooms may they join, and how much is unread?

    Only what is true, or named, is asked.
    """

    user_id: str
    active: bool = False
    rooms: tuple[str, ...] = ()
    unread: bool = False


@dataclass(slots=True)
class May:
    """The answer to WhoMay. None where it was not asked, or nobody can tell."""

    active: bool | None = None
    rooms: Collection[str] | None = None
    unread: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class InboxAfter:
    """What is in this user's inbox after an item: at most `limit` items?"""

    user_id: str
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class Items:
    """The answer to InboxAfter, oldest first."""

    items: Sequence[InboxItem]


@dataclass(frozen=True, slots=True, eq=False)
class MarkItems:
    """Mark these items of the user's inbox as read: how many are unread then?"""

    user_id: str
    item_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Marked:
    """The answer to MarkItems."""

    unread: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """The answer to a question about the inbox when nobody can tell."""


Question = WhoMay | InboxAfter | MarkItems
Answer = May | Items | Marked | Unknown
