"""What a connected client can ask for, and what it gets for asking wrongly."""

from __future__ import annotations

import json

import pytest

from tests.ws.clients import ask, close_of, member, numbers, receive
from tests.ws.node import running, token


async def test_subscribe_and_unsubscribe() -> None:
    """A socket gets the events of a room from when it joins until it leaves."""
    async with running() as node, member(node) as c:
        node.publish(1, to="device:d1")
        subscribed = await ask(c, "subscribe", rooms=["device:d1"], id=5)
        node.publish(2, to="device:d1")
        event = await receive(c)
        unsubscribed = await ask(c, "unsubscribe", rooms=["device:d1"], id="bye")
        node.publish(3, to="device:d1")
        node.publish(4)

        assert subscribed["id"] == 5
        assert subscribed["data"]["rooms"] == ["device:d1"]
        assert (event["data"]["number"], event["room"], event["offset"]) == (2, "device:d1", 2)
        assert unsubscribed == {"type": "unsubscribed", "id": "bye", "data": {"rooms": ["device:d1"]}}
        assert await numbers(c, 1) == [4]


async def test_event_for_several_of_a_sockets_rooms() -> None:
    """A socket in several rooms of an event gets it once."""
    async with running() as node, member(node, rooms="device:d1") as c:
        node.publish(1, to="device:d1")
        node.publish(2)

        assert await numbers(c, 2) == [1, 2]


async def test_room_that_is_forbidden() -> None:
    """A room that one may not join is an error that says why; nothing of it arrives."""
    async with running() as node, member(node) as c:
        error = await ask(c, "subscribe", rooms=["user:u2"], id=1)
        node.publish(1, to="user:u2")
        node.publish(2)

        assert (error["type"], error["id"], error["data"]["code"]) == ("error", 1, "forbidden")
        assert error["data"]["room"] == "user:u2"
        assert await numbers(c, 1) == [2]
        assert node.stats.errors["forbidden"] == 1


async def test_too_many_rooms() -> None:
    """A socket in as many rooms as it may be is told so, room by room."""
    async with running(rooms_max=3) as node, member(node) as c:
        some = await ask(c, "subscribe", rooms=["device:d1", "device:d2"])
        none = await ask(c, "subscribe", rooms=["device:d3"])

        assert some["data"]["rooms"] == ["device:d1"]
        assert some["data"]["refused"] == [{"room": "device:d2", "code": "too_many_rooms"}]
        assert none["data"]["code"] == "too_many_rooms"


async def test_too_many_rooms_in_one_command() -> None:
    """A command with more rooms than anybody needs is an error."""
    async with running() as node, member(node) as c:
        error = await ask(c, "subscribe", rooms=[f"device:d{n}" for n in range(1_001)])

        assert error["data"]["code"] == "bad_message"


async def test_ping() -> None:
    """A ping is answered with its id, and with how far the socket has come."""
    async with running() as node, member(node) as c:
        node.publish(1)
        await receive(c)

        pong = await ask(c, "ping", id=7)

        assert pong["type"] == "pong"
        assert pong["id"] == 7
        assert pong["data"]["position"]["offset"] == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_json"),
        ("{", "bad_json"),
        ("[" * 5_000, "bad_json"),
        ('{"op": NaN}', "bad_json"),
        ("[]", "bad_message"),
        ("null", "bad_message"),
        ('{"op": 1}', "unknown_op"),
        ('{"op": "dance"}', "unknown_op"),
        ('{"op": "subscribe"}', "bad_message"),
        ('{"op": "subscribe", "rooms": [1]}', "bad_message"),
        ('{"op": "subscribe", "rooms": ["nonsense"]}', "bad_room"),
        ('{"op": "subscribe", "rooms": ["device:d1"], "since": {"offset": -1}}', "bad_position"),
        ('{"op": "ping", "id": {}}', "bad_message"),
        ('{"op": "auth"}', "bad_message"),
    ],
)
async def test_message_that_is_no_command(text: str, code: str) -> None:
    """What is no command is an error with a code, and the socket stays open."""
    async with running() as node, member(node) as c:
        await c.send(text)

        assert (await receive(c))["data"]["code"] == code
        assert (await ask(c, "ping"))["type"] == "pong"


async def test_client_that_makes_nothing_but_mistakes() -> None:
    """A client that goes on sending nonsense is closed with 4400."""
    async with running(mistakes_max=3) as node, member(node) as c:
        for _ in range(3):
            await c.send("nonsense")
            assert (await receive(c))["data"]["code"] == "bad_json"
        await c.send("nonsense")

        assert (await close_of(c))[0] == 4400


async def test_client_that_floods_with_commands() -> None:
    """Commands over the rate are refused one by one, then the socket is closed with 4009."""
    async with (
        running(commands_burst_max=5, commands_per_second_max=1.0, mistakes_max=3) as node,
        member(node, "u2") as other,
        member(node, "u1") as c,
    ):
        for n in range(20):
            await c.send(json.dumps({"op": "ping", "id": n}))
        kinds = [(await receive(c))["type"] for _ in range(7)]

        assert kinds == ["pong"] * 4 + ["error"] * 3
        assert (await close_of(c))[0] == 4009
        assert (await ask(other, "ping"))["type"] == "pong"


async def test_auth_with_a_newer_token() -> None:
    """A newer token is taken on the live socket; rooms that it no longer opens are left."""
    async with running() as node, member(node) as c:
        first = await ask(c, "auth", token=token(rooms=["vip:*"]))
        await ask(c, "subscribe", rooms=["vip:v1"])
        second = await ask(c, "auth", token=token(), id=2)
        node.publish(1, to="vip:v1")
        node.publish(2)

        assert first["data"]["rooms"] == ["user:u1", "all"]
        assert (second["id"], second["data"]["left"]) == (2, ["vip:v1"])
        assert await numbers(c, 1) == [2]


async def test_auth_with_a_bad_token() -> None:
    """A bad newer token is an error; the old one still counts."""
    async with running() as node, member(node) as c:
        assert (await ask(c, "auth", token="x"))["data"]["code"] == "unauthorized"
        assert (await ask(c, "auth", token=token("u2")))["data"]["code"] == "wrong_user"
        node.publish(1, to="user:u1")

        assert await numbers(c, 1) == [1]
