"""Compressed messages that are small on the wire and large in memory (RFC 7692 section 8)."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from websockets.frames import Opcode

from tests.ws.clients import UPGRADE, RawClient, client_frame, request
from tests.ws.node import running, token

RSV1 = 0x40  # Marks a compressed message.
BOMB_BYTES = 64_000_000


def bomb() -> bytes:
    """Return 64 MB of white space, compressed as a message is."""
    compress = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = b"".join(compress.compress(b" " * 1_000_000) for _ in range(BOMB_BYTES // 1_000_000))
    return (data + compress.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


@pytest.mark.parametrize("parts", [1, 10])
async def test_compression_bomb(parts: int) -> None:
    """A message is too big for what it becomes, not for what it is; before that takes any memory.

    Where compression is not negotiated, a compressed message is against the protocol.
    """
    data = bomb()
    size = len(data) // parts + 1
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    async with running() as node, RawClient.connected(node) as raw:
        offer = f"{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate\r\n"
        await raw.send(request(f"/ws?token={token()}", offer))
        negotiated = "permessage-deflate" in await raw.head()
        await raw.frame()
        tracemalloc.start()
        for number, piece in enumerate(pieces):
            opcode = Opcode.CONT if number else Opcode.TEXT | RSV1
            await raw.send(client_frame(opcode, piece, fin=number == len(pieces) - 1))
        code, _ = await raw.close_frame()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert code == (1009 if negotiated else 1002)
    assert most < BOMB_BYTES / 20


async def test_compressed_message_that_nobody_agreed_on() -> None:
    """A client that did not offer compression may not use it."""
    async with running() as node, RawClient.member(node) as raw:
        await raw.send(client_frame(Opcode.TEXT | RSV1, b"\x00"))

        assert (await raw.close_frame())[0] == 1002
