"""Clients that have not proven who they are: they are few, for a short time, and lock nobody out."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from bridge.ws import server
from tests.eventually import eventually
from tests.ws.clients import UPGRADE, RawClient, client, close_of, member, receive, request
from tests.ws.conftest import Tls
from tests.ws.node import HOST, Node, running, token


@pytest.fixture
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the oldest give way however young it is."""
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS_MIN", 0.0)


async def idle(stack: AsyncExitStack, node: Node, count: int, data: bytes = b"GET /ws") -> list[RawClient]:
    """Open connections that begin and never finish."""
    clients = []
    for _ in range(count):
        raw = await stack.enter_async_context(RawClient.connected(node))
        await raw.send(data)
        clients.append(raw)
    return clients


@pytest.mark.usefixtures("_no_patience")
@pytest.mark.parametrize("data", [b"", b"GET /ws", request()])
async def test_unfinished_handshakes_lock_nobody_out(data: bytes) -> None:
    """However many clients never finish, in their request or before their hello, others get in."""
    async with running(sockets_max=1, handshakes_max=3) as node, AsyncExitStack() as stack:
        await idle(stack, node, 20, data)
        await eventually(lambda: node.stats.handshakes_dropped == 17, "all but three are dropped")

        async with member(node) as c:
            node.publish(1)
            assert (await receive(c))["data"]["number"] == 1
            assert len(node.server.connections) == 3  # One more has had to go for this one.


@pytest.mark.usefixtures("_no_patience")
async def test_the_oldest_gives_way() -> None:
    """At the limit the connection that has been at it for longest is dropped, and no other."""
    async with running(handshakes_per_address_max=2) as node, AsyncExitStack() as stack:
        oldest, second, newest = await idle(stack, node, 3)

        assert await oldest.rest() == b""
        for raw in (second, newest):
            await raw.send(request()[len("GET /ws") :])
            assert (await raw.head()).startswith("HTTP/1.1 101 ")


async def test_a_rush_is_not_thinned_out() -> None:
    """Nobody has to go who has hardly come: at the limit it is the newcomer."""
    async with running(handshakes_per_address_max=2) as node, AsyncExitStack() as stack:
        first, second, newcomer = await idle(stack, node, 3)

        assert await newcomer.rest() == b""
        for raw in (first, second):
            await raw.send(request()[len("GET /ws") :])
            assert (await raw.head()).startswith("HTTP/1.1 101 ")


async def test_proven_clients_do_not_count() -> None:
    """Who has proven who it is makes room for the next."""
    async with running(handshakes_max=1) as node, member(node), member(node), member(node):
        assert node.server.sockets == 3


@pytest.mark.usefixtures("_no_patience")
async def test_clients_behind_a_proxy() -> None:
    """A proxy speaks for many: each client behind it has a limit of its own, the proxy has none."""
    async with (
        running(handshakes_per_address_max=1, trusted_proxies=(HOST,)) as node,
        AsyncExitStack() as stack,
    ):
        await idle(stack, node, 5)
        await eventually(lambda: len(node.server.connections) == 5, "all five are there")

        upgrades = [request(headers=f"{UPGRADE}X-Forwarded-For: 2001:db8:{n}::1\r\n") for n in (1, 2, 1)]
        first, second, third = [(await idle(stack, node, 1, upgrade))[0] for upgrade in upgrades]

        assert (await first.rest()).startswith(b"HTTP/1.1 101 ")
        for raw in (second, third):
            assert (await raw.head()).startswith("HTTP/1.1 101 ")
            assert raw.unread == b""
        assert node.stats.handshakes_dropped == 1


async def test_refused_clients_count_until_they_go() -> None:
    """A client that is refused and stays is one of those that are unproven."""
    async with running(handshakes_max=1, close_seconds_max=0.1) as node, AsyncExitStack() as stack:
        refused = (await idle(stack, node, 1, request("/elsewhere")))[0]
        await refused.head()
        assert await (await idle(stack, node, 1))[0].rest() == b""
        await eventually(lambda: not node.server.connections, "the refused client is dropped")

        async with member(node):
            pass


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01"])
async def test_unfinished_tls_handshakes(tls: Tls, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS handshakes count as well, before anything is computed for them."""
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS_MIN", 0.0)
    async with running(tls=tls.server, handshakes_max=3) as node, AsyncExitStack() as stack:
        await idle(stack, node, 20, data)
        await eventually(lambda: node.stats.handshakes_dropped == 17, "all but three are dropped")
        assert len(node.server._securing) <= 3 + 1

        async with member(node, ssl=tls.client) as c:
            assert node.server.sockets == 1
            await c.close()


async def test_stopping_during_tls_handshakes(tls: Tls) -> None:
    """A node that stops ends the TLS handshakes under way; nothing of them is left."""
    async with running(tls=tls.server) as node, AsyncExitStack() as stack:
        raw = (await idle(stack, node, 1, b"\x16\x03\x01"))[0]
        await eventually(lambda: node.server._securing, "the handshake is under way")
        await node.server.stop()

        assert not node.server._securing
        assert await raw.rest() == b""


async def test_sockets_of_a_node_at_the_limit() -> None:
    """The limit of a node holds to the socket, also for clients that all passed the gate before it."""
    async with running(sockets_max=2) as node, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(node)) for _ in range(5)]
        for number, c in enumerate(clients):
            await c.send(f'{{"op": "hello", "token": "{token(f"u{number}")}"}}')
        for c in clients[:2]:
            assert (await receive(c))["type"] == "connected"
        codes = await asyncio.gather(*(close_of(c) for c in clients[2:]))

        assert {code for code, _ in codes} == {4009}
        assert node.server.sockets == 2


async def test_attempts_of_one_user() -> None:
    """A user who connects too often is told to come back later, from wherever; others are not."""
    async with running(user_attempts_per_minute_max=2) as node:
        for _ in range(2):
            async with member(node, "u1"):
                pass
        async with client(node, f"?token={token('u1')}") as c:
            code, text = await close_of(c)
        async with member(node, "u2"):
            pass

        assert code == 4009
        assert text == "limit reached: too many connections of one user; wait 30 s"
