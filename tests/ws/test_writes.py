"""How frames become writes: in order, joined, and shared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from websockets.frames import Opcode

from bridge.core.policy import Policy
from tests.eventually import eventually
from tests.ws.clients import RawClient, command, member, numbers
from tests.ws.node import running
from tests.ws.spy import Spy


async def test_one_event_is_one_write(spy: Spy) -> None:
    """An event alone is written at once, as it is, the same bytes object to every socket."""
    async with running() as node, member(node, "u1") as first, member(node, "u2") as second:
        spy.writes.clear()
        node.publish(1)

        assert [await numbers(c, 1) for c in (first, second)] == [[1], [1]]
        assert [len(spy.of(node, user)) for user in ("u1", "u2")] == [1, 1]
        assert spy.of(node, "u1")[0] is spy.of(node, "u2")[0]


ROOMS = pytest.mark.parametrize("to", ["all", ("all", "user:u1", "device:d1")], ids=["alike", "mixed"])


@ROOMS
async def test_run_of_events_is_one_write(spy: Spy, to: str | Sequence[str]) -> None:
    """Events that are handed out together leave in one write, in log order, whatever rooms they go to."""
    async with running() as node, member(node, rooms="device:d1") as c:
        spy.writes.clear()
        node.publish(*range(10), to=to)

        assert await numbers(c, 10) == list(range(10))
        assert len(spy.of(node)) == 1
        assert node.stats.frames_sent == 11  # With `connected`.


async def test_answers_to_a_packet_of_commands_are_one_write(spy: Spy) -> None:
    """The answers to commands that came together leave together."""
    async with running() as node, RawClient.member(node) as raw:
        spy.writes.clear()
        await raw.send(command("ping", id=1) + command("ping", id=2) + command("ping", id=3))

        assert [(await raw.frame()).message["id"] for _ in range(3)] == [1, 2, 3]
        assert len(spy.of(node)) == 1


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


@pytest.mark.parametrize("takes", [0, 1, 100])
async def test_kernel_that_takes_a_part(spy: Spy, takes: int) -> None:
    """What the kernel does not take at once follows, whole and in order."""
    spy.takes = takes
    async with running() as node, member(node, rooms="device:d1") as c:
        for number in range(20):
            node.publish(number, to=("all", "device:d1")[number % 2])
        node.publish(*range(20, 40), to=("all", "device:d1"))

        assert await numbers(c, 40) == list(range(40))


async def test_write_that_fails(spy: Spy) -> None:
    """Whatever the kernel says to a write, the transport finds out by itself: here that all is well."""
    spy.breaks = True
    async with running() as node, member(node) as c:
        node.publish(1)

        assert await numbers(c, 1) == [1]


async def test_nothing_is_written_past_what_waits(spy: Spy) -> None:
    """While the transport holds anything nothing goes past it, so that nothing overtakes."""
    async with running() as node, RawClient.member(node, "slow", receive_bytes=4_096) as raw:
        connection = node.connection_of("slow")
        spy.takes = 999
        count = 0
        while connection._writable:
            node.publish(count, to="user:slow", padding=1_000)
            count += 1
        waiting = connection._transport.get_write_buffer_size()
        limits = connection._transport.get_write_buffer_limits()
        spy.writes.clear()
        node.publish(*range(count, count + 5), to="user:slow", policy=Policy.MUST_DELIVER)

        assert waiting > 0
        assert limits == (0, 0)  # So it says when it begins to hold a byte, and when it holds none.
        assert not spy.writes
        seen = [(await raw.frame()).message["data"]["number"] for _ in range(count + 5)]
        assert seen == list(range(count + 5))


async def test_nothing_is_written_to_a_number_that_is_free(spy: Spy) -> None:
    """The descriptor of a connection that is gone may be another client's by now: it is not written to."""
    async with running() as node:
        async with RawClient.member(node) as raw:
            connection = node.connection_of("u1")
            assert connection._fd is not None
            raw.sock.close()
            await eventually(lambda: not node.server.connections, "the connection is forgotten")
        spy.writes.clear()
        connection.flush()
        connection.resume_writing()

        assert not spy.writes
        assert connection._fd is None
