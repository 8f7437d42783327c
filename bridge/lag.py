"""How late the event loop is: what every socket, delivery and probe of the node waits for, at least."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from bridge.core.stats import Histogram

PERIOD_SECONDS = 0.5


async def watch_lag(histogram: Histogram, *, period_seconds: float = PERIOD_SECONDS) -> NoReturn:
    """Observe, once in each period, by how much this task is woken late. Runs until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + period_seconds
        await asyncio.sleep(period_seconds)
        histogram.observe(max(0.0, clock() - due))
