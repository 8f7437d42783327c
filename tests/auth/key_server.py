"""An issuer's server that publishes keys, and does not always behave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


class KeyServer:
    """A real HTTP server on loopback. What it answers can be changed at any time."""

    def __init__(self) -> None:
        """Answer with an empty object, at once."""
        self.url = ""  # Set once it listens.
        self.answer = b"{}"
        self.status = 200
        self.headers: dict[str, str] = {}
        self.requests = 0
        self.asked = asyncio.Event()  # Set with each request.
        self.may_answer = asyncio.Event()  # Cleared by a test that wants requests to wait.
        self.may_answer.set()

    async def handle(self, _: web.Request) -> web.StreamResponse:
        """Answer a request."""
        self.requests += 1
        self.asked.set()
        await self.may_answer.wait()
        return web.Response(body=self.answer, status=self.status, headers=self.headers)

    async def drip(self, request: web.Request) -> web.StreamResponse:
        """Answer with bytes without end, as fast as they are read."""
        self.requests += 1
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 1_024)

    async def stall(self, request: web.Request) -> web.StreamResponse:
        """Begin an answer and never end it."""
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"{")
        await self.may_answer.wait()
        return response


@asynccontextmanager
async def key_server() -> AsyncIterator[KeyServer]:
    """Serve keys for the length of the context."""
    server = KeyServer()
    application = web.Application()
    application.router.add_get("/keys", server.handle)
    application.router.add_get("/drip", server.drip)
    application.router.add_get("/stall", server.stall)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    _, port = runner.addresses[0][:2]
    server.url = f"http://127.0.0.1:{port}"
    try:
        yield server
    finally:
        server.may_answer.set()
        await runner.cleanup()
