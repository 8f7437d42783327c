"""Clients of Node.js: the `ws` package, and the browser's own WebSocket as Node has it (undici).

`ws` is looked for in NODE_PATH, in clients/typescript and in benchmarks/peers; what is missing is skipped.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually
from tests.ws.node import Node, running, token

HERE = Path(__file__).parent
PACKAGES = [
    str(HERE.parents[1] / folder / "node_modules") for folder in ("clients/typescript", "benchmarks/peers")
]
ENVIRONMENT = os.environ | {
    "NODE_PATH": os.pathsep.join(filter(None, (os.environ.get("NODE_PATH"), *PACKAGES)))
}
PROBES = {
    "ws": (["node", "-e", "require('ws')"], "the package ws is not installed (see NODE_PATH)"),
    "undici": (
        ["node", "--experimental-websocket", "-e", "new WebSocket('ws://127.0.0.1:9').onerror = () => {}"],
        "this Node has no WebSocket of its own",
    ),
}
NODE_SECONDS_MAX = 10.0  # It starts slowly on a busy machine.


@pytest.fixture(scope="module", params=list(PROBES))
def kind(request: pytest.FixtureRequest) -> str:
    """Which WebSocket the client uses."""
    if shutil.which("node") is None:
        pytest.skip("node is not on PATH")
    probe, missing = PROBES[request.param]
    if subprocess.run(probe, env=ENVIRONMENT, capture_output=True, check=False).returncode:
        pytest.skip(missing)
    return str(request.param)


class JavaScript:
    """A running client."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    def send(self, line: str) -> None:
        """Have the client send a message, or close."""
        self._stdin.write(f"{line}\n".encode())

    async def next(self) -> dict[str, Any]:
        """Return what happened next."""
        async with asyncio.timeout(NODE_SECONDS_MAX):
            line = await self._stdout.readline()
        happened: dict[str, Any] = json.loads(line)
        return happened


@asynccontextmanager
async def javascript(kind: str, node: Node, *protocols: str) -> AsyncIterator[JavaScript]:
    """Start a client that offers these sub-protocols."""
    flags = ["--experimental-websocket"] if kind == "undici" else []
    process = await asyncio.create_subprocess_exec(
        "node",
        *flags,
        str(HERE / "client.cjs"),
        kind,
        node.url,
        *protocols,
        env=ENVIRONMENT,
        stdin=PIPE,
        stdout=PIPE,
        limit=1 << 20,
    )
    try:
        yield JavaScript(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_session(kind: str) -> None:
    """A client connects with its token as a sub-protocol, is served in order, and closes cleanly."""
    async with running() as node, javascript(kind, node, "bridge.v1", f"bearer.{token()}") as js:
        assert await js.next() == {"open": "bridge.v1"}
        assert (await js.next())["message"]["type"] == "connected"
        js.send('{"op": "subscribe", "rooms": ["device:d1"], "id": 1}')
        assert (await js.next())["message"]["type"] == "subscribed"
        node.publish(*range(100), to="device:d1")
        node.publish(100, padding=300)
        node.publish(101, padding=70_000)
        seen = [(await js.next())["message"]["data"]["number"] for _ in range(102)]
        js.send("close")

        assert seen == list(range(102))
        assert await js.next() == {"close": 1000, "reason": "bye", "clean": True}


async def test_close_codes(kind: str) -> None:
    """The client reads code and reason of a close by the server."""
    async with running() as node:
        async with javascript(kind, node, "bridge.v1", "bearer.x") as js:
            assert "open" in await js.next()
            assert await js.next() == {
                "close": 4401,
                "reason": "malformed: the token is not a JSON Web Token",
                "clean": True,
            }
        async with javascript(kind, node, "bridge.v1", f"bearer.{token()}") as js:
            assert "open" in await js.next()
            assert (await js.next())["message"]["type"] == "connected"
            await node.server.drain(seconds_max=5.0, retry_after_seconds_max=1.0)
            assert (await js.next())["message"]["type"] == "draining"
            assert (await js.next())["close"] == 1012


async def test_keep_alive(kind: str) -> None:
    """The client answers pings by itself."""
    async with (
        running(ping_interval_seconds=0.1) as node,
        javascript(kind, node, "bridge.v1", f"bearer.{token()}") as js,
    ):
        assert "open" in await js.next()
        assert (await js.next())["message"]["type"] == "connected"
        connection = node.connection_of("u1")
        for _ in range(3):
            await eventually(lambda: connection._awaiting_pong, "a ping is sent")
            await eventually(lambda: not connection._awaiting_pong, "it is answered")
        node.publish(1)

        assert (await js.next())["message"]["data"]["number"] == 1


async def test_message_that_is_too_big(kind: str) -> None:
    """A client that sends far too much reads why it is closed."""
    async with running() as node, javascript(kind, node, "bridge.v1", f"bearer.{token()}") as js:
        assert "open" in await js.next()
        assert (await js.next())["message"]["type"] == "connected"
        js.send("x" * 2_000_000)

        while "close" not in (happened := await js.next()):
            pass
        assert happened["close"] == 1009


async def test_compression(kind: str) -> None:
    """A client that offers compression reads what is compressed, and is read when it compresses."""
    async with running() as node, javascript(kind, node, "bridge.v1", f"bearer.{token()}") as js:
        assert "open" in await js.next()
        assert (await js.next())["message"]["type"] == "connected"
        node.publish(1, padding=2_000)
        node.publish(2, 3, padding=2_000)
        js.send('{"op": "ping", "id": 4' + " " * 2_000 + "}")

        assert [(await js.next())["message"]["data"]["number"] for _ in range(3)] == [1, 2, 3]
        assert (await js.next())["message"]["id"] == 4
        offered = node.connection_of("u1")._coding is not None
        assert node.stats.compressions == (3 if offered else 0)
        assert offered or kind != "ws"  # Whether a Node's own WebSocket offers it depends on its version.
