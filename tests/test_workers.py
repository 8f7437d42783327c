"""Several nodes behind one port, as real processes on real RabbitMQ."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.chaos.cluster import Cluster, NodeProcess, eventually, token
from tests.chaos.publisher import NumberedPublisher
from tests.servers import Prefix, SharedBroker

WORKERS = 2
TOKEN = secrets.token_hex(32)


class WorkersProcess(NodeProcess):
    """`bridge serve --workers 2`."""

    arguments = ("serve", "--workers", str(WORKERS))
    serving = "workers.serving"


@pytest.fixture
async def workers(rabbitmq: SharedBroker, prefix: Prefix) -> AsyncIterator[tuple[Cluster, NodeProcess]]:
    """Two workers behind one port, ready."""
    settings = {"BRIDGE_ADMIN__TOKEN": TOKEN, "BRIDGE_ADMIN__HOST": "0.0.0.0"}  # noqa: S104 - to be warned of
    cluster = Cluster(rabbitmq.url, str(prefix), settings=settings)
    process = WorkersProcess("workers", cluster.environment)
    cluster.nodes.append(process)
    await process.start()
    try:
        yield cluster, process
    finally:
        await cluster.stop()


def worker_pids(process: NodeProcess) -> list[int]:
    """The pids of the workers that were started, in order."""
    return [int(str(line["pid"])) for line in process.log if line.get("event") == "workers.started"]


async def test_every_worker_serves_and_one_port_answers_for_all(
    workers: tuple[Cluster, NodeProcess], rabbitmq: SharedBroker
) -> None:
    """Sockets on any worker get the event, and the one /metrics tells the workers apart."""
    cluster, process = workers
    async with asyncio.timeout(30):
        sockets = [
            await connect(process.url, additional_headers={"Authorization": f"Bearer {token('u0')}"})
            for _ in range(16)
        ]
        for socket in sockets:
            assert json.loads(await socket.recv())["type"] == "connected"

        await NumberedPublisher(rabbitmq.url, cluster.exchange, ["u0"]).run(events=1, per_second=100)
        frames = [json.loads(await socket.recv()) for socket in sockets]
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{process.admin_port}/metrics") as response,
        ):
            metrics = await response.text()
        for socket in sockets:
            await socket.close()

    assert {frame["type"] for frame in frames} == {"order.completed"}
    assert {frame["offset"] for frame in frames} == {frames[0]["offset"]}
    for worker in range(WORKERS):
        assert f'bridge_log_entries_total{{worker="{worker}"}} 1.0' in metrics


async def test_a_worker_that_dies_is_started_again(workers: tuple[Cluster, NodeProcess]) -> None:
    """After kill -9 of a worker another takes its place, and /readyz is well again.

    The console goes on at once: it is handed on to a worker that lives.
    """
    _, process = workers
    first = worker_pids(process)
    async with console_of(process, TOKEN) as console:
        before = await (await console.get("api/overview")).json()
        # Their names end in their pids; the console is of the worker that answered first.
        dying = int(before["node"]["name"].rpartition(":")[2])

        os.kill(dying, signal.SIGKILL)

        after = await console.get("api/overview")
        assert (after.status, (await after.json())["node"]["id"] != before["node"]["id"]) == (200, True)

    async def replaced() -> bool:
        return len(worker_pids(process)) > WORKERS

    await eventually(replaced, seconds=20, what="a new worker")
    await process.ready()
    assert dying in first
    assert dying not in worker_pids(process)[WORKERS:]


def console_of(process: NodeProcess, token: str) -> aiohttp.ClientSession:
    """Return a session with the console of the group."""
    return aiohttp.ClientSession(
        f"http://127.0.0.1:{process.admin_port}/console/", headers={"Authorization": f"Bearer {token}"}
    )


def refused_from(process: NodeProcess) -> list[object]:
    """The addresses whose requests the console refused."""
    return [line["address"] for line in process.log if line.get("event") == "console.refused"]


async def test_the_console_is_of_one_worker_and_knows_all(workers: tuple[Cluster, NodeProcess]) -> None:
    """Page, API and streams come through the one operator port, and tell of the sockets on every worker."""
    _, process = workers
    async with (
        asyncio.timeout(30),
        connect(process.url, additional_headers={"Authorization": f"Bearer {token('u0')}"}),
        connect(process.url, additional_headers={"Authorization": f"Bearer {token('u0')}"}),
        console_of(process, TOKEN) as console,
        console_of(process, TOKEN[:-1]) as stranger,
    ):

        async def all_known() -> bool:
            async with console.get("api/nodes") as response:
                return len((await response.json())["nodes"]) == WORKERS

        await eventually(all_known, seconds=20, what="the workers to know of each other")
        async with console.get("") as page, console.get("index.html", headers={"If-None-Match": "*"}) as same:
            assert (page.status, same.status) == (200, 304)
            assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        async with console.get("api/users/u0") as response:
            nodes = (await response.json())["nodes"]
        async with stranger.get("api/overview") as refused, console.post("api/explain", data="[") as bad:
            assert (refused.status, bad.status) == (401, 400)
        async with console.post("api/explain", data="x" * 70_000) as large:
            assert (large.status, (await large.json())["error"]["code"]) == (413, "too_large")
        async with console.get("api/samples") as stream:
            assert await stream.content.readline() == b"event: history\n"

    async def is_logged() -> bool:
        return bool(refused_from(process))

    await eventually(is_logged, seconds=5, what="the refusal to be in the log")
    assert refused_from(process) == ["127.0.0.1"]
    assert [line.get("host") for line in process.log if line.get("event") == "console.exposed"] == ["0.0.0.0"]  # noqa: S104
    assert [node["answered"] for node in nodes] == [True] * WORKERS
    assert sum(len(node["sockets"]) for node in nodes) == 2


async def test_a_signal_ends_every_worker(workers: tuple[Cluster, NodeProcess]) -> None:
    """SIGTERM is passed on; the group leaves with status 0 and no worker stays."""
    _, process = workers
    pids = worker_pids(process)

    status = await process.stop()

    assert status == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
