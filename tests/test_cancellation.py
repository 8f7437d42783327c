"""A task that was cancelled once ends, whatever else happens at the same moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from bridge.amqp.faults import ConnectionLostError
from bridge.amqp.link import Connection, Link
from bridge.amqp.presence import Presence
from bridge.amqp.stream import Retention, StreamLog
from bridge.amqp.topology import Names
from bridge.cancellation import obey_cancellation
from bridge.core.errors import LogUnavailableError
from bridge.core.inbox import InboxRules
from bridge.core.stats import Stats
from bridge.store.connecting import DatabaseRules
from bridge.store.projector import Projector
from tests.amqp.logs import Recorder
from tests.eventually import eventually

Run = Callable[[], Awaitable[None]]

OPEN = asyncio.Event()
OPEN.set()
CONNECTION = cast(Connection, SimpleNamespace(connected=OPEN))


class Failing:
    """Work with a group of tasks, of which one fails as soon as it is cancelled; but only the first time."""

    def __init__(self, fault: Exception) -> None:
        self.begun = asyncio.Event()
        self.times = 0
        self._fault = fault

    async def work(self, *_: object) -> None:
        """Work until cancelled."""
        self.times += 1
        if self.times > 1:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fail())

    async def _fail(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise self._fault


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


async def end_of(work: Awaitable[None], failing: Failing) -> asyncio.Future[None]:
    """Return some work that was cancelled once, and has ended or begun again; nothing of it is left."""
    working = asyncio.ensure_future(work)
    await failing.begun.wait()
    working.cancel()
    try:
        await eventually(lambda: working.done() or failing.times > 1)
        assert working.done(), "it has begun again"
    finally:
        working.cancel()
        await asyncio.wait([working], timeout=5)
    return working


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (tail, ConnectionLostError("at the same moment")),
        (presence, ConnectionLostError("at the same moment")),
        (link, ConnectionLostError("at the same moment")),
        (projector, LogUnavailableError("at the same moment")),
    ],
)
async def test_whoever_works_in_turns_ends_with_the_first_cancellation(
    make: Callable[[Failing], Run], fault: Exception
) -> None:
    """A group that fails while it is cancelled does not make its owner begin again."""
    failing = Failing(fault)

    ended = await end_of(make(failing)(), failing)

    assert ended.cancelled()
    assert failing.times == 1


@pytest.mark.parametrize("make", [tail, link, projector])
async def test_a_fault_of_ours_is_not_lost(make: Callable[[Failing], Run]) -> None:
    """What nobody expects to go wrong is raised, also when it happens while being cancelled."""
    failing = Failing(ZeroDivisionError())

    ended = await end_of(make(failing)(), failing)

    assert isinstance(ended.exception(), ExceptionGroup)
    assert failing.times == 1


async def test_a_cancellation_that_nobody_asked_for_is_trouble_with_the_connection() -> None:
    """Where a library cancels what it was asked for, the link makes a new connection."""
    kept = Link("amqp://nowhere/", "test", works=(), stats=(stats := Stats()))

    async def given_up(_: object) -> None:
        raise asyncio.CancelledError

    kept._one_connection = given_up  # type: ignore[assignment,method-assign]
    working = asyncio.create_task(kept.run())
    await eventually(lambda: stats.reconnects > 0)
    assert not working.done()
    working.cancel()
    await asyncio.wait([working], timeout=5)

    assert working.cancelled()


async def test_a_fault_of_ours_that_the_node_outlives_is_logged() -> None:
    """What must not end the node is logged, and the cancellation obeyed."""
    failing = Failing(ZeroDivisionError())

    with capture_logs() as logs:
        ended = await end_of(presence(failing)(), failing)

    assert ended.cancelled()
    assert [entry["error"] for entry in logs if entry["event"] == "presence.failed"] == ["ZeroDivisionError"]
