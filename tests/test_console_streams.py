"""The console's streams: they hold little, end with their reader or the node, and never end the node."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from bridge.admin import console_streams
from bridge.admin.console_streams import Sampler, Streams, send, stream_samples
from bridge.core.samples import Gauges, Reading, read
from bridge.core.stats import Stats
from tests.eventually import eventually

GAUGES = Gauges(sockets=0, users=0, rooms=0, outbox_frames=0, outbox_bytes=0, domains={})


class Clock:
    """Makes readings, a second apart; fails when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.failing = 0

    def read(self) -> Reading:
        """Take a reading."""
        self.now += 1.0
        if self.failing:
            self.failing -= 1
            raise RuntimeError("nothing to read")
        return read(Stats(), GAUGES, self.now)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[tuple[web.AppRunner, int]]:
    """Serve an application on a free port; yield its runner, too."""
    runner = web.AppRunner(app, shutdown_timeout=5.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner, runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running(sampler: Sampler) -> AsyncIterator[None]:
    """Run a sampler for the length of the context."""
    task = asyncio.create_task(sampler.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_samples_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampler keeps the newest samples, and a look that fails costs one sample, not the node."""
    monkeypatch.setattr(console_streams, "SAMPLE_SECONDS", 0.001)
    monkeypatch.setattr(console_streams, "SAMPLES_MAX", 5)
    clock = Clock()
    sampler = Sampler(clock.read)

    async with running(sampler):
        await eventually(lambda: sampler.taken >= 8)
        clock.failing = 3
        taken = sampler.taken
        await eventually(lambda: not clock.failing and sampler.taken >= taken + 2)

    assert sampler.history.count(b'"at":') == 5


async def test_a_reader_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes nothing for a while is dropped, and what waited for it with it."""
    monkeypatch.setattr(console_streams, "WRITE_SECONDS_MAX", 0.2)
    streams, sent = Streams(), list[int]()

    async def flood(request: web.Request) -> web.StreamResponse:
        async with streams.opened(request) as response:
            while sum(sent) < 10**9:
                await send(response, b"x" * 10_000)
                sent.append(10_000)
        return response

    app = web.Application()
    app.add_routes([web.get("/", flood)])
    async with serving(app) as (_, port):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await eventually(lambda: sent and not streams.open)

    assert sum(sent) < 1_000_000


async def test_streams_end_with_the_node() -> None:
    """When the node leaves, streams end at once, those that wait for something too; none is opened again."""
    streams, sampler = Streams(), Sampler(Clock().read)

    async def samples(request: web.Request) -> web.StreamResponse:
        return await stream_samples(request, streams, sampler)

    app = web.Application()
    app.add_routes([web.get("/", samples)])
    async with serving(app) as (_, port), aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/") as response:
            assert await response.content.readuntil(b"\n\n") == b"event: history\ndata: []\n\n"
            async with asyncio.timeout(1.0):
                streams.end()
                rest = await response.read()
        async with session.get(f"http://127.0.0.1:{port}/") as response:
            refused = response.status

    assert rest == b""
    assert refused == 500  # Of the bare server here: the API makes a 503 of it.
    assert streams.open == 0


async def test_a_wait_that_is_cancelled() -> None:
    """A stream that is cancelled while it waits leaves no task behind."""
    streams = Streams()
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(streams.wait(asyncio.Event(), 60.0))
    await eventually(lambda: len(asyncio.all_tasks() - before) == 3)

    waiting.cancel()
    await asyncio.wait([waiting])

    await eventually(lambda: asyncio.all_tasks() <= before)
    assert waiting.cancelled()
