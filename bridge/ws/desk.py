"""The desk where sockets wait for an answer from somebody who knows: the user, grants, inbox, or a key.

A socket that waits has one task here, and none otherwise. The desk owns the tasks: each ends by its deadline,
with its socket, or when the desk closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from bridge.core.authority import Grants, Inbox, UnavailableError, Users
from bridge.core.questions import Answer, InboxAfter, Items, Marked, MarkItems, May, Question, Unknown, WhoMay
from bridge.core.trace import where

if TYPE_CHECKING:
    from bridge.ws.connection import Connection

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sources:
    """Who knows what. None: nobody does, and the rules of the sessions see to it that nobody is asked."""

    users: Users | None = None
    grants: Grants | None = None
    inbox: Inbox | None = None
    fetch_keys: Callable[[str], Awaitable[None]] | None = None

    @property
    def query_kinds(self) -> frozenset[str]:
        """The kinds of room that a query decides."""
        return frozenset(self.grants.kinds) if self.grants is not None else frozenset()


class Desk:
    """Answers the questions of all sockets of a node."""

    def __init__(self, sources: Sources, *, answer_seconds_max: float) -> None:
        """Know these. A question that is not answered in time is answered with not knowing."""
        self._sources = sources
        self._answer_seconds_max = answer_seconds_max
        self._tasks: dict[Connection, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        """Return how many sockets wait."""
        return len(self._tasks)

    @property
    def waiting(self) -> Collection[Connection]:
        """The sockets that wait; a live view."""
        return self._tasks.keys()

    def ask(self, connection: Connection, question: Question) -> None:
        """Have the connection called with the answer: `answered`. It must not wait for another."""
        self._begin(connection, self._ask(connection, question))

    def fetch_keys(self, connection: Connection, kid: str, then: Callable[[], None]) -> None:
        """Look for a key, and go on whether it was found or not."""
        self._begin(connection, self._fetch_keys(connection, kid, then))

    def leave(self, connection: Connection) -> None:
        """Forget the question of a connection that is going away, if it has one."""
        task = self._tasks.pop(connection, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Cancel every question and wait until all have ended."""
        tasks = list(self._tasks.values())
        for connection in list(self._tasks):
            self.leave(connection)
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[connection] = asyncio.get_running_loop().create_task(work)

    async def _ask(self, connection: Connection, question: Question) -> None:
        answer = await self._answer(question)
        del self._tasks[connection]  # Before the answer, which may lead to the next question.
        connection.guarded(connection.answered, question, answer)

    async def _fetch_keys(self, connection: Connection, kid: str, then: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(self._answer_seconds_max):
                if self._sources.fetch_keys is not None:
                    await self._sources.fetch_keys(kid)
        except TimeoutError:
            log.warning("ws.answer_late", asked="keys")
        except Exception as exc:  # noqa: BLE001 - whatever it is, the key is not there
            log.error("ws.answer_failed", asked="keys", error=type(exc).__name__, where=where(exc))  # noqa: TRY400 - see `where`
        del self._tasks[connection]
        connection.guarded(then)

    async def _answer(self, question: Question) -> Answer:
        """Answer as far as it can be done in time. Never raises but when cancelled."""
        may = May()
        asked = type(question).__name__
        try:
            async with asyncio.timeout(self._answer_seconds_max):
                match question:
                    case WhoMay():
                        await self._who_may(question, may)
                    case InboxAfter(user_id, after, limit) if self._sources.inbox is not None:
                        return Items(await self._sources.inbox.items(user_id, after, limit))
                    case MarkItems(user_id, item_ids) if self._sources.inbox is not None:
                        return Marked(await self._sources.inbox.mark_read(user_id, item_ids))
        except UnavailableError as exc:
            log.info("ws.answer_unavailable", asked=asked, reason=str(exc))
        except TimeoutError:
            log.warning("ws.answer_late", asked=asked)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the answer is not yes
            log.error("ws.answer_failed", asked=asked, error=type(exc).__name__, where=where(exc))  # noqa: TRY400 - see `where`
        return may if isinstance(question, WhoMay) else Unknown()

    async def _who_may(self, question: WhoMay, answer: May) -> None:
        """Fill in the answer, part after part; what is not reached stays unknown."""
        sources = self._sources
        if question.active and sources.users is not None:
            answer.active = await sources.users.active(question.user_id)
            if not answer.active:
                return
        if question.rooms and sources.grants is not None:
            answer.rooms = await sources.grants.granted(question.user_id, question.rooms)
        if question.unread and sources.inbox is not None:
            answer.unread = await sources.inbox.unread(question.user_id)
