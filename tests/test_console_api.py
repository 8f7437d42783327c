"""The console's API as the operator's page meets it: a real bridge on real RabbitMQ."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.amqp.bus import Bus
from tests.commands import environment
from tests.servers import Prefix, SharedBroker
from tests.test_end_to_end import ServedNode, bus_of, serving

TOKEN = "0f3c5e7a9b1d2f4e6a8c0b2d4f6e8a0c"
Json = dict[str, Any]


class Operator:
    """Somebody with the token."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Json]:  # noqa: ANN401
        """Return status and answer."""
        async with self.session.request(method, f"{self.base}/console/api/{path}", **options) as response:
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
            return response.status, await response.json()

    async def get(self, path: str) -> Json:
        """Return the answer to a request that succeeds."""
        status, answer = await self.ask("GET", path)
        assert status == 200, answer
        return answer

    async def post(self, path: str, **body: object) -> Json:
        """Do the same with a body."""
        status, answer = await self.ask("POST", path, json=body)
        assert status == 200, answer
        return answer

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
        """Yield the server-sent events of a stream: name and data."""
        async with self.session.get(f"{self.base}/console/api/{path}") as response:
            assert response.status == 200, await response.text()
            yield events(response)


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """Yield server-sent events as they come; comments are passed over."""
    name = ""
    while line := (await response.content.readuntil(b"\n")).decode():
        field, _, value = line.rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


@pytest.fixture(scope="module")
def own_prefix(rabbitmq: SharedBroker) -> Iterator[Prefix]:
    """The prefix of the node that these tests share."""
    prefix = Prefix()
    yield prefix
    if rabbitmq.given:
        asyncio.run(prefix.delete_all(rabbitmq.url))


@pytest.fixture(scope="module")
def served(
    rabbitmq: SharedBroker, own_prefix: Prefix, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedNode]:
    """A node in development with a console."""
    variables = environment(
        rabbitmq.url,
        own_prefix,
        BRIDGE_ADMIN__TOKEN=TOKEN,
        BRIDGE_MODE="development",
        BRIDGE_LOG__FORMAT="json",
    )
    with serving(variables, tmp_path_factory.mktemp("console")) as node:
        yield node


@asynccontextmanager
async def operator_of(node: ServedNode, token: str = TOKEN) -> AsyncIterator[Operator]:
    """Connect to the operator port of a node."""
    base = f"http://127.0.0.1:{await node.port('admin')}"
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=60, sock_read=20)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield Operator(session, base)


@pytest.fixture
async def operator(served: ServedNode) -> AsyncIterator[Operator]:
    """The operator of the shared node, once that is ready."""
    await served.ready()
    async with operator_of(served) as operator:
        yield operator


@pytest.fixture
async def bus(rabbitmq: SharedBroker, own_prefix: Prefix) -> AsyncIterator[Bus]:
    """The shared node's bus."""
    async with bus_of(rabbitmq.url, own_prefix) as bus:
        yield bus


async def test_overview(operator: Operator) -> None:
    """The overview tells who the node is, how its parts are, and where the log stands."""
    overview = await operator.get("overview")

    node = overview["node"]
    assert node["ready"]
    assert node["development"]
    assert {"part": "node", "ok": True, "detail": "serving", "vital": True} in node["parts"]
    assert overview["log"]["kind"] == "memory"
    assert overview["log"]["epoch"]
