"""A client that does not keep up: what is kept for it, what is not, and that nobody else notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.frames import Opcode

from bridge.core.policy import Policy
from tests.eventually import eventually
from tests.ws.clients import RawClient, client_frame, command, member, numbers, receive
from tests.ws.node import Node, running

PADDING = 1_000
ENOUGH = 400  # Events of that size that fill what the kernel takes for a socket, and more.


async def fill(node: Node, until: Callable[[], object], *, policy: Policy, key: str = "") -> int:
    """Publish numbered events to the slow user until something happens; return how many it took."""
    for number in range(20_000):
        if until():
            return number
        node.publish(number, to="user:slow", policy=policy, key=key, padding=PADDING)
        await asyncio.sleep(0)  # Let the event loop write, and hear of what happened.
    raise AssertionError("it takes no end of events")


async def test_client_that_does_not_read_what_must_be_delivered() -> None:
    """At the limit the socket is closed with 4008, after what had been written before."""
    async with (
        running(outbox_frames_max=50) as node,
        RawClient.member(node, "slow", receive_bytes=4_096) as raw,
    ):
        count = await fill(node, lambda: node.diary.told("ws.slow_consumer"), policy=Policy.MUST_DELIVER)
        seen = []
        while (frame := await raw.frame()).opcode == Opcode.TEXT:
            seen.append(frame.message["data"]["number"])

        code, text = frame.close
        assert code == 4008
        assert text.startswith("slow consumer: 51 frames, ")
        assert seen == list(range(count - 51))
        await raw.send(client_frame(Opcode.CLOSE, frame.data))
        assert await raw.rest() == b""
        await eventually(lambda: node.stats.closes[4008] == 1, "the close is counted")


async def test_batch_that_goes_on_after_the_limit() -> None:
    """What is left of a batch when the socket is closed for it is not kept."""
    async with (
        running(outbox_frames_max=50) as node,
        RawClient.member(node, "slow", receive_bytes=4_096),
    ):
        connection = node.connection_of("slow")
        node.publish(*range(2_000), to="user:slow", padding=PADDING)

        assert node.diary.told("ws.slow_consumer")
        assert not connection.outbox
        assert not node.server.pool.bytes_held


async def test_limit_in_bytes() -> None:
    """The limit in bytes closes as well, however few the frames."""
    async with (
        running(outbox_bytes_max=20_000) as node,
        RawClient.member(node, "slow", receive_bytes=4_096) as raw,
    ):
        await fill(node, lambda: node.diary.told("ws.slow_consumer"), policy=Policy.MUST_DELIVER)

        assert (await raw.close_frame())[0] == 4008


async def test_client_that_does_not_read_what_may_be_dropped() -> None:
    """Dropped events are told by a gap with their number and offsets; nothing else is missing."""
    async with (
        running(outbox_frames_max=50) as node,
        RawClient.member(node, "slow", receive_bytes=4_096) as raw,
    ):
        connection = node.connection_of("slow")
        count = await fill(node, lambda: node.stats.frames_dropped > 100, policy=Policy.DROP_OLDEST)
        node.publish(count, to="user:slow", policy=Policy.DROP_OLDEST)
        offsets: list[int] = []
        gaps: list[dict[str, int]] = []
        while not offsets or offsets[-1] < node.offset:
            message = (await raw.frame()).message
            if message["type"] == "gap":
                gaps.append(message["data"])
            else:
                offsets.append(message["offset"])

        assert offsets == sorted(set(offsets))
        missing = set(range(1, node.offset + 1)) - set(offsets)
        assert len(missing) == sum(gap["events"] for gap in gaps) == node.stats.frames_dropped
        assert (min(missing), max(missing)) == (gaps[0]["firstOffset"], gaps[-1]["lastOffset"])
        assert connection.session.principal is not None  # Still open.


async def test_client_that_does_not_read_gauges() -> None:
    """Of a gauge only the newest value is kept, and that arrives."""
    async with (
        running(outbox_frames_max=50) as node,
        RawClient.member(node, "slow", receive_bytes=4_096) as raw,
    ):
        count = await fill(
            node, lambda: node.stats.frames_conflated > 1_000, policy=Policy.CONFLATE, key="gauge"
        )
        seen = [-1]
        while seen[-1] < count - 1:
            seen.append((await raw.frame()).message["data"]["number"])

        assert len(seen) < count - 900
        assert seen == sorted(seen)
        assert not node.stats.frames_dropped


@pytest.mark.parametrize("policy", list(Policy))
async def test_memory_for_a_client_that_does_not_read(policy: Policy) -> None:
    """What is held for a socket never exceeds its outbox and one write, whatever comes."""
    limit = 40_000
    async with (
        running(outbox_bytes_max=limit, outbox_frames_max=30) as node,
        RawClient.member(node, "slow", receive_bytes=4_096),
    ):
        connection = node.connection_of("slow")
        transport = connection._transport
        most_in_outbox = most_in_transport = 0
        for number in range(1_500):
            node.publish(number, number, number, to="user:slow", policy=policy, key="g", padding=PADDING)
            most_in_outbox = max(most_in_outbox, connection.outbox.bytes_waiting)
            most_in_transport = max(most_in_transport, transport.get_write_buffer_size())
            if number % 10 == 0:
                await asyncio.sleep(0)

        assert 0 < most_in_outbox <= limit
        assert 0 < most_in_transport <= limit + 200  # And a close frame.


async def test_kernel_hides_little() -> None:
    """The kernel takes no more for a socket than a small part of its usual megabytes."""
    async with running() as node, RawClient.member(node, "slow", receive_bytes=4_096):
        count = await fill(
            node, lambda: len(node.connection_of("slow").outbox) > 10, policy=Policy.MUST_DELIVER
        )

        assert count * PADDING < 300_000


async def test_others_are_served_at_once() -> None:
    """While one client does not read, another in the same room gets every event without delay."""
    async with (
        running(outbox_frames_max=100) as node,
        RawClient.member(node, "slow", receive_bytes=4_096),
        member(node, "quick") as quick,
    ):
        slowest = 0.0
        for number in range(ENOUGH):
            started = time.monotonic()
            node.publish(number, policy=Policy.DROP_OLDEST, padding=PADDING)
            assert await numbers(quick, 1) == [number]
            slowest = max(slowest, time.monotonic() - started)

        assert node.stats.frames_dropped
        assert slowest < 0.5


async def test_quick_client_on_a_node_short_of_memory() -> None:
    """When slow clients hold all memory that there is for outboxes, a batch for a quick one is not held."""
    async with (
        running(outboxes_bytes_max=20_000) as node,
        RawClient.member(node, "slow", receive_bytes=4_096),
        member(node, "quick", rooms="device:d1") as quick,
    ):
        await fill(node, lambda: node.server.pool.bytes_held > 18_000, policy=Policy.MUST_DELIVER)
        node.publish(*range(50), to=("user:quick", "device:d1"), padding=PADDING)

        assert await numbers(quick, 50) == list(range(50))
        assert not node.diary.told("ws.slow_consumer")


async def test_client_that_catches_up() -> None:
    """A client that was behind gets what waited, then live events, each once and in order."""
    async with running() as node, RawClient.member(node, "slow", receive_bytes=4_096) as raw:
        connection = node.connection_of("slow")
        count = await fill(node, lambda: len(connection.outbox) > 50, policy=Policy.MUST_DELIVER)
        seen = [(await raw.frame()).message["data"]["number"] for _ in range(count)]
        node.publish(count, to="user:slow")
        seen.append((await raw.frame()).message["data"]["number"])

        assert seen == list(range(count + 1))
        assert not connection.outbox


async def test_slow_client_is_not_read() -> None:
    """A client that does not read is not listened to either, until it does."""
    async with running() as node, RawClient.member(node, "slow", receive_bytes=4_096) as raw:
        connection = node.connection_of("slow")
        count = await fill(node, lambda: len(connection.outbox) > 10, policy=Policy.MUST_DELIVER)
        await raw.send(command("ping"))
        for number in range(count):
            assert (await raw.frame()).message["data"]["number"] == number

        assert (await raw.frame()).message["type"] == "pong"


async def test_slow_client_that_never_reads_its_close() -> None:
    """A client that takes not even the close frame is dropped at the deadline."""
    async with running(outbox_frames_max=50, close_seconds_max=0.1) as node:
        async with RawClient.member(node, "slow", receive_bytes=4_096):
            await fill(node, lambda: node.diary.told("ws.slow_consumer"), policy=Policy.MUST_DELIVER)
            await eventually(lambda: not node.server.connections, "the connection is dropped")

        assert node.stats.closes[4008] == 1


async def test_slow_client_that_half_closes() -> None:
    """A client that ends its side and reads nothing does not hold its connection open for good."""
    async with (
        running(ping_interval_seconds=0.1, close_seconds_max=0.1) as node,
        RawClient.member(node, "slow", receive_bytes=4_096) as raw,
    ):
        connection = node.connection_of("slow")
        await fill(node, lambda: len(connection.outbox) > 10, policy=Policy.MUST_DELIVER)
        raw.sock.shutdown(1)
        await eventually(lambda: not node.server.connections, "the connection is dropped")


async def test_users_own_room_and_others() -> None:
    """A slow user's closing does not touch another socket of the same room."""
    async with (
        running(outbox_frames_max=50) as node,
        member(node, "slow") as other,
        RawClient.member(node, "slow", receive_bytes=4_096),
    ):
        received = asyncio.create_task(_receive_until_negative(other))
        count = await fill(node, lambda: node.diary.told("ws.slow_consumer"), policy=Policy.MUST_DELIVER)
        node.publish(-1, to="user:slow")

        assert await received == [*range(count), -1]


async def _receive_until_negative(socket_: ClientConnection) -> list[int]:
    seen: list[int] = []
    while not seen or seen[-1] >= 0:
        seen.append((await receive(socket_))["data"]["number"])
    return seen
