"""What a drain costs: CPU from before a process attaches to a queue until it has come to rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from benchmarks.machine import Cpu

POLL_SECONDS = 0.01
REST_SECONDS = 0.05  # After the last event: what is still on its way out is counted, too.
DRAIN_SECONDS_MAX = 120.0


class Window:
    """Opened when it is made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before = Cpu.now()
        self._wall = 0.0  # Set when the last event was done.

    async def until(self, done: Callable[[], int], events: int) -> dict[str, float]:
        """Wait until `done` has come to `events`, then for rest; return what that took.

        Raises:
            TimeoutError: it did not come so far.
        """
        async with asyncio.timeout(DRAIN_SECONDS_MAX):
            while done() < events:  # noqa: ASYNC110 - a hook at each event would be measured, too
                await asyncio.sleep(POLL_SECONDS)
        self.last()
        await asyncio.sleep(REST_SECONDS)
        return self.close(done())

    def last(self) -> None:
        """Note that the last event is done."""
        self._wall = time.monotonic() - self._began

    def close(self, events: int) -> dict[str, float]:
        """Return CPU and wall time in seconds, and how many events that was for."""
        return {**Cpu.now().since(self._before)._asdict(), "wall": self._wall, "events": events}
