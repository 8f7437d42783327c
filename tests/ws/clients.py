"""Clients: `websockets` for those that behave, bare sockets for those that do not."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode, Opcode
from websockets.http11 import Response

from tests.ws.node import DEADLINE_SECONDS, HOST, Node, token

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x01\x02\x03\x04"
UPGRADE = (
    f"Host: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
)

Message = dict[str, Any]


@asynccontextmanager
async def client(node: Node, query: str = "", **options: Any) -> AsyncIterator[ClientConnection]:  # noqa: ANN401
    """Open a WebSocket as a program would. `options` are those of the library."""
    options.setdefault("ping_interval", None)
    options.setdefault("close_timeout", DEADLINE_SECONDS)
    async with asyncio.timeout(DEADLINE_SECONDS):
        socket_ = await connect(f"{node.url}{query}", proxy=None, **options)
    async with socket_:
        yield socket_


@asynccontextmanager
async def member(
    node: Node,
    user_id: str = "u1",
    *,
    rooms: str = "",
    **options: Any,  # noqa: ANN401 - as client
) -> AsyncIterator[ClientConnection]:
    """Open a WebSocket and get as far as being connected as a user, in rooms separated by commas."""
    async with client(node, f"?token={token(user_id)}&rooms={rooms}", **options) as socket_:
        assert (await receive(socket_))["type"] == "connected"
        yield socket_


async def receive(socket_: ClientConnection) -> Message:
    """Return the next message."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        message: Message = json.loads(await socket_.recv())
    return message


async def numbers(socket_: ClientConnection, count: int) -> list[int]:
    """Return the numbers of the next events."""
    return [(await receive(socket_))["data"]["number"] for _ in range(count)]


async def ask(socket_: ClientConnection, op: str, **values: Any) -> Message:  # noqa: ANN401 - JSON
    """Send a command and return the next message."""
    await socket_.send(json.dumps({"op": op, **values}))
    return await receive(socket_)


async def close_of(socket_: ClientConnection) -> tuple[int, str]:
    """Wait until the server closes; return code and reason. What comes before is skipped."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            while True:
                await socket_.recv()
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                return CloseCode.ABNORMAL_CLOSURE, ""
            return closed.rcvd.code, closed.rcvd.reason


async def refusal_of(node: Node, query: str = "", **options: Any) -> Response:  # noqa: ANN401 - as client
    """Try to open a WebSocket and return the HTTP response that refuses it."""
    try:
        async with client(node, query, **options):
            raise AssertionError("it was not refused")
    except InvalidStatus as refused:
        return refused.response


class Frame(NamedTuple):
    """A frame from the server."""

    opcode: int
    data: bytes

    @property
    def message(self) -> Message:
        """The JSON object in a text frame."""
        assert self.opcode == Opcode.TEXT
        message: Message = json.loads(self.data)
        return message

    @property
    def close(self) -> tuple[int, str]:
        """The code and the reason in a close frame."""
        assert self.opcode == Opcode.CLOSE
        return struct.unpack("!H", self.data[:2])[0], self.data[2:].decode()


def client_frame(opcode: int, data: bytes = b"", *, fin: bool = True, masked: bool = True) -> bytes:
    """Return a frame as clients send them (RFC 6455 section 5.2)."""
    head = bytes([opcode | (0x80 if fin else 0)])
    mask_bit = 0x80 if masked else 0
    if len(data) < 126:
        head += bytes([mask_bit | len(data)])
    elif len(data) < 65_536:
        head += struct.pack("!BH", mask_bit | 126, len(data))
    else:
        head += struct.pack("!BQ", mask_bit | 127, len(data))
    if not masked:
        return head + data
    mask = (MASK * (len(data) // 4 + 1))[: len(data)]
    return (
        head + MASK + (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(data), "big")
    )


def command(op: str, **values: Any) -> bytes:  # noqa: ANN401 - JSON
    """Return a command as a text frame."""
    return client_frame(Opcode.TEXT, json.dumps({"op": op, **values}).encode())


def request(path: str = "/ws", headers: str = UPGRADE) -> bytes:
    """Return an HTTP request."""
    return f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode()


class RawClient:
    """A TCP client that reads only when it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self.sock = sock
        self.unread = b""

    @classmethod
    @asynccontextmanager
    async def connected(cls, node: Node, *, receive_bytes: int = 0) -> AsyncIterator[Self]:
        """Connect; with a small receive buffer the kernel soon takes no more while nothing is read."""
        with socket.socket() as sock:
            sock.settimeout(0)
            if receive_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            raw = cls(sock)
            async with asyncio.timeout(DEADLINE_SECONDS):
                await raw._loop.sock_connect(sock, (HOST, node.port))
            yield raw

    @classmethod
    @asynccontextmanager
    async def member(cls, node: Node, user_id: str = "u1", *, receive_bytes: int = 0) -> AsyncIterator[Self]:
        """Connect and get as far as being connected as a user."""
        async with cls.connected(node, receive_bytes=receive_bytes) as raw:
            await raw.send(request(f"/ws?token={token(user_id)}"))
            assert (await raw.head()).startswith("HTTP/1.1 101 ")
            assert (await raw.frame()).message["type"] == "connected"
            yield raw

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._loop.sock_sendall(self.sock, data)

    async def keep_sending(self, data: bytes) -> None:
        """Send the same again and again, a little at a time, until the connection breaks."""
        with suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE_SECONDS):
                while True:
                    await self.send(data)
                    await asyncio.sleep(0.01)

    async def head(self) -> str:
        """Return the head of an HTTP response."""
        while b"\r\n\r\n" not in self.unread:
            await self._more()
        head, _, self.unread = self.unread.partition(b"\r\n\r\n")
        return head.decode()

    async def frame(self) -> Frame:
        """Return the next frame."""
        opcode = (await self._take(1))[0] & 0x0F
        length = (await self._take(1))[0]
        if length == 126:
            length = int.from_bytes(await self._take(2), "big")
        elif length == 127:
            length = int.from_bytes(await self._take(8), "big")
        return Frame(opcode, await self._take(length))

    async def close_frame(self) -> tuple[int, str]:
        """Skip frames up to the close frame; return its code and reason."""
        while (frame := await self.frame()).opcode != Opcode.CLOSE:
            pass
        return frame.close

    async def rest(self) -> bytes:
        """Return everything up to the end of the stream, however it ends."""
        try:
            while True:
                await self._more()
        except (EOFError, ConnectionResetError):
            rest, self.unread = self.unread, b""
            return rest

    async def _take(self, count: int) -> bytes:
        while len(self.unread) < count:
            await self._more()
        taken, self.unread = self.unread[:count], self.unread[count:]
        return taken

    async def _more(self) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            data = await self._loop.sock_recv(self.sock, 65_536)
        if not data:
            raise EOFError("the server has ended the stream")
        self.unread += data
