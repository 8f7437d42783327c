"""When Python looks for reference cycles: a policy for the whole process.

Python's own policy looks through everything that lives whenever a quarter more has come to life. Here
that is the replay window, hundreds of thousands of objects without any cycle: looking took 0.3
to 1 s each time, and a quarter of the CPU of ingest. What does leave cycles behind is a
socket that closes (asyncio's transport refers to itself), so that is what counts here.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

log = structlog.get_logger()

# As Python's own for what is young: larger ones made longer pauses and saved nothing. What has stayed
# is hardly ever looked through on Python's own accord.
THRESHOLDS = (700, 10, 1_000)
LOOK_SECONDS = 10.0
SOCKETS_CLOSED_MAX = 50_000  # At some 1.2 KB each.
COLLECT_SECONDS_MAX = 3_600.0  # Whatever else leaves cycles waits so long at most.


@asynccontextmanager
async def collecting(sockets_closed: Callable[[], int]) -> AsyncIterator[None]:
    """Follow the policy while the context is open. `sockets_closed` tells how many were, ever."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()  # Modules and classes stay as long as the process.
    gc.set_threshold(*THRESHOLDS)
    try:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_watch(sockets_closed))
            yield
            watching.cancel()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def is_due(closed: int, seconds: float) -> bool:
    """Tell whether to look through everything, so many closed sockets and seconds after the last time."""
    return closed >= SOCKETS_CLOSED_MAX or seconds >= COLLECT_SECONDS_MAX


async def _watch(sockets_closed: Callable[[], int]) -> None:
    closed, collected_at = sockets_closed(), time.monotonic()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if is_due(sockets_closed() - closed, time.monotonic() - collected_at):
            began = time.monotonic()
            found = gc.collect()
            closed, collected_at = sockets_closed(), time.monotonic()
            log.debug("app.collected", objects=found, seconds=round(collected_at - began, 3))
