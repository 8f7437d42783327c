"""How frames become writes: in order, joined, and shared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from websockets.frames import Opcode

from bridge.ws.connection import Connection
from tests.ws.clients import RawClient, command, member, numbers
from tests.ws.node import Node, running


class Spy:
    """A transport that counts what is written, and passes everything on."""

    def __init__(self, connection: Connection) -> None:
        self._transport = connection._transport
        self.writes: list[bytes] = []
        connection._transport = self  # type: ignore[assignment]

    def write(self, data: bytes) -> None:
        """Note and pass on."""
        if data:
            self.writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the transport has
        return getattr(self._transport, name)


def spied(node: Node, user_id: str = "u1") -> Spy:
    """Count the writes of a user's socket."""
    return Spy(node.connection_of(user_id))


async def test_one_event_is_one_write() -> None:
    """An event alone is written at once, as it is, the same bytes object to every socket."""
    async with running() as node, member(node, "u1") as first, member(node, "u2") as second:
        spies = spied(node, "u1"), spied(node, "u2")
        node.publish(1)

        assert [await numbers(c, 1) for c in (first, second)] == [[1], [1]]
        assert [len(spy.writes) for spy in spies] == [1, 1]
        assert spies[0].writes[0] is spies[1].writes[0]


ROOMS = pytest.mark.parametrize("to", ["all", ("all", "user:u1", "device:d1")], ids=["alike", "mixed"])


@ROOMS
async def test_run_of_events_is_one_write(to: str | Sequence[str]) -> None:
    """Events that are handed out together leave in one write, in log order, whatever rooms they go to."""
    async with running() as node, member(node, rooms="device:d1") as c:
        spy = spied(node)
        node.publish(*range(10), to=to)

        assert await numbers(c, 10) == list(range(10))
        assert len(spy.writes) == 1
        assert node.stats.frames_sent == 11  # With `connected`.


async def test_answers_to_a_packet_of_commands_are_one_write() -> None:
    """The answers to commands that came together leave together."""
    async with running() as node, RawClient.member(node) as raw:
        spy = spied(node)
        await raw.send(command("ping", id=1) + command("ping", id=2) + command("ping", id=3))

        assert [(await raw.frame()).message["id"] for _ in range(3)] == [1, 2, 3]
        assert len(spy.writes) == 1


async def test_answer_keeps_its_place_among_events() -> None:
    """An answer comes after the events before it and before those after it."""
    async with running() as node, RawClient.member(node) as raw:
        node.publish(1)
        await raw.send(command("ping"))
        assert (await raw.frame()).message["data"]["number"] == 1
        assert (await raw.frame()).message["type"] == "pong"
        node.publish(2)

        assert (await raw.frame()).message["data"]["number"] == 2


@ROOMS
async def test_batch_beyond_the_limits_of_an_outbox(to: str | Sequence[str]) -> None:
    """A client that keeps up gets a batch of any size: the limits are for those that do not."""
    async with (
        running(outbox_frames_max=10, outbox_bytes_max=4_096) as node,
        member(node, rooms="device:d1") as c,
    ):
        receiving = asyncio.create_task(numbers(c, 500))
        for start in range(0, 500, 100):
            node.publish(*range(start, start + 100), to=to)
            await asyncio.sleep(0)

        assert await receiving == list(range(500))


async def test_frame_larger_than_an_outbox() -> None:
    """A client that keeps up gets a single frame of any size."""
    async with running(outbox_bytes_max=1_024) as node, RawClient.member(node) as raw:
        node.publish(1, padding=5_000)

        frame = await raw.frame()
        assert frame.opcode == Opcode.TEXT
        assert frame.message["data"]["number"] == 1


async def test_connected_comes_before_any_event() -> None:
    """The first frame is `connected`, whatever is published in the meantime."""
    async with running() as node:
        for number in range(20):
            async with member(node):  # Which asserts it.
                node.publish(number)
