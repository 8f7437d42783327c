"""Coming back with a position: what was missed, once each and in order, at the client's pace."""

from __future__ import annotations

import asyncio

from websockets.asyncio.client import ClientConnection

from tests.eventually import eventually
from tests.ws.clients import RawClient, ask, client, numbers, receive, request
from tests.ws.node import EPOCH, running, token


def back_at(offset: int, user_id: str = "u1") -> str:
    """Return the query of a client that comes back."""
    return f"?token={token(user_id)}&epoch={EPOCH}&offset={offset}"


async def test_what_was_missed() -> None:
    """A client that comes back gets what it missed in its rooms, then live events."""
    async with running() as node:
        node.publish(1, 2, 3)
        node.publish(4, to="user:u2")
        node.publish(5, to="user:u1")
        async with client(node, back_at(1)) as c:
            connected = await receive(c)
            missed = await numbers(c, 3)
            node.publish(6)

            assert connected["data"]["recovered"]
            assert missed == [2, 3, 5]
            assert await numbers(c, 1) == [6]


async def test_a_position_that_is_out_of_reach() -> None:
    """A position of another life of the log is answered with `recovered: false`, and live events follow."""
    async with running() as node:
        node.publish(1)
        async with client(node, f"?token={token()}&epoch=e0&offset=0") as c:
            connected = await receive(c)
            node.publish(2)

            assert not connected["data"]["recovered"]
            assert await numbers(c, 1) == [2]


async def test_many_missed_events_while_more_are_published() -> None:
    """Events published during a replay neither overtake it nor come twice."""
    async with running() as node:
        node.publish(*range(1_000))
        async with client(node, back_at(0)) as c:
            receiving = asyncio.create_task(_numbers_behind_connected(c, 1_100))
            for number in range(1_000, 1_100):
                node.publish(number)
                await asyncio.sleep(0)

            assert await receiving == list(range(1_100))


async def test_missed_events_for_a_client_that_does_not_read() -> None:
    """A replay waits for its client: it neither fills the outbox nor closes the socket."""
    async with running(outbox_frames_max=100) as node, RawClient.connected(node, receive_bytes=4_096) as raw:
        node.publish(*range(1_000), padding=1_000)
        await raw.send(request("/ws" + back_at(0)))
        await raw.head()
        assert (await raw.frame()).message["data"]["recovered"]
        (connection,) = node.server.connections
        await eventually(lambda: not connection._writable, "the client is behind")
        seen = [(await raw.frame()).message["data"]["number"] for _ in range(1_000)]
        await eventually(lambda: connection.session.live, "the session is live")
        node.publish(1_000)

        assert [*seen, (await raw.frame()).message["data"]["number"]] == list(range(1_001))


async def test_others_during_a_replay() -> None:
    """While one client is sent a great deal, another is served."""
    async with running() as node:
        node.publish(*range(5_000), to="user:u1", padding=100)
        async with client(node, back_at(0)) as c, client(node, back_at(0, "u2")) as other:
            receiving = asyncio.create_task(_numbers_behind_connected(c, 5_000))
            await receive(other)
            for number in range(20):
                node.publish(number, to="user:u2")
                assert await numbers(other, 1) == [number]

            assert await receiving == list(range(5_000))


async def test_subscribing_from_a_position() -> None:
    """A room can be joined from a position on; other rooms go on, each event once."""
    async with running() as node:
        node.publish(1, 2, 3, to="device:d1")
        async with client(node, f"?token={token()}") as c:
            await receive(c)
            subscribed = await ask(c, "subscribe", rooms=["device:d1"], since={"epoch": EPOCH, "offset": 1})
            node.publish(4)

            assert subscribed["data"]["recovered"]
            assert await numbers(c, 3) == [2, 3, 4]


async def test_client_that_goes_during_its_replay() -> None:
    """A client that goes in the middle leaves nothing behind."""
    async with running() as node:
        node.publish(*range(5_000), padding=1_000)
        async with RawClient.connected(node, receive_bytes=4_096) as raw:
            await raw.send(request("/ws" + back_at(0)))
            await raw.head()
        await eventually(lambda: not node.server.connections, "the connection is forgotten")


async def _numbers_behind_connected(c: ClientConnection, count: int) -> list[int]:
    assert (await receive(c))["type"] == "connected"
    return await numbers(c, count)
