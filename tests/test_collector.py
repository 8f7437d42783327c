"""When Python looks for reference cycles."""

from __future__ import annotations

import asyncio
import gc

import pytest

from bridge import collector
from bridge.collector import COLLECT_SECONDS_MAX, SOCKETS_CLOSED_MAX, THRESHOLDS, collecting, is_due


@pytest.mark.parametrize(
    ("closed", "seconds", "due"),
    [
        (0, 0.0, False),
        (SOCKETS_CLOSED_MAX - 1, COLLECT_SECONDS_MAX - 1, False),
        (SOCKETS_CLOSED_MAX, 0.0, True),
        (0, COLLECT_SECONDS_MAX, True),
    ],
)
def test_everything_is_looked_through_when(closed: int, seconds: float, due: bool) -> None:  # noqa: FBT001 - a table
    """After so many closed sockets, or so long a time, and not before."""
    assert is_due(closed, seconds) is due


async def test_closed_sockets_have_everything_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once enough sockets have closed everything is looked through, and not again without more."""
    monkeypatch.setattr(collector, "LOOK_SECONDS", 0.0)
    closed, looked = 0, asyncio.Event()
    async with collecting(lambda: closed):
        monkeypatch.setattr(gc, "collect", looked.set)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not looked.is_set()

        closed = SOCKETS_CLOSED_MAX
        await asyncio.wait_for(looked.wait(), 5.0)
        looked.clear()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not looked.is_set()


async def test_policy_holds_for_the_length_of_the_context() -> None:
    """Python's own thresholds are back afterwards, and nothing stays frozen."""
    before = gc.get_threshold()
    async with collecting(lambda: 0):
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > 0

    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
