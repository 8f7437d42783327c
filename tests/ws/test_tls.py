"""The same over TLS, where asyncio's transport has ways of its own."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from websockets.frames import Opcode

from bridge.core.policy import Policy
from tests.eventually import eventually
from tests.ws.clients import RawClient, ask, client, client_frame, close_of, member, numbers, request
from tests.ws.conftest import Tls
from tests.ws.node import DEADLINE_SECONDS, HOST, Node, running, token


async def stream(
    node: Node, tls: Tls, *, receive_bytes: int = 0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a TLS connection and send an upgrade with a token; the answer is unread."""
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(0)
    await asyncio.get_running_loop().sock_connect(sock, (HOST, node.port))
    reader, writer = await asyncio.open_connection(
        sock=sock, ssl=tls.client, server_hostname=HOST, limit=1_024
    )
    writer.write(request(f"/ws?token={token('slow')}"))
    return reader, writer


async def test_a_session(tls: Tls) -> None:
    """A client connects, asks, is served and closes."""
    async with running(tls=tls.server) as node:
        async with member(node, ssl=tls.client) as c:
            assert (await ask(c, "subscribe", rooms=["device:d1"]))["type"] == "subscribed"
            node.publish(1, to="device:d1")
            assert await numbers(c, 1) == [1]
        await eventually(lambda: not node.server.connections, "the connection is forgotten")

        assert c.close_code == 1000


async def test_server_closes(tls: Tls) -> None:
    """A close by the server arrives with its code and reason."""
    async with running(tls=tls.server) as node, client(node, "?token=x", ssl=tls.client) as c:
        assert (await close_of(c))[0] == 4401


async def test_message_that_is_too_big(tls: Tls) -> None:
    """A client in the middle of sending too much can read why it is closed."""
    async with running(tls=tls.server, close_seconds_max=0.5) as node, member(node, ssl=tls.client) as c:
        await c.send("x" * 1_000_000)

        assert (await close_of(c))[0] == 1009


async def test_many_events(tls: Tls) -> None:
    """More than TLS and the kernel hold at once arrives whole and in order."""
    async with running(tls=tls.server) as node, member(node, ssl=tls.client) as c:
        receiving = asyncio.create_task(numbers(c, 2_000))
        for start in range(0, 2_000, 100):
            node.publish(*range(start, start + 100), padding=500)
            await asyncio.sleep(0)

        assert await receiving == list(range(2_000))


async def test_slow_reader(tls: Tls) -> None:
    """A client that does not read is closed with 4008; memory is bounded; another is served meanwhile."""
    limit = 40_000
    async with (
        running(tls=tls.server, outbox_bytes_max=limit, close_seconds_max=0.2) as node,
        member(node, "quick", ssl=tls.client) as quick,
    ):
        _, writer = await stream(node, tls, receive_bytes=4_096)
        await eventually(lambda: node.hub.members("user:slow"), "the client is connected")
        connection = node.connection_of("slow")
        most = 0
        for number in range(5_000):
            if node.diary.told("ws.slow_consumer"):
                break
            node.publish(number, padding=1_000)
            most = max(most, connection._transport.get_write_buffer_size())
            assert await numbers(quick, 1) == [number]
        else:
            raise AssertionError("it takes no end of events")

        assert most <= limit
        assert number < 1_000
        await eventually(lambda: len(node.server.connections) == 1, "the slow client is dropped")
        writer.transport.abort()


async def test_reader_that_catches_up(tls: Tls) -> None:
    """A client that was behind gets what waited, each once and in order."""
    async with running(tls=tls.server) as node:
        reader, writer = await stream(node, tls, receive_bytes=4_096)
        await eventually(lambda: node.hub.members("user:slow"), "the client is connected")
        connection = node.connection_of("slow")
        count = 0
        while len(connection.outbox) < 20:
            node.publish(count, padding=1_000, policy=Policy.MUST_DELIVER)
            count += 1
            await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await reader.readuntil(b"\r\n\r\n")
            seen = [await _number(reader) for _ in range(count + 1)]

        assert seen == [None, *range(count)]
        writer.transport.abort()


async def test_draining(tls: Tls) -> None:
    """Sockets over TLS are drained like any other."""
    async with running(tls=tls.server) as node, member(node, ssl=tls.client) as c:
        draining = asyncio.create_task(node.server.drain(seconds_max=5.0, retry_after_seconds_max=1.0))

        assert (await close_of(c))[0] == 1012
        await draining
        assert not node.server.connections


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_handshake_that_is_none(tls: Tls, data: bytes) -> None:
    """A client that does not get through the TLS handshake in time is dropped."""
    async with running(tls=tls.server, handshake_seconds_max=0.1) as node, RawClient.connected(node) as raw:
        await raw.send(data)

        await raw.rest()  # Which has a deadline.


async def test_client_that_vanishes(tls: Tls) -> None:
    """A client that goes without a word leaves nothing behind."""
    async with running(tls=tls.server) as node:
        _, writer = await stream(node, tls)
        await eventually(lambda: node.hub.members("user:slow"), "the client is connected")
        writer.transport.abort()
        await eventually(lambda: not node.server.connections, "the connection is forgotten")


async def test_client_that_never_answers_close(tls: Tls) -> None:
    """A client that answers neither the close nor the end of TLS is dropped at the deadline."""
    async with running(tls=tls.server, close_seconds_max=0.1) as node:
        _, writer = await stream(node, tls)
        await eventually(lambda: node.hub.members("user:slow"), "the client is connected")
        await node.server.drain(seconds_max=5.0, retry_after_seconds_max=1.0)

        assert not node.server.connections
        writer.transport.abort()


async def test_client_that_closes(tls: Tls) -> None:
    """A close frame is echoed before TLS ends."""
    async with running(tls=tls.server) as node:
        reader, writer = await stream(node, tls)
        writer.write(client_frame(Opcode.CLOSE, b"\x03\xe8"))
        async with asyncio.timeout(DEADLINE_SECONDS):
            everything = await reader.read()
            while chunk := await reader.read():
                everything += chunk

        assert everything.endswith(b"\x88\x02\x03\xe8")
        writer.close()
        await eventually(lambda: not node.server.connections, "the connection is forgotten")


async def _number(reader: asyncio.StreamReader) -> int | None:
    """Return the number of the next event, None for `connected`."""
    length = (await reader.readexactly(2))[1]
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2), "big")
    message = json.loads(await reader.readexactly(length))
    return None if message["type"] == "connected" else message["data"]["number"]
