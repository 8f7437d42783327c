"""How a socket ends, by whichever side, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import time
import weakref

import pytest
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol

from bridge.core.close import DRAINING, GOODBYE, SLOW
from bridge.core.commands import Expiring
from bridge.core.effects import Close, Join
from bridge.ws import server
from bridge.ws.connection import Connection
from tests.eventually import eventually
from tests.ws.clients import RawClient, client, client_frame, close_of, command, member, request
from tests.ws.node import running, token

RESET = struct.pack("ii", 1, 0)  # Linger, for no time: close() resets the connection.


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        (b"\x03\xe8bye", b"\x03\xe8bye"),
        (b"\x03\xe9", b"\x03\xe9"),
        (b"\x0f\xa1done", b"\x0f\xa1done"),
        (b"", b""),
    ],
    ids=["1000", "1001", "4001", "no code"],
)
async def test_client_that_closes(sent: bytes, echoed: bytes) -> None:
    """A close frame is echoed, then the connection ends."""
    async with running() as node, RawClient.member(node) as raw:
        await raw.send(client_frame(Opcode.CLOSE, sent))

        assert await raw.frame() == (Opcode.CLOSE, echoed)
        assert await raw.rest() == b""
        assert not node.server.connections


async def test_library_client_closes() -> None:
    """The library's client sees a clean close, and so do the counters."""
    async with running() as node:
        async with client(node, f"?token={token()}") as c:
            await c.recv()
        await eventually(lambda: not node.server.connections, "the connection is forgotten")

        assert c.close_code == 1000
        assert node.stats.closes == {"client": 1}
        assert node.diary.told("ws.closed")[0]["code"] == 1000


@pytest.mark.parametrize("reset", [True, False], ids=["RST", "FIN"])
async def test_client_that_vanishes(*, reset: bool) -> None:
    """A connection that breaks is counted as 1006, and its user and rooms are given up."""
    async with running() as node:
        async with RawClient.member(node) as raw:
            if reset:
                raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await eventually(lambda: not node.server.connections, "the connection is forgotten")

        assert node.stats.closes == {1006: 1}
        assert not node.server.users
        assert not len(node.hub)


async def test_client_that_vanishes_among_events() -> None:
    """Writing to a client that is gone troubles nobody."""
    async with running() as node, member(node, "u2") as other:
        for _ in range(20):
            async with RawClient.member(node, "u1") as raw:
                raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            node.publish(*range(5))
        for _ in range(100):
            await other.recv()


async def test_client_that_never_answers_close() -> None:
    """A client that does not answer a close frame is dropped at the deadline, not before."""
    async with running(close_seconds_max=0.2) as node, RawClient.member(node) as raw:
        started = time.monotonic()
        node.connection_of("u1").close(GOODBYE)

        assert await raw.close_frame() == (1000, "goodbye")
        assert await raw.rest() == b""
        assert 0.15 < time.monotonic() - started < 2.0
        assert node.stats.closes == {1000: 1}


async def test_client_that_talks_on_after_close() -> None:
    """What a client says after the server's close frame is not done, and buys it no time."""
    async with running(close_seconds_max=0.2) as node, RawClient.member(node) as raw:
        node.connection_of("u1").close(GOODBYE)
        await raw.keep_sending(command("subscribe", rooms=["device:d1"]) + client_frame(Opcode.PING))

        assert not len(node.hub)


async def test_client_that_floods_after_close() -> None:
    """A client that answers its close with a flood is read no more."""
    async with running() as node, RawClient.member(node) as raw:
        node.connection_of("u1").close(GOODBYE)
        await raw.send(client_frame(Opcode.PING) * 20_000)

        assert await raw.close_frame() == (1000, "goodbye")
        raw.sock.shutdown(socket.SHUT_WR)
        assert len(await raw.rest()) < 20_000


