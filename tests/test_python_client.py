"""The Python client against real bridges on one log: nothing lost, nothing twice, or it says so."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from uuid import uuid4

import aio_pika
import jwt
import pytest
import pytest_asyncio

from bridge_client import BridgeClosedError, Client, Position, Stale, TokenReason
from tests.chaos.cluster import SECRET, Cluster
from tests.chaos.publisher import NumberedPublisher
from tests.doc_reading import ROOT, blocks
from tests.eventually import eventually
from tests.servers import Prefix, SharedBroker

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAIT_SECONDS_MAX = 20.0
WINDOW_BYTES = 1_000_000
SETTINGS = {
    "BRIDGE_AUTH__LEEWAY_SECONDS": "0",
    "BRIDGE_WS__EXPIRY_GRACE_SECONDS": "0",
    "BRIDGE_WS__PING_INTERVAL_SECONDS": "1",
    "BRIDGE_EVENT_LOG__WINDOW_BYTES_MAX": str(WINDOW_BYTES),
}
users = count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(rabbitmq: SharedBroker) -> AsyncIterator[Cluster]:
    """Two nodes, ready."""
    prefix = Prefix()
    cluster = Cluster(rabbitmq.url, prefix, settings=SETTINGS)
    try:
        await asyncio.gather(cluster.add(), cluster.add())
        yield cluster
    finally:
        await cluster.stop()
        if rabbitmq.given:
            await prefix.delete_all(rabbitmq.url)


@pytest.fixture
def user() -> str:
    """A user that no other test has."""
    return f"user-{next(users)}"


class Program:
    """A service that reads: its token, and what it was told."""

    def __init__(self, user: str, *, seconds: float = 3_600, rooms: Iterable[str] = ()) -> None:
        """`seconds` is the life of its first token."""
        self._claims = {"sub": user, "rooms": list(rooms)}
        self._seconds = seconds
        self.stales: list[Stale] = []
        self.asked: list[TokenReason] = []

    async def token(self, why: TokenReason) -> str:
        """Return a token; the first is short-lived if that was asked for."""
        self.asked.append(why)
        seconds = self._seconds if len(self.asked) == 1 else 3_600
        return jwt.encode({**self._claims, "exp": time.time() + seconds}, SECRET, algorithm="HS256")

    async def read_anew(self, stale: Stale) -> None:
        """Note that something may have been missed."""
        self.stales.append(stale)

    @property
    def causes(self) -> list[str]:
        """Why its state had to be read anew."""
        return [stale.cause for stale in self.stales]

    def client(self, cluster: Cluster, *, rooms: Iterable[str] = (), since: Position | None = None) -> Client:
        """Return a client of both nodes."""
        urls = [node.url for node in cluster.nodes]
        return Client(urls, get_token=self.token, rooms=rooms, since=since, on_stale=self.read_anew)


async def orders(client: Client, last: int) -> list[int]:
    """Return the numbers of orders that come, up to this one."""
    numbers: list[int] = []
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        async for event in client.events():
            numbers.append(int(event.data["orderId"]))
            if numbers[-1] == last:
                return numbers
    raise AssertionError("the events ended")


async def publish(cluster: Cluster, broker: SharedBroker, name: str, *bodies: dict[str, object]) -> None:
    """Publish events; return when they are confirmed."""
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(cluster.exchange, ensure=False)
        for body in bodies:
            whole = {"timestamp": datetime.now(UTC).isoformat(), **body}
            message = aio_pika.Message(json.dumps(whole).encode(), message_id=uuid4().hex)
            await exchange.publish(message, name, mandatory=True)


async def test_a_killed_node(cluster: Cluster, rabbitmq: SharedBroker, user: str) -> None:
    """After kill -9 of its node a client goes on with the other one: nothing is lost, nothing comes twice."""
    program = Program(user)
    publisher = NumberedPublisher(rabbitmq.url, cluster.exchange, [user])
    async with program.client(cluster) as client:
        await asyncio.wait_for(client.connected(), WAIT_SECONDS_MAX)
        publishing = asyncio.create_task(publisher.run(events=400, per_second=400))
        before = await orders(client, 100)
        await cluster.nodes[0].kill()  # The first URL's.
        after = await orders(client, 399)
        await publishing
        end = client.end

    assert [*before, *after] == list(range(400))
    assert program.causes == ["first"]
    assert end is not None
    assert end.code == 1006
    await cluster.nodes[0].start()


async def test_a_service_that_starts_again(cluster: Cluster, rabbitmq: SharedBroker, user: str) -> None:
    """A program that kept its position gets what happened while it was not there, each once."""
    first, second = Program(user), Program(user)
    publisher = NumberedPublisher(rabbitmq.url, cluster.exchange, [user])
    publisher._number = 1_000  # So that ids are new.
    async with first.client(cluster) as client:
        await asyncio.wait_for(client.connected(), WAIT_SECONDS_MAX)
        await publisher.run(events=20, per_second=1_000)
        await orders(client, 1_009)  # And has not dealt with the others.
        kept = client.position
    await publisher.run(events=5, per_second=1_000)

    async with second.client(cluster, since=kept) as client:
        numbers = await orders(client, 1_024)

    assert numbers == list(range(1_010, 1_025))
    assert second.causes == []


async def test_a_program_that_stands_still(cluster: Cluster, rabbitmq: SharedBroker, user: str) -> None:
    """A program that takes no events loses its socket, for nobody answers pings, but no event."""
    program, node = Program(user), cluster.nodes[1]
    publisher = NumberedPublisher(rabbitmq.url, cluster.exchange, [user])
    publisher._number = 2_000
    already = len(node.log)
    async with Client(
        node.url, get_token=program.token, on_stale=program.read_anew, queue_events_max=1
    ) as client:
        await asyncio.wait_for(client.connected(), WAIT_SECONDS_MAX)
        await publisher.run(events=200, per_second=10_000)
        await eventually(
            lambda: [line for line in node.log[already:] if line.get("event") == "ws.ping_timeout"],
            "a socket that is taken for dead",
        )
        numbers = await orders(client, 2_199)

    assert numbers == list(range(2_000, 2_200))
    assert program.causes == ["first"]


async def test_window_passed(cluster: Cluster, rabbitmq: SharedBroker, user: str) -> None:
    """A position that is too far back is told as lost, with where to count on from."""
    program, later = Program(user), Program(user)
    async with program.client(cluster) as client:
        await asyncio.wait_for(client.connected(), WAIT_SECONDS_MAX)
        kept = client.position
    assert kept is not None
    big: list[dict[str, object]] = [
        {
            "userId": "somebody-else",
            "transactionId": f"tx-{number}",
            "status": "pending",
            "amount": "1",
            "transactionType": "deposit",
            "metadata": {"padding": "x" * 200_000},
        }
        for number in range(8)
    ]
    await publish(cluster, rabbitmq, "wallet.payment_status_updated", *big)

    async def told() -> bool:
        """Connect until the node has read so much of the log."""
        later.stales.clear()
        async with later.client(cluster, since=kept) as client:
            await client.connected()
            await publish(cluster, rabbitmq, "order.completed", {"userId": user, "orderId": "1"})
            await orders(client, 1)
        return later.causes == ["lost"]

    await eventually(told, "a window that has passed")
    (stale,) = later.stales
    assert (stale.position.epoch, stale.position.offset > kept.offset) == (kept.epoch, True)


async def test_rooms(cluster: Cluster, rabbitmq: SharedBroker, user: str) -> None:
    """Rooms are joined, refused, heard, and left while the socket lives."""
    program = Program(user, rooms=["device:*"])
    async with program.client(cluster, rooms=["company:c9"]) as client:
        await asyncio.wait_for(client.connected(), WAIT_SECONDS_MAX)
        refused = client.refused
        client.subscribe(f"device:{user}")
        await eventually(lambda: f"device:{user}" in client.rooms, "the room")
        await publish(cluster, rabbitmq, "device.started", {"userId": "somebody-else", "deviceId": user})
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            event = await anext(client.events())
        client.unsubscribe(f"device:{user}")
        await eventually(lambda: f"device:{user}" not in client.rooms, "the room's end")

    assert refused == {"company:c9": "forbidden"}
    assert event.room == f"device:{user}"
    assert [(stale.cause, stale.rooms) for stale in program.stales] == [
        ("first", ()),
        ("rooms", (f"device:{user}",)),
    ]


async def test_token_that_ends(cluster: Cluster, rabbitmq: SharedBroker, user: str) -> None:
    """A token that ends is renewed on the live socket, which outlives it."""
    program = Program(user, seconds=3)
    async with program.client(cluster) as client:
        await asyncio.wait_for(client.connected(), WAIT_SECONDS_MAX)
        first_ends_at = time.time() + 3
        await eventually(lambda: time.time() > first_ends_at + 0.5, "the end of the first token")
        await publish(cluster, rabbitmq, "order.completed", {"userId": user, "orderId": "1"})
        await orders(client, 1)

        assert client.end is None
    assert program.asked == ["connect", "expiring"]


async def test_token_that_proves_nothing(cluster: Cluster, user: str) -> None:
    """After 4401 a token is fetched anew, and the client comes back."""
    program = Program(user, seconds=-60)
    async with program.client(cluster) as client:
        await asyncio.wait_for(client.connected(), WAIT_SECONDS_MAX)

        assert client.end is not None
        assert client.end.code == 4401
    assert program.asked == ["connect", "refused"]


async def test_final_close(cluster: Cluster, rabbitmq: SharedBroker, user: str) -> None:
    """A user who is disabled is told so, and the client does not come back."""
    async with Program(user).client(cluster) as client:
        await asyncio.wait_for(client.connected(), WAIT_SECONDS_MAX)
        await publish(cluster, rabbitmq, "user.disabled", {"userId": user, "reason": "gone"})
        with pytest.raises(BridgeClosedError) as closed:
            await orders(client, 1)

    assert closed.value.code == 4403


async def test_the_service_of_the_document(
    cluster: Cluster, rabbitmq: SharedBroker, user: str, tmp_path: Path
) -> None:
    """The service in docs/python-client.md, killed and started again, goes on where it was."""
    (tmp_path / "service.py").write_text(blocks("docs/python-client.md", "python")[0])
    (tmp_path / "token").write_text(await Program(user).token("connect"))

    async with service(cluster, tmp_path) as said:
        assert await anext(said) == "read anew: first"
        await publish(cluster, rabbitmq, "order.completed", {"userId": user, "orderId": "1"})
        assert await anext(said) == "order.completed 1"
        await eventually((tmp_path / "position.json").exists, "a position that is kept")
    await publish(cluster, rabbitmq, "order.completed", {"userId": user, "orderId": "2"})
    async with service(cluster, tmp_path) as said:
        assert await anext(said) == "order.completed 2"


@asynccontextmanager
async def service(cluster: Cluster, folder: Path) -> AsyncIterator[AsyncIterator[str]]:
    """Run service.py in this folder; yield what it says. It is killed in the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "service.py",
        cwd=folder,
        env={
            "PYTHONPATH": str(ROOT / "clients" / "python"),
            "BRIDGE_URL": cluster.nodes[1].url,
            "TOKEN_FILE": "token",
        },
        stdout=asyncio.subprocess.PIPE,
    )

    async def lines() -> AsyncIterator[str]:
        assert process.stdout is not None
        while line := await asyncio.wait_for(process.stdout.readline(), WAIT_SECONDS_MAX):
            yield line.decode().rstrip()

    try:
        yield lines()
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("block", range(len(blocks("docs/python-client.md", "python"))))
async def test_code_of_the_document(block: int) -> None:
    """What docs/python-client.md shows can be compiled, and imports what is there."""
    source = blocks("docs/python-client.md", "python")[block].partition("asyncio.run(")[0]

    exec(compile(source, "docs/python-client.md", "exec"), {})  # noqa: S102 - our own document
