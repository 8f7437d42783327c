"""picows, a WebSocket library in Cython, under uvloop, which it is made for."""

from __future__ import annotations

import json
from typing import Any

import uvloop
from picows import WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from benchmarks.machine import allow_files
from benchmarks.peers.turns import BACKLOG, GREETING, HOST, serve

transports: set[WSTransport] = set()


class Listener(WSListener):  # type: ignore[misc] # its types are in the peers' environment only
    """One client."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport."""
        transport.send(WSMsgType.TEXT, GREETING.encode())
        transports.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Let it go."""
        transports.discard(transport)


def accept(_request: WSUpgradeRequest) -> Listener:
    """Take everybody."""
    return Listener()


async def send(event: Any) -> None:  # noqa: ANN401 - whatever JSON is
    """Send an event to everybody."""
    message = json.dumps(event, separators=(",", ":")).encode()
    for transport in transports:
        transport.send(WSMsgType.TEXT, message)


async def main() -> None:
    """Serve until the end of standard input."""
    allow_files()
    server = await ws_create_server(accept, HOST, 0, backlog=BACKLOG)
    await serve(transports, send, server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    uvloop.run(main())
