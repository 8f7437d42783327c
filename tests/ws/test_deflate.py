"""permessage-deflate (RFC 7692): what is agreed on, what is compressed for whom, and how often."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given, strategies as st
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame as WireFrame, Opcode

from bridge.core.outbox import Frame
from bridge.core.policy import Policy
from bridge.core.stats import Stats
from bridge.ws.deflate import Deflate, Deflates
from bridge.ws.framing import message_of, text_frame
from tests.eventually import eventually
from tests.ws.clients import (
    UPGRADE,
    RawClient,
    ask,
    client,
    client_frame,
    command,
    member,
    numbers,
    receive,
    request,
)
from tests.ws.conftest import Tls
from tests.ws.node import Node, running, token
from tests.ws.spy import Spy

COMPRESSED = 0xC1  # FIN, RSV1, text: the first byte of a compressed message.
PLAIN = 0x81
ALWAYS = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
NARROW = [ClientPerMessageDeflateFactory(server_max_window_bits=10)]
END = b"\x00\x00\xff\xff"  # Taken off every message (section 7.2.1).


def deflated(data: bytes) -> bytes:
    """Compress as a client does."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(END)


def rsv1(frame: bytes) -> bytes:
    """Set the bit that says: compressed."""
    return bytes([frame[0] | 0x40]) + frame[1:]


async def answer_to(node: Node, *offers: str) -> str | None:
    """Return what the server answers to these headers, None if it declines."""
    headers = UPGRADE + "".join(f"Sec-WebSocket-Extensions: {offer}\r\n" for offer in offers)
    async with RawClient.connected(node) as raw:
        await raw.send(request("/ws", headers))
        head = await raw.head()
    assert head.startswith("HTTP/1.1 101 ")
    answers = [line for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Extensions: ")]
    assert len(answers) <= 1
    return answers[0].partition(": ")[2] if answers else None


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ((), None),
        (("permessage-deflate",), ALWAYS),
        (("permessage-deflate; client_max_window_bits",), ALWAYS),
        (("permessage-deflate; client_max_window_bits=10",), f"{ALWAYS}; client_max_window_bits=10"),
        (("permessage-deflate; server_no_context_takeover; client_no_context_takeover",), ALWAYS),
        (("permessage-deflate; server_max_window_bits=9",), f"{ALWAYS}; server_max_window_bits=9"),
        (("permessage-deflate; server_max_window_bits=15",), f"{ALWAYS}; server_max_window_bits=15"),
        (('permessage-deflate; server_max_window_bits="12"',), f"{ALWAYS}; server_max_window_bits=12"),
        (("permessage-deflate; server_max_window_bits=8",), None),
        (("permessage-deflate; server_max_window_bits=16",), None),
        (("permessage-deflate; server_max_window_bits=09",), None),
        (("permessage-deflate; server_max_window_bits",), None),
        (("permessage-deflate; client_max_window_bits=7",), None),
        (("permessage-deflate; server_no_context_takeover=1",), None),
        (("permessage-deflate; server_no_context_takeover; server_no_context_takeover",), None),
        (("permessage-deflate; dictionary",), None),
        (("x-webkit-deflate-frame",), None),
        (("permessage-deflate; server_max_window_bits=8, permessage-deflate",), ALWAYS),
        (
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate",),
            f"{ALWAYS}; server_max_window_bits=10",
        ),
        (("x-other; a=1", "permessage-deflate"), ALWAYS),
    ],
)
async def test_negotiation(offers: tuple[str, ...], answer: str | None) -> None:
    """The first offer that can be kept is taken, never with context takeover; the others are declined."""
    async with running() as node:
        assert await answer_to(node, *offers) == answer


async def test_negotiation_where_it_is_off() -> None:
    """Where compression is off every offer is declined, and the socket goes on without."""
    async with running(compress_bytes_min=None) as node, member(node) as c:
        node.publish(1, padding=5_000)

        assert await numbers(c, 1) == [1]
        assert not c.protocol.extensions
        assert await answer_to(node, "permessage-deflate") is None
        assert not node.stats.compressions


