"""Revocation on several nodes: real processes, one RabbitMQ, a stream for a log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed

from tests.amqp.bus import Bus
from tests.commands import bridge, environment
from tests.eventually import eventually
from tests.servers import Prefix, SharedBroker
from tests.test_end_to_end import Client, ServedNode, bus_of, client, fresh, publish, serving

BLOCKED = 4403


@pytest.fixture(scope="module")
def cluster_prefix(rabbitmq: SharedBroker) -> Prefix:
    """The prefix of the cluster."""
    assert rabbitmq.url
    return Prefix()


@pytest.fixture(scope="module")
def variables(rabbitmq: SharedBroker, cluster_prefix: Prefix) -> dict[str, str]:
    """The environment of each node."""
    return environment(rabbitmq.url, cluster_prefix, BRIDGE_EVENT_LOG__KIND="stream")


@pytest.fixture(scope="module")
def started_nodes(
    variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[ServedNode]]:
    """Two nodes of one cluster, maybe not ready yet."""
    with ExitStack() as stack:
        folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
        yield [stack.enter_context(serving(variables, folder)) for folder in folders]


@pytest.fixture
async def nodes(started_nodes: list[ServedNode]) -> list[ServedNode]:
    """Two nodes of one cluster, ready."""
    for node in started_nodes:
        await node.ready()
    return started_nodes


@pytest.fixture
async def cluster_bus(rabbitmq: SharedBroker, cluster_prefix: Prefix) -> AsyncIterator[Bus]:
    """The bus of the cluster."""
    async with bus_of(rabbitmq.url, cluster_prefix) as bus:
        yield bus


async def code_for(node: ServedNode, token: str, query: str = "") -> int:
    """Return the code with which a client with this token is closed, 0 if it gets in."""
    url = f"ws://127.0.0.1:{await node.port('public')}/ws?token={token}{query}"
    async with connect_socket(url) as socket:
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else -1
        return 0


async def closed(page: Client) -> int:
    """Wait until a page is closed; return the code."""
    how = await eventually(lambda: page.closed, "it is closed")
    assert how is not None
    assert how.rcvd is not None
    return how.rcvd.code


async def told(page: Client, kind: str) -> dict[str, Any]:
    """Wait until a page is told something of a kind; return what."""

    def found() -> list[dict[str, Any]]:
        return [frame["data"] for frame in page.frames if frame["type"] == kind]

    return (await eventually(found, kind))[0]


async def test_disconnect(
    nodes: list[ServedNode], cluster_bus: Bus, variables: dict[str, str], tmp_path: Path
) -> None:
    """`bridge disconnect` closes a user's sockets on every node; older tokens are refused, newer are not."""
    user, other = fresh("user"), fresh("user")
    old = nodes[0].token(user)
    async with client(nodes[0], user) as one, client(nodes[1], user) as two, client(nodes[1], other) as bert:
        before = await publish(cluster_bus, "quota.updated", userId=user, quotaId="q1", limits={}, usage={})
        for page in (one, two):
            await page.gets(before)
        finished = await bridge(
            "disconnect",
            "--user",
            user,
            "--reason",
            "logged out everywhere",
            variables=variables,
            folder=tmp_path,
        )
        assert finished.status == 0, finished.said
        assert "closed with 4403" in finished.out
        for page in (one, two):
            assert await closed(page) == BLOCKED
            assert page.closed is not None
            assert page.closed.rcvd is not None
            assert page.closed.rcvd.reason == "revoked: logged out everywhere"
        assert bert.closed is None

    for node in nodes:
        assert await code_for(node, old) == BLOCKED
        position = one.hello["data"]["position"]
        since = f"&epoch={position['epoch']}&offset={position['offset']}"
        assert await code_for(node, old, since) == BLOCKED

    async def gets_in() -> bool:
        return await code_for(nodes[1], nodes[1].token(user)) == 0

    await eventually(gets_in, "a token of a later second is good")


async def test_nothing_after_a_revocation(nodes: list[ServedNode], cluster_bus: Bus) -> None:
    """Of what is logged while a user is disabled, the user gets what came before, and nothing behind it."""
    user, other, device = fresh("user"), fresh("user"), fresh("device")
    room = f"device:{device}"
    async with (
        client(nodes[0], user, rooms=("device:*",)) as one,
        client(nodes[1], user, rooms=("device:*",)) as two,
        client(nodes[1], other, rooms=("device:*",)) as bert,
    ):
        for page in (one, two, bert):
            await page.send(op="subscribe", rooms=[room])
            await told(page, "subscribed")
        for number in range(40):
            await publish(cluster_bus, "device.started", userId=other, deviceId=device)
            if number == 20:
                await publish(cluster_bus, "user.disabled", userId=user)
        for page in (one, two):
            assert await closed(page) == BLOCKED
        last = await publish(cluster_bus, "device.started", userId=other, deviceId=device)
        await bert.gets(last)

        for page in (one, two):
            assert page.events == bert.events[: len(page.events)]
            assert last not in [event_id for _, event_id in page.events]

    await publish(cluster_bus, "user.enabled", userId=user)

    async def is_back() -> bool:
        return await code_for(nodes[0], nodes[0].token(user)) == 0

    await eventually(is_back, "a user that is enabled again gets in")


async def test_room_that_is_lost(nodes: list[ServedNode], cluster_bus: Bus) -> None:
    """A user who loses a room is taken out of it on every node, and told; others stay."""
    user, other, device = fresh("user"), fresh("user"), fresh("device")
    room = f"device:{device}"
    async with (
        client(nodes[0], user, rooms=("device:*",)) as one,
        client(nodes[1], user, rooms=("device:*",)) as two,
        client(nodes[1], other, rooms=("device:*",)) as bert,
    ):
        for page in (one, two, bert):
            await page.send(op="subscribe", rooms=[room])
            await told(page, "subscribed")
        await publish(cluster_bus, "grant.revoked", userId=user, room=room)
        for page in (one, two):
            assert await told(page, "revoked") == {"rooms": [room]}

        event_id = await publish(cluster_bus, "device.started", userId=other, deviceId=device)
        assert (await bert.gets(event_id))["room"] == room
        for page in (one, two):
            await page.send(op="subscribe", id="again", rooms=[room])
            assert (await told(page, "error"))["code"] == "forbidden"
            assert event_id not in [each for _, each in page.events]


async def test_node_that_starts_later(
    nodes: list[ServedNode], cluster_bus: Bus, variables: dict[str, str], tmp_path: Path
) -> None:
    """A node that was not there when a token was revoked reads it in the log, before it takes sockets."""
    user = fresh("user")
    async with client(nodes[0], user) as page:
        await publish(cluster_bus, "session.revoked", userId=user)
        assert await closed(page) == BLOCKED
    old = nodes[0].token(user)
    await publish(cluster_bus, "session.revoked", userId=user)

    async def known() -> bool:
        return await code_for(nodes[0], old) == BLOCKED

    await eventually(known, "known on a node that was there")
    with serving(variables, tmp_path) as later:
        await later.ready()
        assert await code_for(later, old) == BLOCKED
        assert await code_for(later, later.token(fresh("user"))) == 0
