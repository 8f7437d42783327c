"""What sockets get of the database: a real process between RabbitMQ, PostgreSQL and WebSockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed

from bridge.store.connecting import Connection
from tests.amqp.bus import Bus
from tests.commands import environment
from tests.databases import proxied
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.servers import Prefix, SharedBroker
from tests.store.tables import DEVICE_QUERY, USER_QUERY
from tests.test_end_to_end import Client, ServedNode, bus_of, client, fresh, publish, serving


@pytest.fixture
async def line(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy in front of the database, and the URL through it."""
    async with proxied(url) as both:
        yield both


@pytest.fixture
async def node(
    rabbitmq: SharedBroker, prefix: Prefix, line: tuple[Proxy, str], tmp_path: Path
) -> AsyncIterator[ServedNode]:
    """A node with everything from the database, ready."""
    _, through = line
    variables = environment(
        rabbitmq.url,
        prefix,
        DATABASE_URL=through,
        BRIDGE_USERS__QUERY=USER_QUERY,
        BRIDGE_GRANTS__DEVICE__QUERY=DEVICE_QUERY,
        BRIDGE_INBOX__ENABLED="true",
        BRIDGE_DATABASE__QUERY_SECONDS_MAX="1",
        BRIDGE_DATABASE__ANSWER_SECONDS_MAX="600",
    )
    with serving(variables, tmp_path) as node:
        await node.ready()

        async def attached() -> bool:
            return all((await node.readiness())[1].values())

        await eventually(attached, "the database is attached")
        yield node


@pytest.fixture
async def bus(rabbitmq: SharedBroker, prefix: Prefix) -> AsyncIterator[Bus]:
    """The node's bus."""
    async with bus_of(rabbitmq.url, prefix) as bus:
        yield bus


async def told(page: Client, kind: str, command_id: str | None = None) -> dict[str, Any]:
    """Wait until a page is told something of a kind, for a command if it is an answer; return what."""

    def found() -> list[dict[str, Any]]:
        return [
            frame["data"]
            for frame in page.frames
            if frame["type"] == kind and (command_id is None or frame.get("id") == command_id)
        ]

    return (await eventually(found, f"{kind} {command_id}"))[-1]


async def first(node: ServedNode, user: str) -> tuple[dict[str, Any], int]:
    """Return the first message to a client, and the code with which it is closed, 0 if it is not."""
    url = f"ws://127.0.0.1:{await node.port('public')}/ws?token={node.token(user)}"
    async with connect_socket(url) as socket:
        message: dict[str, Any] = {}
        try:
            message = json.loads(await socket.recv())
            if message["type"] != "connected":
                await socket.recv()
        except ConnectionClosed as closed:
            return message, closed.rcvd.code if closed.rcvd else -1
        return message, 0


def has_unread(page: Client, unread: int) -> bool:
    """Tell whether a page was told that so much is unread."""
    return any(frame["type"] == "unread" and frame["data"] == {"unread": unread} for frame in page.frames)


@pytest.mark.parametrize(
    ("user", "code"), [("u1", 0), ("o'brien", 0), ("blocked", 4403), ("undecided", 4403), ("nobody", 4403)]
)
async def test_user_check(node: ServedNode, user: str, code: int) -> None:
    """Whoever is not there, or not active, is closed with 4403, however good the token."""
    assert (await first(node, user))[1] == code


async def test_grants(node: ServedNode, bus: Bus, sql: Connection) -> None:
    """Rooms are joined by the operator's table; a row that goes, with an event, takes the socket out."""
    async with client(node, "u1") as page:
        await page.send(op="subscribe", id="a", rooms=["device:d1", "device:d9", "device:d2"])
        answer = await told(page, "subscribed", "a")
        assert answer["rooms"] == ["device:d1", "device:d2"]
        assert answer["refused"] == [{"room": "device:d9", "code": "forbidden"}]

        await sql.execute("DELETE FROM devices WHERE device_id = 'd1'")
        await publish(bus, "grant.revoked", userId="u1", room="device:d1")
        assert await told(page, "revoked") == {"rooms": ["device:d1"]}
        await page.send(op="subscribe", id="b", rooms=["device:d1"])
        assert (await told(page, "error", "b"))["code"] == "forbidden"

        await sql.execute("INSERT INTO devices VALUES ('d1', 'u1')")
        await publish(bus, "grant.added", userId="u1", room="device:d1")

        async def joined() -> bool:
            command_id = fresh("again")
            await page.send(op="subscribe", id=command_id, rooms=["device:d1"])
            await eventually(lambda: any(frame.get("id") == command_id for frame in page.frames))
            return any(
                frame.get("id") == command_id and frame["type"] == "subscribed" for frame in page.frames
            )

        await eventually(joined, "what was remembered to the contrary is forgotten")


async def test_inbox_of_a_user_who_was_away(node: ServedNode, bus: Bus) -> None:
    """What happened while nobody was there waits; what is read on one socket is read on all."""
    event_id = await publish(bus, "order.completed", userId="u1", orderId="o1", amount="29.90")

    async def waits() -> bool:
        return bool((await first(node, "u1"))[0]["data"]["unread"])

    await eventually(waits, "it is in the inbox")
    async with client(node, "u1") as one, client(node, "u1") as two:
        await one.send(op="inbox", id="i")
        page = await told(one, "inbox", "i")
        (item,) = page["items"]
        assert (item["event"]["type"], item["event"]["id"], item["read"]) == (
            "order.completed",
            event_id,
            False,
        )

        await one.send(op="read", id="r", ids=[item["id"]])
        assert await told(one, "read", "r") == {"unread": 0}
        for each in (one, two):
            assert await told(each, "unread") == {"unread": 0}

        await publish(bus, "order.completed", userId="u1", orderId="o2", amount="1.00")
        for each in (one, two):
            await eventually(partial(has_unread, each, 1), "one more")


async def test_database_down(node: ServedNode, line: tuple[Proxy, str]) -> None:
    """Without the database nobody new gets in and no query opens a room; sockets and other rooms stay."""
    proxy, _ = line
    async with client(node, "u1", rooms=("match:*",)) as page:
        proxy.swallow()
        await proxy.cut()
        await page.send(op="subscribe", id="a", rooms=["device:d1", "match:m1"])
        answer = await told(page, "subscribed", "a")
        assert answer["rooms"] == ["match:m1"]
        assert answer["refused"] == [{"room": "device:d1", "code": "unavailable"}]

        message, code = await first(node, "u2")
        assert (message["type"], code) == ("draining", 1012)
        assert (await node.readiness())[0] == 200
        assert not all((await node.readiness())[1].values())

        proxy.forward()

        async def back() -> bool:
            return (await first(node, "u2"))[1] == 0

        await eventually(back, "it is back")
        assert page.closed is None
