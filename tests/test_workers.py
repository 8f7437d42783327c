"""Several nodes behind one port, as real processes on real RabbitMQ."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.chaos.cluster import Cluster, NodeProcess, eventually, token
from tests.chaos.publisher import NumberedPublisher
from tests.servers import Prefix, SharedBroker

WORKERS = 2


class WorkersProcess(NodeProcess):
    """`bridge serve --workers 2`."""

    arguments = ("serve", "--workers", str(WORKERS))
    serving = "workers.serving"


@pytest.fixture
async def workers(rabbitmq: SharedBroker, prefix: Prefix) -> AsyncIterator[tuple[Cluster, NodeProcess]]:
    """Two workers behind one port, ready."""
    cluster = Cluster(rabbitmq.url, str(prefix))
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
    """After kill -9 of a worker another takes its place, and /readyz is well again."""
    _, process = workers
    first = worker_pids(process)

    os.kill(first[0], signal.SIGKILL)

    async def replaced() -> bool:
        return len(worker_pids(process)) > WORKERS

    await eventually(replaced, seconds=20, what="a new worker")
    await process.ready()
    assert first[0] not in worker_pids(process)[WORKERS:]


async def test_a_signal_ends_every_worker(workers: tuple[Cluster, NodeProcess]) -> None:
    """SIGTERM is passed on; the group leaves with status 0 and no worker stays."""
    _, process = workers
    pids = worker_pids(process)

    status = await process.stop()

    assert status == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
