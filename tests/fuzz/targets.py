"""What is fuzzed: each target takes a number of inputs, and must answer every one as it answers anybody."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from websockets.frames import Opcode

from bridge.core.errors import TokenRejected
from tests.fuzz.mutate import Mutator
from tests.ws.clients import UPGRADE, RawClient, client_frame, command, request
from tests.ws.node import COOKIE, EPOCH, Node, token

AT_ONCE = 16  # Connections of one target.
COMMANDS_PER_SOCKET = 100
PAGE = "https://app.example.com"
TOKEN = token("u1")
REQUESTS = (
    request(),
    request(f"/ws?token={TOKEN}&rooms=device:d7,all&epoch={EPOCH}&offset=0"),
    request("/healthz", "Host: x\r\n"),
    request(headers=f"{UPGRADE}Authorization: Bearer {TOKEN}\r\nOrigin: {PAGE}\r\n"),
    request(headers=f"{UPGRADE}Cookie: a=b; {COOKIE}={TOKEN}\r\nOrigin: https://a.example.org:8443\r\n"),
    request(headers=f"{UPGRADE}Sec-WebSocket-Protocol: bridge.v1, bearer.{TOKEN}\r\n"),
    request(headers=f"{UPGRADE}X-Forwarded-For: 198.51.100.1, [2001:db8::7]:80\r\n"),
    request(headers=f"{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"),
    request(f"/ws?token={TOKEN}") + command("subscribe", rooms=["device:d1"]),
)
COMMANDS: tuple[dict[str, object], ...] = (
    {
        "op": "hello",
        "id": "h",
        "token": TOKEN,
        "rooms": ["device:d7"],
        "since": {"epoch": EPOCH, "offset": 0},
    },
    {"op": "subscribe", "id": 1, "rooms": ["device:d7", "user:u2"], "since": {"epoch": EPOCH, "offset": 0}},
    {"op": "unsubscribe", "rooms": ["device:d7"]},
    {"op": "auth", "id": None, "token": TOKEN},
    {"op": "inbox", "after": None, "limit": 10},
    {"op": "read", "ids": ["1"]},
    {"op": "ping", "id": "p"},
)
FRAMES = (
    *(client_frame(Opcode.TEXT, json.dumps(one).encode()) for one in COMMANDS),
    client_frame(Opcode.TEXT, b'{"op": "pi', fin=False) + client_frame(Opcode.CONT, b'ng"}'),
    client_frame(Opcode.TEXT, b"x" * 70_000),
    client_frame(Opcode.BINARY, b"x" * 200),
    client_frame(Opcode.PING, b"hi") + client_frame(Opcode.PONG, b"hi"),
    client_frame(Opcode.CLOSE, b"\x03\xe8goodbye"),
    client_frame(Opcode.TEXT, b"unmasked", masked=False),
)
SECRET = b"a secret of thirty-two characters"  # With which TOKEN is signed.
CLAIMS: dict[str, object] = {
    "sub": "u1",
    "exp": int(time.time()) + 600,
    "iat": 1,
    "nbf": 1,
    "jti": "j",
    "roles": ["admin"],
    "rooms": ["device:*"],
    "aud": "a",
    "iss": "i",
}
HEADER: dict[str, object] = {"alg": "HS256", "typ": "JWT", "kid": "k"}


async def fuzz_requests(node: Node, mutator: Mutator, inputs: int) -> None:
    """Mutated requests, each on a connection of its own, in one piece or two."""
    await _each(
        inputs, lambda: _say(node, mutator, mutator.mutated(mutator.random.choice(REQUESTS), REQUESTS))
    )


async def fuzz_frames(node: Node, mutator: Mutator, inputs: int) -> None:
    """Mutated frames on a socket of somebody who is known."""
    hello = request(f"/ws?token={TOKEN}")

    def one() -> Awaitable[None]:
        frames = b"".join(mutator.random.choices(FRAMES, k=mutator.random.randint(1, 3)))
        return _say(node, mutator, hello + mutator.mutated(frames, FRAMES))

    await _each(inputs, one)


async def fuzz_commands(node: Node, mutator: Mutator, inputs: int) -> None:
    """Mutated JSON in proper frames, many on a socket of somebody who is known."""

    def one() -> Awaitable[None]:
        return _converse(
            node, [client_frame(Opcode.TEXT, _json(mutator)) for _ in range(COMMANDS_PER_SOCKET)]
        )

    await _each(-(-inputs // COMMANDS_PER_SOCKET), one)


async def fuzz_hellos(node: Node, mutator: Mutator, inputs: int) -> None:
    """Mutated JSON as the first messages of a socket."""

    def one() -> Awaitable[None]:
        return _say(
            node, mutator, request() + b"".join(client_frame(Opcode.TEXT, _json(mutator)) for _ in "12")
        )

    await _each(-(-inputs // 2), one)


async def fuzz_tokens(node: Node, mutator: Mutator, inputs: int) -> None:
    """Mutated tokens: with signatures that do not fit, and properly signed ones that say anything."""
    for number in range(inputs):
        text = mutator.mutated(TOKEN.encode()).decode(errors="replace") if number % 2 else _signed(mutator)
        with suppress(TokenRejected):
            node.server.verify(text)
        if not number % 1_000:
            await asyncio.sleep(0)


TARGETS: dict[str, tuple[float, Callable[[Node, Mutator, int], Awaitable[None]]]] = {
    # By name: its share of the inputs.
    "requests": (0.2, fuzz_requests),
    "frames": (0.2, fuzz_frames),
    "commands": (0.2, fuzz_commands),
    "hellos": (0.1, fuzz_hellos),
    "tokens": (0.3, fuzz_tokens),
}


def _json(mutator: Mutator) -> bytes:
    sample = mutator.random.choice(COMMANDS)
    if mutator.random.randrange(2):
        return mutator.changed(sample)
    # What is not UTF-8 ends the socket, and all commands behind it would be lost; frames have enough of it.
    return mutator.mutated(json.dumps(sample).encode()).decode(errors="replace").encode()


def _signed(mutator: Mutator) -> str:
    """Return a token that is signed with the right key, whatever it says."""
    head = mutator.changed(HEADER) if not mutator.random.randrange(4) else json.dumps(HEADER).encode()
    body = mutator.changed(CLAIMS)
    if not mutator.random.randrange(4):
        body = mutator.mutated(body)
    return sign(head, body)


def sign(head: bytes, body: bytes) -> str:
    """Return a JSON Web Signature in its compact form (RFC 7515 section 7.1)."""
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (head, body))
    signature = hmac.digest(SECRET, text, hashlib.sha256)
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def _each(count: int, one: Callable[[], Awaitable[None]]) -> None:
    """Do something so many times, a few at once."""
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            await one()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(work())


async def _say(node: Node, mutator: Mutator, data: bytes) -> None:
    """Send something, and wait until the server has read it all and has closed."""
    cut = mutator.random.randint(0, len(data)) if mutator.random.randrange(2) else 0
    async with RawClient.connected(node) as raw:
        try:
            for piece in filter(None, (data[:cut], data[cut:])):
                await raw.send(piece)
            raw.sock.shutdown(1)
        except OSError:
            return  # The server had enough before the end.
        await raw.rest()


async def _converse(node: Node, frames: Sequence[bytes]) -> None:
    """Send commands as somebody who is known, and wait until the last is answered or the socket closed."""
    async with RawClient.member(node) as raw:
        await raw.send(b"".join(frames) + command("ping", id="the last"))
        with suppress(EOFError, ConnectionError):
            while (frame := await raw.frame()).opcode != Opcode.CLOSE and b'"the last"' not in frame.data:
                pass
