"""Who is still there: pings, and what happens to those who do not answer."""

from __future__ import annotations

from websockets.frames import Opcode

from tests.eventually import eventually
from tests.ws.clients import RawClient, client, client_frame, command, member, receive
from tests.ws.node import running, token

INTERVAL = 0.08


async def test_client_that_answers_pings() -> None:
    """A client that answers each ping stays for as long as it likes."""
    async with (
        running(ping_interval_seconds=INTERVAL, commands_burst_max=2, commands_per_second_max=1.0) as node,
        RawClient.member(node) as raw,
    ):
        for _ in range(8):  # More than the frames that it may send in one interval.
            assert (await raw.frame()).opcode == Opcode.PING
            await raw.send(client_frame(Opcode.PONG))
        await raw.send(command("ping"))

        while (frame := await raw.frame()).opcode == Opcode.PING:
            await raw.send(client_frame(Opcode.PONG))
        assert frame.message["type"] == "pong"


async def test_client_that_answers_no_ping() -> None:
    """A client that gives no sign of life until the next ping is due is dropped."""
    async with running(ping_interval_seconds=INTERVAL) as node, RawClient.member(node) as raw:
        frames = await raw.rest()

        assert frames == b"\x89\x00"
        assert node.stats.closes[1006] == 1
        assert node.diary.told("ws.ping_timeout")[0]["user_id"] == "u1"


async def test_any_data_is_a_sign_of_life() -> None:
    """A client that sends commands need not answer pings."""
    async with running(ping_interval_seconds=INTERVAL) as node, RawClient.member(node) as raw:
        for _ in range(4):
            assert (await raw.frame()).opcode == Opcode.PING
            await raw.send(command("ping"))
            assert (await raw.frame()).message["type"] == "pong"


async def test_library_client_lives() -> None:
    """The library's client answers pings by itself."""
    async with running(ping_interval_seconds=INTERVAL) as node, member(node) as c:
        connection = node.connection_of("u1")
        for _ in range(3):
            await eventually(lambda: connection._awaiting_pong, "a ping is sent")
            await eventually(lambda: not connection._awaiting_pong, "it is answered")
        node.publish(1)

        assert (await receive(c))["data"]["number"] == 1


async def test_client_that_has_not_said_hello() -> None:
    """A socket without a session is kept alive, too, for as long as it may wait."""
    async with running(ping_interval_seconds=INTERVAL) as node, client(node) as c:
        (connection,) = node.server.connections
        await eventually(lambda: connection._awaiting_pong, "a ping is sent")
        await eventually(lambda: not connection._awaiting_pong, "it is answered")
        await c.send(f'{{"op": "hello", "token": "{token()}"}}')

        assert (await receive(c))["type"] == "connected"


async def test_client_that_reads_slowly_lives() -> None:
    """A client that takes the bytes that wait for it is alive, and is asked for nothing else meanwhile."""
    async with (
        running(ping_interval_seconds=2 * INTERVAL) as node,
        RawClient.member(node, receive_bytes=4_096) as raw,
    ):
        connection = node.connection_of("u1")
        while connection._writable:
            node.publish(1, padding=1_000)
        await eventually(lambda: connection._awaiting_pong, "a sign of life is due")
        while (await raw.frame()).opcode == Opcode.TEXT:
            pass

        assert connection._awaiting_pong  # For the ping that has come now.
        assert node.offset < 400


async def test_sweeps_are_spread() -> None:
    """Sockets are pinged in equal shares over the interval, not all at once."""
    async with (
        running(ping_interval_seconds=3.0) as node,
        member(node, "u1"),
        member(node, "u2"),
        member(node, "u3"),
    ):
        assert len({id(connection.slot) for connection in node.server.connections}) == 3
