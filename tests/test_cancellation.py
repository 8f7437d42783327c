"""A task that was cancelled once ends, whatever else happens at the same moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.amqp.faults import ConnectionLostError
from bridge.amqp.link import Connection, Link
from bridge.amqp.presence import Presence
from bridge.amqp.stream import Retention, StreamLog
from bridge.amqp.topology import Names
from bridge.cancellation import obey_cancellation, obeying
from bridge.core.inbox import InboxRules
from bridge.core.stats import Stats
from bridge.store.connecting import DatabaseRules
from bridge.store.projector import Projector
from tests.amqp.logs import Recorder

Run = Callable[[], Awaitable[None]]

OPEN = asyncio.Event()
OPEN.set()
CONNECTION = cast(Connection, SimpleNamespace(connected=OPEN))


class Failing:
    """Work with a group of tasks, of which one fails as soon as it is cancelled."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.times = 0

    async def work(self, *_: object) -> None:
        """Work until cancelled."""
        self.times += 1
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fail())

    async def _fail(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionLostError("at the same moment")


async def test_a_cancellation_that_was_lost_is_obeyed() -> None:
    """A task that has been cancelled, and has got an error or an answer instead, still ends."""
    going_on = asyncio.Event()

    async def work() -> None:
        while True:
            with contextlib.suppress(ConnectionLostError):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError as exc:
                    raise ConnectionLostError("at the same moment") from exc
            obey_cancellation()
            going_on.set()

    obey_cancellation()  # Nothing happens to who was not cancelled.
    working = asyncio.create_task(work())
    await asyncio.wait([working], timeout=0)
    working.cancel()
    await asyncio.wait([working], timeout=5)

    assert working.cancelled()
    assert not going_on.is_set()


async def test_work_that_is_obeyed_passes_on_its_end() -> None:
    """Without a cancellation the work's answer, or its failure, comes out as it is."""

    async def answer() -> int:
        return 7

    async def fail() -> None:
        raise ConnectionLostError("lost")

    assert await obeying(answer()) == 7
    with pytest.raises(ConnectionLostError):
        await obeying(fail())


def tail(failing: Failing) -> Run:
    """Return the tail of a log."""
    log = StreamLog("a.log", Retention(3_600, 10**9, 300.0), Recorder(), Stats())
    log._attend = failing.work  # type: ignore[assignment,method-assign]
    return lambda: log.tail(CONNECTION)


def presence(failing: Failing) -> Run:
    """Return what tells other nodes of this one."""
    status: Any = lambda: SimpleNamespace(id="here")  # noqa: E731
    node = Presence(Names("a.events", "a"), status=status, sockets_of=lambda _: (), stats=Stats())
    node._attend = failing.work  # type: ignore[assignment,method-assign]
    return lambda: node.run(CONNECTION)


def link(failing: Failing) -> Run:
    """Return a connection's keeper."""
    kept = Link("amqp://nowhere/", "test", works=(), stats=Stats())
    kept._one_connection = failing.work  # type: ignore[assignment,method-assign]
    return kept.run


def projector(failing: Failing) -> Run:
    """Return what fills the inboxes."""
    filling = Projector(cast(DatabaseRules, None), cast(InboxRules, None), Stats())
    filling._attend = failing.work  # type: ignore[assignment,method-assign]
    return lambda: filling.run(cast(Any, None))


@pytest.mark.parametrize("make", [tail, presence, link, projector])
async def test_whoever_works_in_turns_ends_with_the_first_cancellation(
    make: Callable[[Failing], Run],
) -> None:
    """A group that fails while it is cancelled does not make its owner begin again."""
    failing = Failing()
    working = asyncio.ensure_future(make(failing)())
    await failing.begun.wait()
    working.cancel()
    await asyncio.wait([working], timeout=5)

    assert working.cancelled()
    assert failing.times == 1