@pytest.mark.parametrize("to", ["all", ("all", "user:u1", "device:d1")], ids=["alike", "mixed"])
@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("padding", [0, 10, 500, 3_000, 70_000, 300_000])
async def test_round_trip(to: str | tuple[str, ...], count: int, padding: int) -> None:
    """A client of another make reads events of every size, alone or joined, on every way to it."""
    async with running(compress_bytes_min=0) as node, member(node, rooms="device:d1", max_size=None) as c:
        node.publish(*range(count), to=to, padding=padding)

        assert await numbers(c, count) == list(range(count))
        assert [type(extension) for extension in c.protocol.extensions] == [PerMessageDeflate]
        assert node.stats.compressions == count
        assert node.stats.compressed_bytes_out <= node.stats.compressed_bytes_in + 10 * count


async def test_commands_of_such_a_client() -> None:
    """Its commands are compressed as well, and are understood one after the other."""
    async with running() as node, member(node) as c:
        for number in range(5):
            assert (await ask(c, "ping", id=number, filler="x" * 2_000))["id"] == number


async def test_over_tls(tls: Tls, spy: Spy) -> None:
    """Over TLS it is the same, and nothing is written past TLS."""
    async with running(tls=tls.server) as node, member(node, ssl=tls.client) as c:
        node.publish(1, padding=2_000)

        assert await numbers(c, 1) == [1]
        assert node.stats.compressions == 1
        assert not spy.writes


@pytest.mark.parametrize("together", [1, 3])
async def test_once_for_each_parameter_set(spy: Spy, together: int) -> None:
    """In a room of many an event is compressed once for each window in use, and they share the bytes."""
    async with running() as node, AsyncExitStack() as stack:
        kinds: dict[str, dict[str, Any]] = {
            "wide": {},
            "narrow": {"extensions": NARROW},
            "plain": {"compression": None},
        }
        clients = [
            await stack.enter_async_context(member(node, f"{kind}{index}", **options))
            for index in range(5)
            for kind, options in kinds.items()
        ]
        sent_before = node.stats.frames_sent, node.stats.bytes_sent
        spy.writes.clear()
        node.publish(*range(together), padding=2_000)

        assert [await numbers(c, together) for c in clients] == [list(range(together))] * 15
        assert node.stats.compressions == 2 * together
        written = [spy.of(node, f"{kind}{index}") for index in range(5) for kind in kinds]
        assert {len(writes) for writes in written} == {1}
        assert len({id(writes[0]) for writes in written}) == 3
        sent = sum(len(writes[0]) for writes in written)
        assert (node.stats.frames_sent, node.stats.bytes_sent) == (
            sent_before[0] + 15 * together,
            sent_before[1] + sent,
        )


async def test_small_events_and_answers(spy: Spy) -> None:
    """Events below the limit, and what is said to one socket alone, go as they are."""
    async with running(compress_bytes_min=1_000) as node, member(node) as c:
        spy.writes.clear()
        node.publish(1, padding=100)
        node.publish(2, padding=1_000)
        assert await numbers(c, 2) == [1, 2]
        assert (await ask(c, "ping", id="x" * 128))["type"] == "pong"

        assert [write[0] for write in spy.of(node)] == [PLAIN, COMPRESSED, PLAIN]


async def test_missed_events() -> None:
    """What a client is sent again goes as it is: compressed, it would be for this socket alone."""
    async with running() as node:
        node.publish(*range(3), padding=2_000)
        async with client(node, f"?token={token()}&epoch=e1&offset=0") as c:
            assert (await receive(c))["data"]["recovered"] is True
            assert await numbers(c, 3) == [0, 1, 2]

            assert c.protocol.extensions
            assert not node.stats.compressions


