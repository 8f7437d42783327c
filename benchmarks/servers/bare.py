"""The least that a Python server can be: the upgrade, one greeting, and a transport kept open.

    python -m benchmarks.servers.bare '{}'

What asyncio itself takes for a socket; whatever the bridge takes more is the bridge's.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import re
from typing import cast

from benchmarks.machine import allow_files
from benchmarks.servers.lines import obey
from benchmarks.wire import HEAD_END

HOST = "127.0.0.1"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3.
GREETING = b"\x81\x02{}"
_KEY = re.compile(rb"(?i)\r\nsec-websocket-key:\s*(\S+)")


class Bare(asyncio.Protocol):
    """Upgrades whoever asks, in one read, and keeps the transport."""

    __slots__ = ("_transport",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer an upgrade request; ignore all else."""
        key = _KEY.search(data)
        if key is None or not data.endswith(HEAD_END):
            return
        accept = base64.b64encode(hashlib.sha1(key[1] + GUID, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + HEAD_END + GREETING
        )


async def settle() -> dict[str, None]:
    """Collect garbage. Sockets are not counted here."""
    gc.collect()
    return {"sockets": None}


async def main() -> None:
    """Serve until the end of standard input."""
    allow_files()
    server = await asyncio.get_running_loop().create_server(Bare, HOST, 0, backlog=4096)
    await obey({"settle": settle}, port=server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    asyncio.run(main())
