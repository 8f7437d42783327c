"""Centrifugo (6 or newer): subscribers by WebSocket in its JSON protocol, events by its HTTP interface."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.driver import Http, pids_of, running
from benchmarks.peers.openings import ROOM
from benchmarks.servers.lines import obey
from devel.ports import LOOPBACK, free_ports

VARIABLE = "CENTRIFUGO"


def missing() -> str | None:
    """Say what is not installed, and the remedy."""
    if shutil.which(os.environ.get(VARIABLE, "")):
        return None
    return f"its program: set the variable {VARIABLE} to one of its releases"


def configuration(port: int) -> dict[str, Any]:
    """Return its settings: everybody may subscribe and publish, and keep-alive is out of the way."""
    return {
        "http_server": {"address": LOOPBACK, "port": str(port)},
        "http_api": {"insecure": True},
        "client": {"insecure": True, "allowed_origins": ["*"], "ping_interval": "10m"},
        "log": {"level": "error"},
    }


class Channel:
    """The one channel that everybody is subscribed to."""

    def __init__(self, port: int) -> None:
        self._http = Http(port)
        self._body = b""

    async def prepare(self, message: str) -> dict[str, Any]:
        """Take the message."""
        self._body = json.dumps({"channel": ROOM, "data": json.loads(message)}).encode()
        return {}

    async def fanout(self, batches: int, events: int) -> dict[str, Any]:
        """Publish the message so many times; each is answered before the next."""
        for _ in range(batches * events):
            status, body = self._http.request(
                "POST", "/api/publish", self._body, {"Content-Type": "application/json"}
            )
            assert status == http.client.OK, (status, body)
        return {}

    async def settle(self) -> dict[str, Any]:
        """Nothing to wait for: a subscription is confirmed to the one who asks for it."""
        return {"sockets": None}

    async def serve(self, port: int) -> None:
        """Obey until the end of standard input."""
        await obey(
            {"prepare": self.prepare, "fanout": self.fanout, "settle": self.settle},
            pids=pids_of(Path(os.environ[VARIABLE]).name),
            port=port,
        )


def main() -> None:
    """Serve until the end of standard input."""
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="bench-centrifugo-") as name:
        config = Path(name, "config.json")
        config.write_text(json.dumps(configuration(port)))
        with running([os.environ[VARIABLE], "--config", str(config)], Path(name), port):
            channel = Channel(port)
            asyncio.run(channel.serve(port))


if __name__ == "__main__":
    main()
