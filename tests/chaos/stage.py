"""Where a scenario plays: a broker, nodes, clients and a publisher, and the count at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from devel.node import PrivateNode
from tests.chaos.client import ResumingClient
from tests.chaos.cluster import Cluster, eventually, token
from tests.chaos.ledger import Tally, tally
from tests.chaos.publisher import NumberedPublisher

SETTLE_SECONDS_MAX = 45.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How big a scenario is played. `outage_seconds` is how long what goes away stays away."""

    clients: int
    events: int
    events_per_second: float
    outage_seconds: float


FULL = Scale(clients=100, events=6_000, events_per_second=300.0, outage_seconds=60.0)
SHORT = Scale(clients=10, events=300, events_per_second=150.0, outage_seconds=3.0)


class Stage:
    """What a scenario can act on."""

    def __init__(self, broker: PrivateNode, cluster: Cluster, scale: Scale) -> None:
        """Set the stage; nothing plays yet."""
        self.broker = broker
        self.cluster = cluster
        self.scale = scale
        self.users = [f"u{number}" for number in range(max(1, scale.clients // 2))]
        self.publisher = NumberedPublisher(broker.url, cluster.exchange, self.users)
        self.clients: list[ResumingClient] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def connect_clients(self, urls: Callable[[], Sequence[str]] | None = None) -> None:
        """Connect two clients for every user; return when all are connected."""
        for number in range(self.scale.clients):
            user = self.users[number % len(self.users)]
            client = ResumingClient(urls or self.cluster.urls, user, token(user))
            self.clients.append(client)
            self._tasks.append(asyncio.create_task(client.run()))
        async with asyncio.timeout(SETTLE_SECONDS_MAX):
            await asyncio.gather(*(client.connected.wait() for client in self.clients))

    @asynccontextmanager
    async def under_load(self, events: int | None = None) -> AsyncIterator[None]:
        """Publish while the context is open, and until the last event is confirmed.

        The context is entered when the first quarter is out, so that whatever is done there hits
        the middle of it.
        """
        total = events or self.scale.events
        publishing = asyncio.create_task(
            self.publisher.run(events=total, per_second=self.scale.events_per_second)
        )
        self._tasks.append(publishing)

        async def a_quarter() -> bool:
            return publishing.done() or len(self.publisher.published) >= total // 4

        await eventually(a_quarter, seconds=SETTLE_SECONDS_MAX, what="the first quarter of the events")
        yield
        await publishing

    async def settle(self) -> Tally:
        """Wait until every client has everything, or for the deadline; then count."""

        async def all_there() -> bool:
            return self.tally().lost == 0

        with contextlib.suppress(TimeoutError):
            await eventually(all_there, seconds=SETTLE_SECONDS_MAX, what="the last event")
        # A second copy of an event would come late: what is on its way arrives before this mark does.
        await self._mark()
        return self.tally()

    async def _mark(self) -> None:
        """Publish one event more to every user, and wait for it."""
        await self.publisher.run(events=len(self.users), per_second=1000.0)

        async def all_there() -> bool:
            return self.tally().lost == 0

        with contextlib.suppress(TimeoutError):
            await eventually(all_there, seconds=SETTLE_SECONDS_MAX, what="the closing mark")

    def tally(self) -> Tally:
        """Count as it stands."""
        return tally(self.publisher.published, (client.receipts for client in self.clients))

    async def close(self) -> None:
        """End clients, publisher and nodes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.cluster.stop()
