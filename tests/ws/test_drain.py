"""How a node lets its sockets go."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import ClientConnection

from bridge.ws import server
from tests.eventually import eventually
from tests.ws.clients import RawClient, close_of, member, receive, request
from tests.ws.node import running


async def test_draining() -> None:
    """Every client gets a hint when to come back, then 1012; the node refuses new ones and is done."""
    async with running() as node, member(node, "u1") as first, member(node, "u2") as second:
        draining = asyncio.create_task(node.server.drain(seconds_max=5.0, retry_after_seconds_max=2.0))
        for c in (first, second):
            notice = await receive(c)
            code, text = await close_of(c)
            hint = notice["data"]["retryAfterMs"]

            assert notice["type"] == "draining"
            assert 100 <= hint <= 2_000
            assert (code, text) == (1012, f"draining; come back after {hint} ms")
        with pytest.raises(ConnectionRefusedError):
            async with RawClient.connected(node):
                pass
        await draining

        assert not node.server.connections
        assert node.stats.closes == {1012: 2}


async def test_draining_is_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets are let go a few at a time over half of the time that there is."""
    monkeypatch.setattr(server, "DRAIN_STEP_SOCKETS_MIN", 1)
    async with running() as node, AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(member(node, f"u{n}")) for n in range(20)]
        ends = [asyncio.create_task(_end(c)) for c in sockets]
        await node.server.drain(seconds_max=1.0, retry_after_seconds_max=1.0)
        ended = sorted(await asyncio.gather(*ends))

        assert ended[-1] - ended[0] > 0.35
        assert node.stats.closes == {1012: 20}


async def test_draining_with_a_client_that_never_answers() -> None:
    """A client that does not answer its close cannot keep the node beyond the deadline."""
    async with running(close_seconds_max=60.0) as node, RawClient.member(node) as raw:
        started = time.monotonic()
        await node.server.drain(seconds_max=0.2, retry_after_seconds_max=1.0)

        assert time.monotonic() - started < 1.0
        assert node.diary.told("ws.drain_deadline") == [{"sockets": 1}]
        await node.server.stop()
        assert (await raw.close_frame())[0] == 1012
        assert await raw.rest() == b""


async def test_draining_with_a_client_that_does_not_read() -> None:
    """A client that does not read cannot keep the node either, and the others go as they should."""
    async with (
        running(close_seconds_max=0.1) as node,
        RawClient.member(node, "slow", receive_bytes=4_096),
        member(node, "quick") as quick,
    ):
        connection = node.connection_of("slow")
        while not connection.outbox:
            node.publish(1, to="user:slow", padding=1_000)
        await node.server.drain(seconds_max=5.0, retry_after_seconds_max=1.0)

        assert (await close_of(quick))[0] == 1012
        assert node.stats.closes == {1012: 2}


async def test_draining_with_handshakes_under_way() -> None:
    """A request that was under way when the node stopped accepting is told to come back."""
    async with (
        running(close_seconds_max=0.1) as node,
        RawClient.connected(node) as late,
        RawClient.connected(node),
    ):
        await eventually(lambda: len(node.server.connections) == 2, "the connections are accepted")
        node.server.stop_accepting()
        await late.send(request())
        head = await late.head()
        await node.server.drain(seconds_max=5.0, retry_after_seconds_max=1.0)

        assert head.startswith("HTTP/1.1 503 ")
        assert "Retry-After: " in head


async def test_draining_without_sockets() -> None:
    """A node without sockets is drained at once."""
    async with running() as node:
        started = time.monotonic()
        await node.server.drain(seconds_max=5.0, retry_after_seconds_max=1.0)

        assert time.monotonic() - started < 0.5


async def test_log_that_begins_anew() -> None:
    """When the log starts over every socket is closed with 1012, and may come back at once."""
    async with running() as node, member(node) as c:
        node.fanout.begin(node.server.rules.window.position._replace(epoch="e2"))

        assert (await close_of(c))[0] == 1012
        async with member(node) as again:
            node.publish(1)
            assert (await receive(again))["data"]["number"] == 1


async def _end(c: ClientConnection) -> float:
    await close_of(c)
    return time.monotonic()
