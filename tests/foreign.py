"""Clients of other people's, all alike to a test: the `ws` package of Node.js, and that of `websockets`."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.ws.test_javascript import ENVIRONMENT, HERE, NODE_SECONDS_MAX, PROBES

GOODBYE = 1000
ANSWER_SECONDS_MAX = NODE_SECONDS_MAX

Message = dict[str, Any]


class Page(Protocol):
    """What a client of any kind can do."""

    async def say(self, **command: object) -> None:
        """Send a command."""

    async def hear(self) -> Message:
        """Return the next message."""

    async def leave(self) -> None:
        """Close with GOODBYE."""

    async def closed(self) -> tuple[int, str]:
        """Wait until it is closed; return code and reason."""


class PythonPage:
    """The client of `websockets`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **command: object) -> None:
        """Send a command."""
        await self.socket.send(json.dumps(command))

    async def hear(self) -> Message:
        """Return the next message."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            message: Message = json.loads(await self.socket.recv())
        return message

    async def leave(self) -> None:
        """Close with GOODBYE."""
        await self.socket.close(GOODBYE, "bye")

    async def closed(self) -> tuple[int, str]:
        """Wait until it is closed; return code and reason."""
        with pytest.raises(ConnectionClosed) as caught:
            await self.hear()
        assert caught.value.rcvd is not None, "the server closes in form"
        return caught.value.rcvd.code, caught.value.rcvd.reason


class NodePage:
    """The `ws` package, in a process of Node.js."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    async def say(self, **command: object) -> None:
        """Send a command."""
        self._stdin.write(json.dumps(command).encode() + b"\n")

    async def hear(self) -> Message:
        """Return the next message."""
        message: Message = (await self.happened())["message"]
        return message

    async def leave(self) -> None:
        """Close with GOODBYE."""
        self._stdin.write(b"close\n")

    async def closed(self) -> tuple[int, str]:
        """Wait until it is closed; return code and reason."""
        end = await self.happened()
        assert end["clean"], "the server closes in form"
        return end["close"], end["reason"]

    async def happened(self) -> dict[str, Any]:
        """Return what happened next."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            line: dict[str, Any] = json.loads(await self._stdout.readline())
        return line


@asynccontextmanager
async def python_page(url: str, token: str) -> AsyncIterator[Page]:
    """Connect as a program does: the token in a header."""
    async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        yield PythonPage(socket)


@asynccontextmanager
async def node_page(url: str, token: str) -> AsyncIterator[Page]:
    """Connect as a page does: the token beside the sub-protocol, for a browser can set no header."""
    process = await asyncio.create_subprocess_exec(
        *("node", str(HERE / "client.cjs"), "ws", url, "bridge.v1", f"bearer.{token}"),
        env=ENVIRONMENT,
        stdin=PIPE,
        stdout=PIPE,
    )
    try:
        page = NodePage(process)
        assert await page.happened() == {"open": "bridge.v1"}
        yield page
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


PAGES = {"websockets": python_page, "ws": node_page}


def missing(kind: str) -> str:
    """Say what a kind of client lacks here, nothing if it can be used."""
    if kind == "websockets":
        return ""
    if shutil.which("node") is None:
        return "node is not on PATH"
    probe, lack = PROBES[kind]
    return lack if subprocess.run(probe, env=ENVIRONMENT, capture_output=True, check=False).returncode else ""
