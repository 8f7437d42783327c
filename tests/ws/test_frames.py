"""RFC 6455 on the wire: what is understood, and what fails the connection with which code."""

from __future__ import annotations

import asyncio

import pytest
from websockets.frames import Opcode

from tests.eventually import eventually
from tests.ws.clients import RawClient, ask, client_frame, command, member
from tests.ws.node import running

PING = command("ping")


async def test_binary_message() -> None:
    """The dialect is text; a binary message closes the socket with 4400."""
    async with running() as node, RawClient.member(node) as raw:
        await raw.send(client_frame(Opcode.BINARY, b'{"op": "ping"}'))

        assert (await raw.close_frame())[0] == 4400
        assert await raw.rest() == b""


async def test_message_in_fragments() -> None:
    """A message may come in fragments, with control frames among them, cut inside a character."""
    async with running() as node, RawClient.member(node) as raw:
        text = '{"op": "ping", "id": "zażółć"}'.encode()
        await raw.send(client_frame(Opcode.TEXT, text[:25], fin=False))
        await raw.send(client_frame(Opcode.PING, b"in between"))
        assert await raw.frame() == (Opcode.PONG, b"in between")
        await raw.send(client_frame(Opcode.CONT, text[25:26], fin=False))
        await raw.send(client_frame(Opcode.CONT, b"", fin=False))
        await raw.send(client_frame(Opcode.CONT, text[26:]))

        assert (await raw.frame()).message["id"] == "zażółć"


async def test_largest_message() -> None:
    """A message of exactly the limit is read, in one frame or in several."""
    async with running(message_bytes_max=1_024) as node, RawClient.member(node) as raw:
        text = b'{"op": "ping"}'.ljust(1_024)
        await raw.send(client_frame(Opcode.TEXT, text))
        await raw.send(client_frame(Opcode.TEXT, text[:600], fin=False))
        await raw.send(client_frame(Opcode.CONT, text[600:]))

        assert (await raw.frame()).message["type"] == "pong"
        assert (await raw.frame()).message["type"] == "pong"


@pytest.mark.parametrize("count", [1, 5])
async def test_message_that_is_too_big(count: int) -> None:
    """A message over the limit closes the socket with 1009, in one frame or in several."""
    async with running(message_bytes_max=1_024) as node, RawClient.member(node) as raw:
        part = b"x" * (1_025 // count)
        await raw.send(client_frame(Opcode.TEXT, part, fin=count == 1))
        for _ in range(count):
            await raw.send(client_frame(Opcode.CONT, part, fin=False))

        assert (await raw.close_frame())[0] == 1009


async def test_message_that_is_far_too_big() -> None:
    """A client in the middle of sending 5 MB can still read why it is closed."""
    async with running() as node, RawClient.member(node) as raw:
        await raw.send(client_frame(Opcode.TEXT, b"x" * 5_000_000))

        assert (await raw.close_frame())[0] == 1009
        assert node.stats.closes[1009] == 0  # It is still here: it has not ended its side.
        raw.sock.shutdown(1)
        assert await raw.rest() == b""
        await eventually(lambda: node.stats.closes[1009] == 1, "the close is counted")


@pytest.mark.parametrize("data", [b"\xff", b'"\xed\xa0\x80"', b'"\xc3'])
async def test_text_that_is_not_utf8(data: bytes) -> None:
    """Text that is not UTF-8 closes the socket with 1007."""
    async with running() as node, RawClient.member(node) as raw:
        await raw.send(client_frame(Opcode.TEXT, data))

        assert (await raw.close_frame())[0] == 1007


@pytest.mark.parametrize(
    "data",
    [
        client_frame(Opcode.TEXT, b"{}", masked=False),
        client_frame(0x3),
        client_frame(Opcode.TEXT | 0x40, b"{}"),
        client_frame(Opcode.CONT, b"{}"),
        client_frame(Opcode.TEXT, b"{", fin=False) + client_frame(Opcode.TEXT, b"}"),
        client_frame(Opcode.PING, b"x" * 126),
        client_frame(Opcode.PING, fin=False),
        client_frame(Opcode.CLOSE, b"\x03"),
        client_frame(Opcode.CLOSE, b"\x03\xed"),
    ],
    ids=[
        "unmasked",
        "unknown opcode",
        "reserved bit",
        "fragment of nothing",
        "message in a message",
        "long ping",
        "fragment of a ping",
        "half a close code",
        "close code 1005",
    ],
)
async def test_frame_against_the_protocol(data: bytes) -> None:
    """A frame that RFC 6455 forbids closes the socket with 1002."""
    async with running() as node, RawClient.member(node) as raw:
        await raw.send(data)

        assert (await raw.close_frame())[0] == 1002
        assert await raw.rest() == b""


async def test_nothing_is_done_after_an_offence() -> None:
    """What comes behind a frame that closes the socket is not read."""
    async with running() as node, RawClient.member(node) as raw:
        await raw.send(client_frame(Opcode.BINARY, b"x") + command("subscribe", rooms=["device:d1"]) + PING)

        assert (await raw.frame()).close[0] == 4400
        assert node.stats.commands["subscribe"] == 0


async def test_commands_before_a_close() -> None:
    """What comes before a close frame in one packet is answered before the close."""
    async with running() as node, RawClient.member(node) as raw:
        await raw.send(PING + client_frame(Opcode.CLOSE, b"\x03\xe8bye") + PING)

        assert (await raw.frame()).message["type"] == "pong"
        assert (await raw.frame()).close == (1000, "bye")
        assert await raw.rest() == b""


async def test_ping_frame() -> None:
    """A ping frame is answered with its payload."""
    async with running() as node, RawClient.member(node) as raw:
        await raw.send(client_frame(Opcode.PING, b"12345"))

        assert await raw.frame() == (Opcode.PONG, b"12345")


@pytest.mark.parametrize(
    "frame",
    [
        client_frame(Opcode.PING),
        client_frame(Opcode.PONG, b"unasked"),
        client_frame(Opcode.CONT, b"", fin=False),
    ],
    ids=["pings", "pongs", "empty fragments"],
)
async def test_flood_of_frames(frame: bytes) -> None:
    """A client that floods with frames that are no commands is closed with 4009; others are served."""
    async with running() as node, member(node, "u2") as other, RawClient.member(node, "u1") as raw:
        await raw.send(client_frame(Opcode.TEXT, b"", fin=False) if frame[0] & 0x0F == Opcode.CONT else b"")
        await raw.send(frame * 5_000)

        assert await raw.close_frame() == (4009, "limit reached: too many frames")
        assert (await ask(other, "ping"))["type"] == "pong"


async def test_flood_of_pings_from_a_client_that_does_not_read() -> None:
    """A client that does not read its pongs is read no more, so that they cannot pile up."""
    async with running(commands_per_second_max=1_000.0) as node:  # The limit on frames is far away.
        async with RawClient.member(node, receive_bytes=4_096) as raw:
            connection = node.connection_of("u1")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(raw.send(client_frame(Opcode.PING, b"x" * 125) * 150_000), 0.5)

            assert connection._transport.get_write_buffer_size() <= 2 * 262_144
        await eventually(lambda: not node.server.connections, "the connection is forgotten")