async def test_no_context_is_kept(spy: Spy) -> None:
    """Between messages a socket holds neither compressor nor decompressor, and each message stands alone."""
    async with running() as node, member(node) as c:
        spy.writes.clear()
        for _ in range(2):
            node.publish(1, padding=2_000)
            await ask(c, "ping", filler="x" * 2_000)
            await c.recv()
        wire = node.connection_of("u1")._wire
        assert wire is not None
        (extension,) = wire.extensions
        assert isinstance(extension, PerMessageDeflate)
        _, second = (write for write in spy.of(node) if write[0] == COMPRESSED)

        assert not hasattr(extension, "decoder")
        assert not hasattr(extension, "encoder")
        plain = zlib.decompressobj(wbits=-12).decompress(message_of(second) + END)
        assert plain.startswith(b'{"offset":2,')


async def test_what_waits_is_counted_as_it_is_written() -> None:
    """For a client that is behind, the outbox holds compressed frames, and counts those."""
    async with running() as node, member(node) as c:
        connection = node.connection_of("u1")
        connection.pause_writing()
        sent = node.stats.bytes_sent
        node.publish(*range(4), padding=10_000)
        node.publish(4, 5, to=("all", "user:u1"), padding=10_000)
        waiting = connection.outbox.bytes_waiting
        connection.resume_writing()

        assert await numbers(c, 6) == list(range(6))
        assert 0 < waiting < 6 * 1_000
        assert node.stats.bytes_sent - sent == waiting


async def test_fragments() -> None:
    """A compressed message may come in fragments, with a ping among them; others may come as they are."""
    async with running() as node, RawClient.connected(node) as raw:
        await offer_deflate(raw)
        data = deflated(b'{"op": "ping", "id": "' + b"za\xc5\xbc" * 20 + b'"}')
        await raw.send(rsv1(client_frame(Opcode.TEXT, data[:5], fin=False)))
        await raw.send(client_frame(Opcode.PING, b"among"))
        assert await raw.frame() == (Opcode.PONG, b"among")
        await raw.send(client_frame(Opcode.CONT, data[5:9], fin=False))
        await raw.send(client_frame(Opcode.CONT, data[9:]))
        await raw.send(command("ping", id="plain"))

        assert (await raw.frame()).message["id"] == "zaż" * 20
        assert (await raw.frame()).message["id"] == "plain"


BOMB = deflated(bytes(50_000_000))


@pytest.mark.parametrize("fragments", [1, 3])
async def test_bomb(fragments: int) -> None:
    """A small message that would become a huge one closes the socket with 1009, and is never held."""
    async with running() as node, RawClient.connected(node) as raw:
        await offer_deflate(raw)
        assert len(BOMB) < 60_000  # Else its size alone would be too much.
        step = len(BOMB) // fragments + 1
        parts = [BOMB[start : start + step] for start in range(0, len(BOMB), step)]
        tracemalloc.start()
        try:
            await raw.send(rsv1(client_frame(Opcode.TEXT, parts[0], fin=fragments == 1)))
            for index, part in enumerate(parts[1:], 2):
                await raw.send(client_frame(Opcode.CONT, part, fin=index == fragments))
            code, _ = await raw.close_frame()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert code == 1009
        assert peak < 2_000_000


async def test_largest_compressed_message() -> None:
    """A compressed message counts by what it becomes: exactly the limit is read, one byte more is not."""
    async with running(message_bytes_max=2_048) as node:
        for size, opcode in ((2_048, Opcode.TEXT), (2_049, Opcode.CLOSE)):
            async with RawClient.connected(node) as raw:
                await offer_deflate(raw)
                data = deflated(b'{"op": "ping"}'.ljust(size))
                await raw.send(rsv1(client_frame(Opcode.TEXT, data)))
                frame = await raw.frame()

                assert frame.opcode == opcode
                assert opcode is Opcode.TEXT or frame.close[0] == 1009


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (rsv1(client_frame(Opcode.TEXT, b"\xff\xff\xff")), 1002),
        (rsv1(client_frame(Opcode.PING, b"")), 1002),
        (client_frame(Opcode.TEXT, b"{", fin=False) + rsv1(client_frame(Opcode.CONT, b"}")), 1002),
        (
            rsv1(client_frame(Opcode.TEXT, b"", fin=False)) + rsv1(client_frame(Opcode.CONT, b"")),
            1002,
        ),
        (rsv1(client_frame(Opcode.TEXT, deflated(b'{"op": "p\xff'))), 1007),
        (rsv1(client_frame(Opcode.BINARY, deflated(b"x"))), 4400),
    ],
    ids=["garbage", "ping", "fragment of a plain message", "fragment", "not UTF-8", "binary"],
)
async def test_against_the_protocol(data: bytes, code: int) -> None:
    """What RFC 7692 forbids, and what would be wrong uncompressed as well, closes with the code for it."""
    async with running() as node, RawClient.connected(node) as raw:
        await offer_deflate(raw)
        await raw.send(data)

        assert (await raw.close_frame())[0] == code


