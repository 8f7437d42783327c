"""The console of a worker group: which worker gets a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bridge.admin.handed_on import HandedOn
from bridge.admin.merged import MergedCollector
from bridge.admin.server import AdminServer


class Worker:
    """A worker's operator port that answers with its name, or takes requests and breaks off."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mute = False
        self.requests = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer, or do not."""
        self.requests += 1
        if self.mute and request.transport is not None:
            request.transport.abort()
        return web.Response(text=self.name)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[tuple[Worker, Worker, str]]:
    """Two workers, and the address of their group's console."""
    group, runners = (Worker("0"), Worker("1")), list[web.AppRunner]()
    for worker in group:
        app = web.Application()
        app.router.add_route("*", "/console/{rest:.*}", worker.answer)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        await web.UnixSite(runners[-1], str(tmp_path / worker.name)).start()
    sockets = {worker.name: tmp_path / worker.name for worker in group}
    admin = AdminServer(health=list, collector=MergedCollector(), console=HandedOn(sockets).add_to)
    try:
        yield *group, f"http://127.0.0.1:{await admin.start('127.0.0.1', 0)}/console/"
    finally:
        await asyncio.gather(admin.stop(), *(runner.cleanup() for runner in runners))


async def test_a_worker_that_does_not_answer(workers: tuple[Worker, Worker, str]) -> None:
    """What a worker took is not asked twice; the next goes elsewhere, and nobody is shut out for good."""
    first, second, console = workers

    async with aiohttp.ClientSession() as session:

        async def asked() -> tuple[int, str]:
            async with session.post(console) as response:
                return response.status, await response.text() if response.status == 200 else ""

        answers = [await asked()]
        first.mute = True
        answers += [await asked(), await asked(), await asked()]
        first.mute, second.mute = False, True
        answers += [await asked(), await asked()]

    assert answers == [(200, "0"), (503, ""), (200, "1"), (200, "1"), (503, ""), (200, "0")]
    assert (first.requests, second.requests) == (3, 3)
