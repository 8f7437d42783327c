"""What aiormq raises when a connection ends gets the right name, and nothing else does."""

from __future__ import annotations

import asyncio

import pytest

from bridge.amqp.faults import ConnectionLostError, honest


@pytest.mark.parametrize("fault", [Exception(), asyncio.CancelledError()])
async def test_news_of_the_end_is_named(fault: BaseException) -> None:
    """A bare Exception, and a cancellation that nobody asked for, are the connection's end."""
    with pytest.raises(ConnectionLostError), honest():
        raise fault


@pytest.mark.parametrize("fault", [ValueError("ours"), TimeoutError(), ConnectionResetError()])
async def test_other_faults_pass(fault: Exception) -> None:
    """What has a name of its own keeps it."""
    with pytest.raises(type(fault)), honest():
        raise fault


async def test_cancellation_passes() -> None:
    """A task that is cancelled is cancelled."""

    async def work() -> None:
        with honest():
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await asyncio.wait([working], timeout=0)
    working.cancel()

    with pytest.raises(asyncio.CancelledError):
        await working


async def test_deadline_inside_passes() -> None:
    """A deadline that is missed inside is still a deadline."""
    with pytest.raises(TimeoutError), honest():
        async with asyncio.timeout(0):
            await asyncio.Event().wait()


async def test_deadline_outside_passes() -> None:
    """A deadline of whoever called is not taken for the connection's end."""

    async def work() -> None:
        with honest():
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work(), 0.01)