async def test_compressed_without_an_agreement() -> None:
    """The bit without an agreement is against the protocol."""
    async with running() as node, RawClient.member(node) as raw:
        await raw.send(rsv1(client_frame(Opcode.TEXT, deflated(b'{"op": "ping"}'))))

        assert (await raw.close_frame())[0] == 1002


async def test_malformed_offer() -> None:
    """A header that cannot be read is refused as any bad request is."""
    async with running() as node, RawClient.connected(node) as raw:
        await raw.send(request("/ws", f"{UPGRADE}Sec-WebSocket-Extensions: ;;\r\n"))

        assert (await raw.head()).startswith("HTTP/1.1 400 ")
        await eventually(lambda: node.stats.handshakes_refused == {400: 1}, "it is counted")


async def offer_deflate(raw: RawClient) -> None:
    """Get as far as being connected, with compression."""
    headers = f"{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate\r\n"
    await raw.send(request(f"/ws?token={token()}", headers))
    assert ALWAYS in await raw.head()
    assert (await raw.frame()).message["type"] == "connected"


def agreed(window_bits: int) -> PerMessageDeflate:
    """Return what a handshake has agreed on."""
    return PerMessageDeflate(True, True, 15, window_bits)  # noqa: FBT003 - it takes no names


def test_codings_are_shared() -> None:
    """Sockets with one window share one coding, and so do all with a window larger than ours."""
    deflates = Deflates(bytes_min=0, stats=Stats())

    codings = {bits: deflates.of(agreed(bits)) for bits in range(9, 16)}

    assert all(deflates.of(agreed(bits)) is coding for bits, coding in codings.items())
    assert codings[12] is codings[13] is codings[14] is codings[15]
    assert len(set(codings.values())) == 4


def test_what_does_not_become_smaller() -> None:
    """A message that compression makes no smaller goes as it is."""
    stats = Stats()
    frame = Frame(text_frame(random.Random(1).randbytes(600)))  # noqa: S311 - any bytes will do

    assert Deflate(12, bytes_min=0, stats=stats).encode(frame) is frame
    assert stats.compressions == 1


def test_from_the_limit_on() -> None:
    """The limit is that of the message: at it a frame is compressed, below it not even tried."""
    stats = Stats()
    deflate = Deflate(12, bytes_min=100, stats=stats)
    below, at = Frame(text_frame(b"x" * 99)), Frame(text_frame(b"x" * 100))

    assert deflate.encode(below) is below
    assert deflate.encode(at).data[0] == COMPRESSED
    assert stats.compressions == 1


@given(st.binary(max_size=3_000) | st.builds(bytes.__mul__, st.binary(max_size=50), st.integers(0, 3_000)))
@pytest.mark.parametrize("window_bits", [9, 10, 11, 12])
def test_any_message(window_bits: int, message: bytes) -> None:
    """Whatever is compressed, a client with just that window has back, and an outbox all it needs."""
    frame = Frame(text_frame(message), Policy.CONFLATE, "key", 7)

    coded = Deflate(window_bits, bytes_min=0, stats=Stats()).encode(frame)

    sent = WireFrame(Opcode.TEXT, message_of(coded.data), rsv1=coded.data[0] == COMPRESSED)
    client_side = PerMessageDeflate(True, True, window_bits, 15)  # noqa: FBT003 - it takes no names
    assert client_side.decode(sent).data == message
    assert (coded.policy, coded.conflate_key, coded.offset) == (Policy.CONFLATE, "key", 7)
    assert len(coded.data) <= len(frame.data)
