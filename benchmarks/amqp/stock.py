"""A consumer as aio-pika's documentation shows it: parse, ack.

python -m benchmarks.amqp.stock '{"url": "amqp://…", "queue": "…", "prefetch": 500}'
"""

from __future__ import annotations

import asyncio
import json
import sys

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from benchmarks.amqp.window import Window
from benchmarks.servers.lines import obey


class Stock:
    """One queue, consumed on demand."""

    def __init__(self, queue: AbstractQueue) -> None:
        self._queue = queue
        self._taken = 0

    async def drain(self, events: int) -> dict[str, float]:
        """Take so many events from the queue."""
        self._taken = 0
        window = Window()
        tag = await self._queue.consume(self._take)
        taken = await window.until(lambda: self._taken, events)
        await self._queue.cancel(tag)
        return taken

    async def _take(self, message: AbstractIncomingMessage) -> None:
        json.loads(message.body)
        await message.ack()
        self._taken += 1


async def main() -> None:
    """Serve until the end of standard input."""
    argument = json.loads(sys.argv[1])
    async with await aio_pika.connect(argument["url"]) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=argument["prefetch"])
        queue = await channel.get_queue(argument["queue"], ensure=False)
        await obey({"drain": Stock(queue).drain})


if __name__ == "__main__":
    asyncio.run(main())
