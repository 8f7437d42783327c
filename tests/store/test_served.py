"""Two bridges that run, with a real RabbitMQ, a real PostgreSQL and real WebSockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bridge.store.connecting import Connection
from tests.commands import environment
from tests.databases import proxied
from tests.eventually import eventually
from tests.servers import Prefix, SharedBroker
from tests.store.tables import DEVICE_QUERY, USER_QUERY
from tests.test_end_to_end import Client, ServedNode, bus_of, client, publish, serving


def variables(broker: SharedBroker, prefix: Prefix, url: str, **changes: str) -> dict[str, str]:
    """Return the environment of a bridge that asks the database for everything."""
    return environment(
        broker.url,
        prefix,
        DATABASE_URL=url,
        BRIDGE_EVENT_LOG__KIND="stream",
        BRIDGE_USERS__QUERY=USER_QUERY,
        BRIDGE_GRANTS__DEVICE__QUERY=DEVICE_QUERY,
        BRIDGE_INBOX__ENABLED="true",
        **changes,
    )


@asynccontextmanager
async def two_nodes(settings: dict[str, str], folder: Path) -> AsyncIterator[tuple[ServedNode, ServedNode]]:
    """Run two nodes until they are ready, and each of their parts is well."""
    async with AsyncExitStack() as stack:
        nodes = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            nodes.append(stack.enter_context(serving(settings, folder / name)))
        for node in nodes:
            await node.ready()

            async def well(node: ServedNode = node) -> bool:
                return all((await node.readiness())[1].values())

            await eventually(well, "every part is well")
        yield nodes[0], nodes[1]


async def answer(page: Client, kind: str) -> dict[str, Any]:
    """Wait for a message of this kind; return the newest."""

    def found() -> list[dict[str, Any]]:
        return [frame for frame in page.frames if frame["type"] == kind]

    return (await eventually(found, kind))[-1]


async def readyz(node: ServedNode) -> dict[str, Any]:
    """Return what a node says of its parts."""
    url = f"http://127.0.0.1:{await node.port('admin')}/readyz"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        body: dict[str, Any] = await response.json()
    assert body["ready"] == (response.status == 200)
    return body


async def degraded(node: ServedNode) -> bool:
    """Tell whether a node says that it is ready and degraded."""
    body = await readyz(node)
    return bool(body["ready"] and body["degraded"])


async def projects(node: ServedNode) -> bool:
    """Tell whether this is the node that fills the inboxes."""
    (inbox,) = [part for part in (await readyz(node))["parts"] if part["part"] == "inbox"]
    return bool(inbox["ok"] and "standing by" not in inbox["detail"])


async def test_inbox(
    rabbitmq: SharedBroker, prefix: Prefix, url: str, sql: Connection, tmp_path: Path
) -> None:
    """What happened while a user was away is there, on whichever node, and read on one is read on all."""
    del sql
    deposit = {"transactionId": "t1", "amount": "5.00", "newBalance": "9.00"}
    async with (
        two_nodes(variables(rabbitmq, prefix, url), tmp_path) as (one, two),
        bus_of(rabbitmq.url, prefix) as bus,
    ):
        first = await publish(bus, "wallet.deposit_completed", userId="u1", **deposit)
        await publish(bus, "quota.updated", userId="u1", quotaId="q1", limits={}, usage={})

        async def waits() -> bool:
            async with client(two, "u1") as page:
                return bool(page.hello["data"]["unread"] == 1)

        await eventually(waits, "it waits in the inbox")
        async with client(one, "u1") as page, client(two, "u1") as other:
            await page.send(op="inbox", limit=10, id=1)
            (item,) = (await answer(page, "inbox"))["data"]["items"]
            assert (item["event"]["id"], item["event"]["data"]["newBalance"]) == (first, "9.00")
            second = await publish(
                bus, "wallet.deposit_completed", userId="u1", **deposit | {"transactionId": "t2"}
            )
            await other.gets(second)
            for each in (page, other):
                await hears(each, 2)
            await page.send(op="read", ids=[item["id"]], id=2)
            for each in (page, other):
                await hears(each, 1)


async def test_the_other_takes_over(
    rabbitmq: SharedBroker, prefix: Prefix, url: str, sql: Connection, tmp_path: Path
) -> None:
    """When the node that fills the inboxes is killed, the other goes on: every event once, none left out."""
    async with (
        two_nodes(variables(rabbitmq, prefix, url), tmp_path) as (one, two),
        bus_of(rabbitmq.url, prefix) as bus,
    ):
        first, second = (one, two) if await projects(one) else (two, one)
        assert not await projects(second)
        order = {"userId": "u1", "paymentId": "p1"}
        for number in range(20):
            await publish(bus, "order.completed", orderId=f"o{number}", **order)
        first.process.kill()
        for number in range(20, 40):
            await publish(bus, "order.completed", orderId=f"o{number}", **order)

        async def filled() -> list[int]:
            rows = await sql.fetch("SELECT payload FROM bridge.inbox_item ORDER BY item_id")
            orders = [int(json.loads(row["payload"])["data"]["orderId"].removeprefix("o")) for row in rows]
            return orders if len(orders) >= 40 else []

        assert await eventually(filled, "the inbox is filled", seconds_max=30.0) == list(range(40))
        assert await projects(second)


async def hears(page: Client, unread: int) -> None:
    """Wait until the newest unread count that a page was told is this one."""

    def told() -> bool:
        return [frame["data"]["unread"] for frame in page.frames if frame["type"] == "unread"][-1:] == [
            unread
        ]

    await eventually(told, f"it hears: {unread}")


async def test_users_and_rooms(
    rabbitmq: SharedBroker, prefix: Prefix, url: str, sql: Connection, tmp_path: Path
) -> None:
    """Queries decide who gets in, and into which rooms; without the database they open nothing."""
    del sql
    async with proxied(url) as (proxy, through):
        settings = variables(rabbitmq, prefix, through, BRIDGE_DATABASE__ANSWER_SECONDS_MAX="0")
        async with two_nodes(settings, tmp_path) as (node, _), client(node, "u1", rooms=("score:*",)) as page:
            for user_id in ("blocked", "nobody"):
                assert await closed_with(node, user_id) == 4403
            await page.send(op="subscribe", rooms=["device:d1", "device:d9", "score:1"], id=1)
            data = (await answer(page, "subscribed"))["data"]
            assert (data["rooms"], refusals(data)) == (["device:d1", "score:1"], {"device:d9": "forbidden"})

            proxy.swallow()
            await proxy.cut()
            await eventually(lambda: degraded(node), "the node says that it is degraded")
            page.frames.clear()
            await page.send(op="subscribe", rooms=["device:d2", "score:2", "user:u1"], id=2)
            data = (await answer(page, "subscribed"))["data"]
            assert (data["rooms"], refusals(data)) == (["score:2", "user:u1"], {"device:d2": "unavailable"})
            assert await closed_with(node, "u2") == 1012
            async with bus_of(rabbitmq.url, prefix) as bus:
                await page.gets(await publish(bus, "device.started", userId="u2", deviceId="d1"))

            proxy.forward()

            async def well() -> bool:
                return not await degraded(node)

            await eventually(well, "the node is well again")
            page.frames.clear()
            await page.send(op="subscribe", rooms=["device:d2"], id=3)
            assert (await answer(page, "subscribed"))["data"]["rooms"] == ["device:d2"]


def refusals(data: dict[str, Any]) -> dict[str, str]:
    """Return the rooms that were refused, with why."""
    return {refused["room"]: refused["code"] for refused in data["refused"]}


async def closed_with(node: ServedNode, user_id: str) -> int:
    """Connect as a user who is not let in; return the close code."""
    url = f"ws://127.0.0.1:{await node.port('public')}/ws?token={node.token(user_id)}"
    async with connect(url) as socket:
        try:
            async with asyncio.timeout(10):
                while True:
                    json.loads(await socket.recv())
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
