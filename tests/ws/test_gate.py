"""What an HTTP request gets before it becomes a WebSocket."""

from __future__ import annotations

import gc
import time

import pytest
from websockets.http11 import Request

from tests.eventually import eventually
from tests.ws.clients import (
    UPGRADE,
    RawClient,
    client,
    client_frame,
    command,
    member,
    receive,
    refusal_of,
    request,
)
from tests.ws.node import DEADLINE_SECONDS, Node, running, token


async def answer(node: Node, data: bytes) -> str:
    """Send bytes and return the head of the HTTP response."""
    async with RawClient.connected(node) as raw:
        await raw.send(data)
        return await raw.head()


async def test_health_of_a_node_that_is_well() -> None:
    """GET /healthz is answered with 200 and the connection ends."""
    async with running() as node, RawClient.connected(node) as raw:
        await raw.send(request("/healthz", "Host: x\r\n"))

        assert (await raw.head()).startswith("HTTP/1.1 200 ")
        assert await raw.rest() == b"ok\n"


async def test_health_of_a_node_that_is_not_ready() -> None:
    """GET /healthz is answered with 503 while a part of the node is not well."""
    async with running() as node:
        node.healthy = False

        assert (await answer(node, request("/healthz", "Host: x\r\n"))).startswith("HTTP/1.1 503 ")


async def test_path_that_is_not_there() -> None:
    """Any other path is 404."""
    async with running() as node:
        assert (await answer(node, request("/elsewhere"))).startswith("HTTP/1.1 404 ")
        assert node.stats.handshakes_refused[404] == 1


@pytest.mark.parametrize("target", ["//[", "http://[::1/ws", "*", "?token=x"])
async def test_request_target_that_is_no_url(target: str) -> None:
    """A target that cannot be taken apart is a path that is not there."""
    async with running() as node:
        assert (await answer(node, request(target))).startswith("HTTP/1.1 404 ")


async def test_origin_that_is_not_allowed() -> None:
    """A page of a foreign origin is refused with 403, whoever the user is."""
    async with running(allowed_origins=("https://app.example.com",)) as node:
        response = await refusal_of(node, f"?token={token()}", origin="https://evil.example.net")

        assert response.status_code == 403
        assert not node.server.users


async def test_origin_that_is_allowed() -> None:
    """A page of an allowed origin gets in."""
    async with (
        running(allowed_origins=("https://app.example.com",)) as node,
        member(node, origin="https://app.example.com"),
    ):
        assert node.server.users == 1


@pytest.mark.parametrize(("allow_missing_origin", "status"), [(True, 101), (False, 403)])
async def test_origin_that_is_missing(*, allow_missing_origin: bool, status: int) -> None:
    """Whether clients without an origin get in is a setting."""
    async with running(allow_missing_origin=allow_missing_origin) as node:
        assert (await answer(node, request())).startswith(f"HTTP/1.1 {status} ")


async def test_origin_that_is_no_url() -> None:
    """An Origin header that cannot be taken apart is refused with 403."""
    async with running() as node:
        head = await answer(node, request(headers=UPGRADE + "Origin: http://[\r\n"))

        assert head.startswith("HTTP/1.1 403 ")


async def test_too_many_attempts_of_one_address() -> None:
    """Attempts over the limit are refused with 429 and told when to come back."""
    async with running(attempts_per_minute_max=2) as node:
        async with member(node), member(node):
            pass

        response = await refusal_of(node, f"?token={token()}")

        assert response.status_code == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 30


async def test_node_that_does_not_know_the_log_yet() -> None:
    """A socket that comes before the window is filled is told to come back: it would be told wrong things."""
    async with running() as node:
        node.knows_the_log = False

        assert (await refusal_of(node, f"?token={token()}")).status_code == 503


