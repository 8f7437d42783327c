"""Fills a queue from a process of its own: every event is confirmed before the answer.

python -m benchmarks.amqp.publisher '{"url": "amqp://…", "exchange": "…", "series": "…", "users": 9}'
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from benchmarks.amqp.client import Client
from benchmarks.amqp.frames import Events
from benchmarks.machine import Cpu
from benchmarks.servers.lines import obey


class Publisher:
    """Publishes one event after the other."""

    def __init__(self, client: Client, events: Events) -> None:
        self._client = client
        self._events = events
        self._next = 0

    async def fill(self, events: int) -> dict[str, float]:
        """Publish so many further events, in turns to each user; return when all are confirmed."""
        frames = list(self._events.frames(range(self._next, self._next + events)))
        self._next += events
        began, before = time.monotonic(), Cpu.now()
        confirmed = self._client.fill(frames)
        return {
            "events": confirmed,
            "wall": time.monotonic() - began,
            "cpu": sum(Cpu.now().since(before)),
        }


async def main() -> None:
    """Publish until the end of standard input."""
    argument = json.loads(sys.argv[1])
    with Client(argument.pop("url")) as client:
        await obey({"fill": Publisher(client, Events(**argument)).fill})


if __name__ == "__main__":
    asyncio.run(main())
