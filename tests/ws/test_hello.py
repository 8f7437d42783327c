"""Who a client is: a token in any of its places, and what becomes of those without a good one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bridge.core.access import Principal
from tests.ws.clients import RawClient, ask, client, close_of, member, numbers, receive, request
from tests.ws.node import COOKIE, EPOCH, running, token

TOKEN = token("u7")
PAGE = "https://app.example.com"


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"additional_headers": {"Authorization": f"Bearer {TOKEN}"}}),
        ("", {"additional_headers": {"X-Auth-Token": TOKEN}}),
        ("", {"additional_headers": {"Cookie": f"theme=dark; {COOKIE}={TOKEN}"}, "origin": PAGE}),
        ("", {"subprotocols": ["bridge.v1", f"bearer.{TOKEN}"]}),
        (f"?token={TOKEN}", {}),
    ],
    ids=["authorization", "x-auth-token", "cookie", "subprotocol", "query"],
)
async def test_token_in_the_handshake(query: str, options: dict[str, Any]) -> None:
    """A token in any place of the handshake is a hello."""
    async with running(allowed_origins=(PAGE,)) as node, client(node, query, **options) as c:
        connected = await receive(c)

        assert connected["type"] == "connected"
        assert connected["data"]["userId"] == "u7"
        assert connected["data"]["rooms"] == ["user:u7", "all"]


async def test_token_in_the_first_message() -> None:
    """A hello in the first message does the same, and its id is repeated."""
    async with running() as node, client(node) as c:
        connected = await ask(c, "hello", token=TOKEN, rooms=["device:d1"], id="h1")

        assert connected["id"] == "h1"
        assert connected["data"]["rooms"] == ["user:u7", "all", "device:d1"]


async def test_answer_to_hello() -> None:
    """`connected` says all that a client needs to know of its session."""
    async with running() as node, client(node, f"?token={token(seconds=3600)}&rooms=device:d1,user:u2") as c:
        data = (await receive(c))["data"]

        assert data.pop("clientId")
        assert data.pop("expiresAt").endswith("Z")
        assert data == {
            "userId": "u1",
            "message": "Successfully connected to WebSocket server",
            "rooms": ["user:u1", "all", "device:d1"],
            "refused": [{"room": "user:u2", "code": "forbidden"}],
            "position": {"epoch": EPOCH, "offset": 0},
            "recovered": False,
            "pingInterval": 25.0,
        }


async def test_subprotocol_is_chosen() -> None:
    """A client that offers bridge.v1 gets it back; the token that it offers beside it is not echoed."""
    async with running() as node:
        async with client(node, subprotocols=["bridge.v1", f"bearer.{TOKEN}"]) as c:
            assert c.subprotocol == "bridge.v1"
        async with client(node) as c:
            assert c.subprotocol is None


@pytest.mark.parametrize("origin", ["https://evil.example.net", "null", None])
async def test_cookie_of_a_foreign_page(origin: str | None) -> None:
    """A cookie speaks for the user only on pages that say they are ours, whoever else is let in."""
    async with running(allowed_origins=("*",), allow_missing_origin=True) as node:
        headers = {"Cookie": f"{COOKIE}={TOKEN}"}
        async with client(node, additional_headers=headers, origin=origin) as c:
            answer = await ask(c, "subscribe", rooms=[])

            assert answer["data"]["code"] == "not_authenticated"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (token(seconds=-10), "expired"),
        (TOKEN[:-4] + "AAAA", "bad_signature"),
        ("not.a.token", "malformed"),
        ("x" * 5_000, "malformed"),
    ],
)
async def test_token_that_is_no_good(bad: str, reason: str) -> None:
    """A bad token is refused after the upgrade, with 4401 and a reason that a browser can read."""
    async with running() as node, client(node, f"?token={bad}") as c:
        code, text = await close_of(c)

        assert code == 4401
        assert text.startswith(f"{reason}: ")
        assert node.stats.tokens_rejected[reason] == 1
        assert node.stats.sockets_opened == 1


async def test_token_that_is_no_good_in_the_first_message() -> None:
    """It is the same for a hello that comes as a message."""
    async with running() as node, client(node) as c:
        await c.send('{"op": "hello", "token": ""}')

        assert (await close_of(c))[0] == 4401


async def test_client_that_never_says_hello() -> None:
    """A socket that does not introduce itself in time is closed with 4401."""
    async with running(hello_seconds_max=0.1) as node, client(node) as c:
        started = time.monotonic()
        code, text = await close_of(c)

        assert (code, text.partition(":")[0]) == (4401, "missing")
        assert time.monotonic() - started > 0.05


async def test_client_that_talks_instead_of_saying_hello() -> None:
    """Only a ping is answered before hello, and none of it buys time."""
    async with running(hello_seconds_max=0.2) as node, client(node) as c:
        assert await ask(c, "ping", id=1) == {"type": "pong", "id": 1}
        assert (await ask(c, "subscribe", rooms=["all"]))["data"]["code"] == "not_authenticated"
        node.publish(1)

        assert (await close_of(c))[0] == 4401


async def test_hello_twice() -> None:
    """A second hello is an error; the first one stands."""
    async with running() as node, member(node) as c:
        assert (await ask(c, "hello", token=token("u2")))["data"]["code"] == "already_connected"
        node.publish(1, to="user:u1")
        node.publish(2, to="user:u2")
        node.publish(3)
        assert await numbers(c, 2) == [1, 3]


@pytest.mark.parametrize("query", [f"&epoch={EPOCH}&offset=x", "&offset=1", "&x=1" * 40])
async def test_query_that_is_malformed(query: str) -> None:
    """A position in the query that is none closes the socket with 4400."""
    async with running() as node, client(node, f"?token={TOKEN}{query}") as c:
        assert (await close_of(c))[0] == 4400


async def test_too_many_sockets_of_one_user() -> None:
    """A user's socket over the limit is closed with 4009; when one goes, another may come."""
    async with running(sockets_per_user_max=2) as node, member(node):
        async with member(node):
            async with client(node, f"?token={token()}") as c:
                assert (await close_of(c))[0] == 4009
            async with member(node, "u2"):
                assert node.server.users == 2
        async with member(node):
            pass


