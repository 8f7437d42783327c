"""Stock `websockets`: its asyncio server and `broadcast()`, as its documentation has it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.asyncio.server import ServerConnection, broadcast, serve as serve_websockets

from benchmarks.machine import allow_files
from benchmarks.peers.turns import BACKLOG, GREETING, HOST, KEEP_ALIVE_SECONDS, serve

connections: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    """Keep a connection until it is closed."""
    await connection.send(GREETING)
    connections.add(connection)
    try:
        await connection.wait_closed()
    finally:
        connections.discard(connection)


async def send(event: Any) -> None:  # noqa: ANN401 - whatever JSON is
    """Send an event to everybody."""
    broadcast(connections, json.dumps(event, separators=(",", ":")))


async def main() -> None:
    """Serve until the end of standard input."""
    allow_files()
    # Compression is left as it is: on, for clients that offer it.
    async with serve_websockets(handle, HOST, 0, ping_interval=KEEP_ALIVE_SECONDS, backlog=BACKLOG) as server:
        await serve(connections, send, server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    asyncio.run(main())
