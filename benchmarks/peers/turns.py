"""What the Python peers share: sending in batches, as the bridge is made to."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Sized
from typing import Any

from benchmarks.servers.lines import obey

HOST = "127.0.0.1"
BACKLOG = 4_096
KEEP_ALIVE_SECONDS = 600.0  # Not what is measured; the load generator answers no ping.
GREETING = '{"type":"connected"}'


async def serve(sockets: Sized, send: Callable[[Any], Awaitable[None]], port: int) -> None:
    """Obey until the end of standard input. `send` sends one event, as an object, to all `sockets`."""
    event: Any = None

    async def prepare(message: str) -> dict[str, Any]:
        nonlocal event
        event = json.loads(message)
        return {}

    async def fanout(batches: int, events: int) -> dict[str, Any]:
        for _ in range(batches):
            for _ in range(events):
                await send(event)
            await asyncio.sleep(0)  # The loop turns, as it does between two reads of a queue.
        return {}

    async def settle() -> dict[str, Any]:
        gc.collect()
        return {"sockets": len(sockets)}

    await obey({"prepare": prepare, "fanout": fanout, "settle": settle}, port=port)
