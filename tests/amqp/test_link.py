"""A link to a broker: how it ends."""

from __future__ import annotations

import asyncio

import pytest

from bridge.amqp.link import ConnectionLostError, Link
from bridge.core.stats import Stats
from tests.eventually import eventually


async def test_cancelled_while_it_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that waits before it connects again ends as cancelled, with no group around that."""

    async def lost(*_: object) -> None:
        raise ExceptionGroup("of the works", [ConnectionLostError("lost")])

    monkeypatch.setattr(Link, "_one_connection", lost)
    stats = Stats()
    link = Link("amqp://nowhere/", "test", works=(), stats=stats)
    running = asyncio.create_task(link.run())
    await eventually(lambda: stats.reconnects, "the first connection to be lost")
    running.cancel()
    await asyncio.wait([running], timeout=5)

    assert running.cancelled()
    assert link.health().detail == "ConnectionLostError: lost"