async def test_client_that_has_seen_more_than_the_node() -> None:
    """A client from a node that is ahead is answered once this one has caught up."""
    async with running() as node, client(node, f"?token={TOKEN}&epoch={EPOCH}&offset=2") as c:
        node.publish(1)
        node.publish(2)

        connected = await receive(c)

        assert connected["data"]["recovered"]
        assert connected["data"]["position"] == {"epoch": EPOCH, "offset": 2}


async def test_client_that_goes_while_the_node_catches_up() -> None:
    """A client that does not wait for that is not counted as a socket of its user."""
    async with running() as node:
        async with RawClient.connected(node) as raw:
            await raw.send(request(f"/ws?token={TOKEN}&epoch={EPOCH}&offset=2"))
            await raw.head()

        async with member(node):
            assert node.server.users == 1


async def test_verification_that_fails_by_our_fault() -> None:
    """What we did not foresee closes this socket with 1011, is logged, and touches no other socket."""
    good = Principal("u1", expires_at=time.time() + 60)

    def verify(text: str) -> Principal:
        if text == "bad":
            raise RuntimeError("out of order")
        return good

    async with running(verify=verify) as node, client(node, "?token=good") as other:
        assert (await receive(other))["type"] == "connected"
        async with client(node, "?token=bad") as c:
            assert (await close_of(c))[0] == 1011

        assert len(node.diary.told("ws.failed")) == 1
        assert (await ask(other, "ping"))["type"] == "pong"


async def test_log_lines_hold_no_token() -> None:
    """A socket's life is logged with ids, never with its token."""
    async with running() as node:
        async with client(node, f"?token={TOKEN}") as c:
            await receive(c)
        async with client(node, f"?token={TOKEN}x") as c:
            await close_of(c)

    assert node.diary.told("ws.closed")[0]["user_id"] == "u7"
    assert TOKEN not in str(node.diary.lines)
