"""A client that resumes as the protocol says, and writes down whatever it gets."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.chaos.ledger import Receipts

BACKOFF_SECONDS_MAX = 0.5
OPEN_SECONDS_MAX = 5.0
PING_SECONDS = 1.0


class ResumingClient:
    """Stays connected to any of several nodes; after every loss it comes back with its position."""

    def __init__(self, urls: Callable[[], Sequence[str]], user: str, token: str) -> None:
        """`urls` says where nodes are at the time."""
        self._urls = urls
        self._token = token
        self._since: dict[str, Any] | None = None
        self._turn = random.randrange(1000)  # noqa: S311 - spreads clients over nodes
        self.receipts = Receipts(user)
        self.connected = asyncio.Event()  # Set at the first connect.

    async def run(self) -> None:
        """Connect, listen, come back; until cancelled."""
        while True:
            urls = self._urls()
            self._turn += 1
            try:
                async with connect(
                    urls[self._turn % len(urls)],
                    open_timeout=OPEN_SECONDS_MAX,
                    ping_interval=PING_SECONDS,
                    ping_timeout=PING_SECONDS * 3,
                    close_timeout=1,
                    compression=None,
                ) as socket:
                    await self._hello(socket)
                    async for text in socket:
                        self._take(json.loads(text))
            except (OSError, TimeoutError, EOFError, ConnectionClosed, InvalidHandshake, InvalidMessage):
                pass
            await asyncio.sleep(random.uniform(0, BACKOFF_SECONDS_MAX))  # noqa: S311 - jitter

    async def _hello(self, socket: ClientConnection) -> None:
        hello: dict[str, Any] = {"op": "hello", "token": self._token}
        if self._since is not None:
            hello["since"] = self._since
        await socket.send(json.dumps(hello))

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "connected":
                data = message["data"]
                self.receipts.connects += 1
                if self._since is not None and not data["recovered"]:
                    self.receipts.unrecovered += 1
                self._since = data["position"]
                self.connected.set()
            case "gap":
                self.receipts.gaps_declared += 1
            case "order.completed":
                assert self._since is not None
                self._since = {"epoch": self._since["epoch"], "offset": message["offset"]}
                self.receipts.numbers.append(int(message["data"]["orderId"]))
                self.receipts.positions.append((self._since["epoch"], message["offset"]))
                self.receipts.arrived_at.append(time.monotonic())
            case _:
                pass
