"""nats-server: subscribers by WebSocket, events by a publisher on its ordinary port."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import allow_files
from benchmarks.peers.driver import pids_of, running
from benchmarks.peers.openings import ROOM
from benchmarks.servers.lines import obey
from devel.ports import LOOPBACK, free_ports

PROGRAM = "nats-server"

CONFIG = """\
listen: "{host}:{client_port}"
max_connections: {connections}
ping_interval: "10m"
websocket {{
  listen: "{host}:{port}"
  no_tls: true
}}
"""


def missing() -> str | None:
    """Say what is not installed, and the remedy."""
    return None if shutil.which(PROGRAM) else f"{PROGRAM}: `make bench-peers` installs it"


class Publisher:
    """One connection that publishes, and waits after each batch until the server has taken it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._publication = b""

    async def hello(self) -> None:
        """Get over the server's greeting."""
        self._writer.write(b'CONNECT {"verbose":false,"pedantic":false}\r\n')
        await self._round_trip()

    async def prepare(self, message: str) -> dict[str, Any]:
        """Take the message."""
        self._publication = b"PUB %b %d\r\n%b\r\n" % (ROOM.encode(), len(message), message.encode())
        return {}

    async def fanout(self, batches: int, events: int) -> dict[str, Any]:
        """Publish the message so many times."""
        for _ in range(batches):
            self._writer.write(self._publication * events)
            await self._round_trip()
        return {}

    async def settle(self) -> dict[str, Any]:
        """Nothing to wait for: a subscription is confirmed to the one who asks for it."""
        return {"sockets": None}

    async def _round_trip(self) -> None:
        self._writer.write(b"PING\r\n")
        while (line := await self._reader.readline()) != b"PONG\r\n":
            if line == b"PING\r\n":
                self._writer.write(b"PONG\r\n")
            else:
                assert line.startswith(b"INFO "), line


async def publish(client_port: int, port: int) -> None:
    """Obey until the end of standard input."""
    reader, writer = await asyncio.open_connection(LOOPBACK, client_port)
    publisher = Publisher(reader, writer)
    await publisher.hello()
    await obey(
        {"prepare": publisher.prepare, "fanout": publisher.fanout, "settle": publisher.settle},
        pids=pids_of(PROGRAM),
        port=port,
    )
    writer.close()


def main() -> None:
    """Serve until the end of standard input."""
    port, client_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="bench-nats-") as name:
        config = Path(name, "nats.conf")
        config.write_text(
            CONFIG.format(host=LOOPBACK, port=port, client_port=client_port, connections=allow_files())
        )
        with running([PROGRAM, "-c", str(config)], Path(name), port):
            asyncio.run(publish(client_port, port))


if __name__ == "__main__":
    main()
