"""python-socketio on uvicorn with uvloop: every client in one room, and an emit to the room."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import socketio
import uvicorn
import uvloop

from benchmarks.machine import allow_files
from benchmarks.peers.turns import BACKLOG, HOST, KEEP_ALIVE_SECONDS, serve

ROOM = "bench"
STOP_SECONDS_MAX = 2

clients: set[str] = set()
server = socketio.AsyncServer(
    async_mode="asgi", transports=["websocket"], ping_interval=KEEP_ALIVE_SECONDS, logger=False
)


@server.event  # type: ignore[untyped-decorator] # its types are in the peers' environment only
async def connect(client: str, _environ: dict[str, Any]) -> None:
    """Put a client into the room."""
    await server.enter_room(client, ROOM)
    clients.add(client)


@server.event  # type: ignore[untyped-decorator] # as above
async def disconnect(client: str) -> None:
    """Let it go."""
    clients.discard(client)


async def send(event: Any) -> None:  # noqa: ANN401 - whatever JSON is
    """Send an event to everybody."""
    await server.emit("event", event, room=ROOM)


async def main() -> None:
    """Serve until the end of standard input."""
    allow_files()
    listener = socket.create_server((HOST, 0), backlog=BACKLOG)
    config = uvicorn.Config(
        socketio.ASGIApp(server),
        log_level="warning",
        ws_ping_interval=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS_MAX,
    )
    web = uvicorn.Server(config)
    serving = asyncio.create_task(web.serve(sockets=[listener]))
    try:
        await serve(clients, send, listener.getsockname()[1])
    finally:
        web.should_exit = True
        await serving


if __name__ == "__main__":
    uvloop.run(main())
