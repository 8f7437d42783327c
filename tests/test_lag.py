"""How late the event loop is."""

from __future__ import annotations

import asyncio
import contextlib
import time

from bridge.core.stats import Histogram
from bridge.lag import watch_lag
from tests.eventually import eventually

BLOCKED_SECONDS = 0.2


async def test_lag() -> None:
    """A callback that holds the event loop up is seen, by how long it did."""
    histogram = Histogram((BLOCKED_SECONDS / 2,))
    watching = asyncio.create_task(watch_lag(histogram, period_seconds=0.01))
    await eventually(lambda: histogram.counts[0], "a calm moment")

    time.sleep(BLOCKED_SECONDS)  # noqa: ASYNC251 - that is what is to be seen
    await eventually(lambda: histogram.counts[1], "the lag")

    assert histogram.counts[1] == 1
    assert histogram.total > BLOCKED_SECONDS / 2
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