async def test_node_that_is_full() -> None:
    """A socket over the node's limit is refused with 503 and told when to come back; others stay."""
    async with running(sockets_max=2) as node, member(node) as first, member(node):
        response = await refusal_of(node, f"?token={token()}")

        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1
        node.publish(1)
        assert (await receive(first))["data"]["number"] == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST /ws HTTP/1.1\r\n" + UPGRADE.encode() + b"\r\n", 405),
        (request(headers="Host: x\r\n"), 426),
        (request(headers=UPGRADE.replace("Version: 13", "Version: 8")), 400),
        (request(headers=UPGRADE.replace("Key: ", "Key: !")), 400),
        (request(headers=UPGRADE + "Content-Length: 5\r\n"), 400),
        (request(headers="no colon\r\n"), 400),
        (b"GET /ws HTTP/2.0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
    ],
)
async def test_request_that_is_no_upgrade(data: bytes, status: int) -> None:
    """What is not an upgrade to a WebSocket gets the HTTP status that says why."""
    async with running() as node:
        assert (await answer(node, data)).startswith(f"HTTP/1.1 {status} ")
        assert node.stats.handshakes_refused.total() == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("/ws?token=" + "x" * 8_100), 101),
        (request(headers=UPGRADE + "X: " + "x" * 8_100 + "\r\n"), 101),
        (request(headers=UPGRADE + "X: x\r\n" * 120), 101),
        (request(headers=UPGRADE + ("X: " + "x" * 8_000 + "\r\n") * 4), 101),
        (request("/ws?token=" + "x" * 9_000), 414),
        (request(headers=UPGRADE + "X: " + "x" * 9_000 + "\r\n"), 431),
        (request(headers=UPGRADE + "X: x\r\n" * 200), 431),
        (request(headers=UPGRADE + ("X: " + "x" * 4_000 + "\r\n") * 20), 431),
        (b"x" * 100_000, 431),
    ],
)
async def test_length_of_a_request(data: bytes, status: int) -> None:
    """A line over 8 KiB, more than 128 headers or 32 KiB of them are refused as soon as they are."""
    async with running() as node:
        assert (await answer(node, data)).startswith(f"HTTP/1.1 {status} ")


async def test_request_that_never_ends() -> None:
    """A client that sends headers without end can still read why it was refused."""
    async with running() as node, RawClient.connected(node) as raw:
        for _ in range(200):
            await raw.send(b"X: " + b"x" * 8_000 + b"\r\n")

        assert (await raw.head()).startswith("HTTP/1.1 431 ")


@pytest.mark.parametrize("data", [b"", b"GET /ws HT", request()[:-2]])
async def test_request_that_stops_halfway(data: bytes) -> None:
    """A client that does not finish its request in time is dropped."""
    async with running(handshake_seconds_max=0.1) as node, RawClient.connected(node) as raw:
        started = time.monotonic()
        await raw.send(data)

        assert await raw.rest() == b""
        assert 0.05 < time.monotonic() - started < DEADLINE_SECONDS


async def test_request_that_drips() -> None:
    """The time for a request does not begin again with every byte."""
    async with running(handshake_seconds_max=0.15) as node, RawClient.connected(node) as raw:
        await raw.keep_sending(b"x")

        assert not node.server.connections


async def test_request_in_many_pieces() -> None:
    """A request may come byte by byte."""
    async with running() as node, RawClient.connected(node) as raw:
        for byte in request(f"/ws?token={token()}"):
            await raw.send(bytes([byte]))

        assert (await raw.head()).startswith("HTTP/1.1 101 ")
        assert (await raw.frame()).message["type"] == "connected"


async def test_request_and_first_command_in_one_packet() -> None:
    """A client that does not wait for the answer to its request is understood all the same."""
    async with running() as node, RawClient.connected(node) as raw:
        await raw.send(
            request()
            + command("hello", token=token())
            + command("subscribe", rooms=["device:d1"], id=1)
            + client_frame(0x9, b"hi")
        )

        assert (await raw.head()).startswith("HTTP/1.1 101 ")
        assert (await raw.frame()).message["type"] == "connected"
        assert (await raw.frame()).message["type"] == "subscribed"
        assert await raw.frame() == (0xA, b"hi")


async def test_request_with_a_close_behind_it() -> None:
    """A client that opens and closes in one packet gets both answers in order."""
    async with running() as node, RawClient.connected(node) as raw:
        await raw.send(request() + client_frame(0x8, b"\x03\xe8"))

        assert (await raw.head()).startswith("HTTP/1.1 101 ")
        assert (await raw.frame()).close == (1000, "")
        assert await raw.rest() == b""


async def test_client_that_goes_before_the_handshake() -> None:
    """A connection without a request leaves nothing behind."""
    async with running() as node:
        async with RawClient.connected(node) as raw:
            await raw.send(b"GET /ws")
            await eventually(lambda: node.server.connections, "the connection is accepted")
        await eventually(lambda: not node.server.connections, "the connection is forgotten")

        assert not node.stats.closes


async def test_half_closed_request() -> None:
    """A client that ends its stream after the request still gets the answer."""
    async with running() as node, RawClient.connected(node) as raw:
        await raw.send(request("/healthz", "Host: x\r\n"))
        raw.sock.shutdown(1)

        assert (await raw.head()).startswith("HTTP/1.1 200 ")


async def test_headers_are_not_kept() -> None:
    """Nothing of the request, and so no token, is kept for the life of the socket."""
    async with (
        running() as node,
        client(node, additional_headers={"Authorization": f"Bearer {token()}"}) as c,
    ):
        await receive(c)
        gc.collect()

        assert not [thing for thing in gc.get_objects() if type(thing) is Request and thing is not c.request]
