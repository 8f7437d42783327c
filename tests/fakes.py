"""Small stand-ins for what is on the other side of the core: a queue, the log, dead letters, sockets.

They keep the promises of the real ones and nothing else. Where the edge is the point, tests use real
servers instead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from bridge.core.dedupe import Once
from bridge.core.delivery import Delivery
from bridge.core.entry import Entry
from bridge.core.errors import Refused
from bridge.core.outbox import Frame
from bridge.core.run import Run


class Stops:
    """Holds whoever comes to the n-th stop, counted from 0, until it is cancelled; None holds nobody."""

    def __init__(self, hold_at: int | None = None) -> None:
        """Have counted no stop yet."""
        self.passed = 0
        self.reached = asyncio.Event()  # Set once somebody is held.
        self._hold_at = hold_at

    async def here(self) -> None:
        """Be one of the stops."""
        if self.passed == self._hold_at:
            self.reached.set()
            await asyncio.Event().wait()
        self.passed += 1


class FakeQueue:
    """A queue with one consumer on one channel, as RabbitMQ would see it."""

    def __init__(self, *batches: Sequence[Delivery], stops: Stops | None = None) -> None:
        """Hand out these batches, then stop."""
        self._batches = deque(batches)
        self._stops = stops or Stops()
        self._unsettled: dict[int, Delivery] = {}
        self.acked: list[Delivery] = []
        self.requeued: list[Delivery] = []

    @property
    def left(self) -> list[Delivery]:
        """What a consumer that comes next will get: all that is not acked."""
        unread = [delivery for batch in self._batches for delivery in batch]
        return [*self.requeued, *self._unsettled.values(), *unread]

    async def read(self) -> Sequence[Delivery]:
        """Return the next batch."""
        await self._stops.here()
        batch = self._batches.popleft() if self._batches else ()
        self._unsettled |= {delivery.tag: delivery for delivery in batch}
        await self._stops.here()
        return batch

    async def ack(self, up_to: Delivery) -> None:
        """Settle all up to this one; a tag that is settled already would close the channel."""
        await self._stops.here()
        assert up_to.tag in self._unsettled, "PRECONDITION_FAILED - unknown delivery tag"
        for tag in [tag for tag in self._unsettled if tag <= up_to.tag]:
            self.acked.append(self._unsettled.pop(tag))
        await self._stops.here()

    async def requeue(self, delivery: Delivery) -> None:
        """Give one back."""
        await self._stops.here()
        self.requeued.append(self._unsettled.pop(delivery.tag))
        await self._stops.here()


class FakeLog:
    """A log whose tail is read only when somebody wants to catch up. `failures` go before success."""

    pace_seconds = 0.0

    def __init__(self, once: Once, *failures: Exception, stops: Stops | None = None) -> None:
        """Begin empty; `once` learns from the tail."""
        self._once = once
        self._failures = deque(failures)
        self._stops = stops or Stops()
        self.entries: list[Entry] = []
        self.caught_up = 0

    async def append(self, entries: Sequence[Entry]) -> None:
        """Add entries, or fail without having added any."""
        await self._stops.here()
        if self._failures:
            raise self._failures.popleft()
        self.entries += entries
        await self._stops.here()

    async def catch_up(self) -> None:
        """Read the tail."""
        await self._stops.here()
        for entry in self.entries:
            self._once.first_shown(entry.key, entry.occurred_at, entry.occurred_at)
        self.caught_up += 1
        await self._stops.here()


class FakeDeadLetters:
    """A dead-letter queue. `failures` go before success."""

    def __init__(self, *failures: Exception, stops: Stops | None = None) -> None:
        """Begin empty."""
        self._failures = deque(failures)
        self._stops = stops or Stops()
        self.buried: list[tuple[Delivery, str, Refused]] = []

    async def bury(self, delivery: Delivery, domain: str, refused: Refused) -> None:
        """Keep a delivery."""
        await self._stops.here()
        if self._failures:
            raise self._failures.popleft()
        self.buried.append((delivery, domain, refused))
        await self._stops.here()


class FakeSocket:
    """A socket, as fan-out sees it. `writes` has a list of frames for each flush."""

    def __init__(self) -> None:
        """Have got nothing."""
        self._waiting: list[Frame] = []
        self.writes: list[list[Frame]] = []

    @property
    def frames(self) -> list[Frame]:
        """All frames that were written."""
        return [frame for write in self.writes for frame in write]

    def offer(self, run: Run) -> None:
        """Queue frames."""
        self._waiting += run.frames

    def flush(self) -> None:
        """Write what waits."""
        self.writes.append(self._waiting)
        self._waiting = []

    def send(self, run: Run) -> int:
        """Do both."""
        assert run.data == b"".join(frame.data for frame in run.frames)
        self.offer(run)
        self.flush()
        return 0