async def test_both_sides_close_at_once() -> None:
    """Two close frames that cross each other are one close."""
    async with running() as node, RawClient.member(node) as raw:
        connection = node.connection_of("u1")
        await raw.send(client_frame(Opcode.CLOSE, b"\x03\xe9"))
        connection.close(GOODBYE)

        assert (await raw.frame()).close[0] == 1000
        assert await raw.rest() == b""
        assert node.stats.closes == {1000: 1}


async def test_closing_twice() -> None:
    """The first reason counts; closing again, or saying more, does nothing."""
    async with running() as node, member(node) as c:
        connection = node.connection_of("u1")
        connection.close(DRAINING)
        connection.close(SLOW)
        connection.say(Expiring(1.0))
        connection.flush()
        connection.sweep(time.time() + 1e9)

        assert (await close_of(c))[0] == 1012
        connection.close(SLOW)
        connection.abort()
        connection.say(Expiring(1.0))
        connection.flush()
        connection.sweep(0.0)


async def test_closing_leaves_the_rooms_at_once() -> None:
    """From the moment of closing no event is offered to a socket, though its client is still there."""
    async with running() as node, RawClient.member(node) as raw:
        node.connection_of("u1").close(GOODBYE)
        node.publish(1)

        assert not len(node.hub)
        assert (await raw.frame()).opcode == Opcode.CLOSE


async def test_answer_that_closes_the_socket() -> None:
    """A socket that is closed on the way to a room does not get into it."""
    async with running() as node, RawClient.member(node):
        node.connection_of("u1")._act([Close(GOODBYE), Join(["device:d1"])])

        assert not len(node.hub)


async def test_closed_connection_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing holds a connection that is gone: no timer, no room, no cycle."""

    class Watched(Connection):
        __slots__ = ("__weakref__",)

    monkeypatch.setattr(server, "Connection", Watched)
    async with running(close_seconds_max=60.0) as node:
        gc.disable()
        try:
            refs = []
            for end in ("client", "server", "reset"):
                async with RawClient.member(node) as raw:
                    connection = node.connection_of("u1")
                    refs.append(weakref.ref(connection))
                    if end == "server":
                        connection.close(GOODBYE)
                        await raw.send(client_frame(Opcode.CLOSE, b"\x03\xe8"))
                        await raw.rest()
                    elif end == "reset":
                        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    del connection
            await eventually(lambda: not any(ref() for ref in refs), "they are collected")
        finally:
            gc.enable()


async def test_wires_and_requests_are_freed_at_once() -> None:
    """Neither a handshake nor a closed socket leaves a cycle of ours to the garbage collector."""
    async with running() as node:
        gc.collect()
        gc.disable()
        try:
            for path in ("/ws", "/elsewhere", f"/ws?token={token()}"):
                async with RawClient.connected(node) as raw:
                    await raw.send(request(path) + command("ping"))
                    await raw.head()
            async with RawClient.member(node) as raw:
                await raw.send(client_frame(Opcode.CLOSE))
                await raw.rest()
            await eventually(lambda: not node.server.connections, "all are gone")
            kept = [one for one in gc.get_objects() if isinstance(one, Protocol | Request)]
        finally:
            gc.enable()

    assert not kept


async def test_stop_leaves_nothing() -> None:
    """After stop there is no socket, no task and no timer, whatever state the connections were in."""
    loop = asyncio.get_running_loop()
    tasks = asyncio.all_tasks()
    async with (
        running() as node,
        RawClient.connected(node) as silent,
        RawClient.connected(node) as greeted,
        RawClient.member(node) as open_,
        RawClient.member(node, "u2") as closing,
        RawClient.connected(node) as refused,
    ):
        await greeted.send(request())
        await greeted.head()
        await refused.send(request("/elsewhere"))
        await refused.head()
        node.connection_of("u2").close(GOODBYE)
        assert len(node.server.connections) == 5

        await node.server.stop()

        for raw in (silent, greeted, open_, closing, refused):
            await raw.rest()
        with pytest.raises(ConnectionRefusedError):
            async with RawClient.connected(node):
                pass
    timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
    assert not timers
    assert asyncio.all_tasks() == tasks
