"""The whole bridge as its users meet it: a real process between a real RabbitMQ and real WebSockets."""

from __future__ import annotations

import asyncio
import json
import platform
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect as connect_socket
from websockets.exceptions import ConnectionClosed
from yarl import URL

from bridge import __version__, is_compiled
from bridge.amqp.dead import browse
from bridge.amqp.link import connect
from bridge.amqp.topology import Names
from bridge.auth.tokens import make_token
from bridge.keyring import token_rules_of
from bridge.settings import load
from devel.ports import free_ports
from tests.amqp.bus import Bus
from tests.commands import bridge, environment
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.servers import Prefix, SharedBroker

START_SECONDS_MAX = 20.0
BACK_SECONDS_MAX = 5.0
STOP_SECONDS_MAX = 20.0
CANARY = "canary-5e3d"

Frame = dict[str, Any]
numbers = count(1)


class ServedNode:
    """One `bridge serve` process, and what it logs."""

    def __init__(self, variables: Mapping[str, str], folder: Path) -> None:
        """Start it in this folder."""
        self._variables = variables
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "serve"],
                env=variables,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def output(self) -> str:
        """Return everything that it has printed."""
        return self._log.read_text()

    def logged(self, event: str) -> dict[str, Any] | None:
        """Return the first log line of this event, None if there is none yet."""
        lines = (line for line in self.output().splitlines(keepends=True) if line.endswith("\n"))
        return next((entry for entry in map(json.loads, lines) if entry["event"] == event), None)

    async def until(self, event: str, *, seconds_max: float = START_SECONDS_MAX) -> dict[str, Any]:
        """Wait until it has logged this event; return the line."""
        entry = await eventually(lambda: self.logged(event), event, seconds_max=seconds_max)
        assert entry is not None
        return entry

    async def port(self, kind: str) -> int:
        """Return the port `public` or `admin`."""
        return int((await self.until("app.serving"))[f"{kind}_port"])

    def token(self, user: str, *, roles: tuple[str, ...] = (), rooms: tuple[str, ...] = ()) -> str:
        """Return a token that it accepts."""
        rules = token_rules_of(load(self._variables))
        return make_token(rules, user_id=user, roles=roles, rooms=rooms, seconds=3600)

    async def readiness(self) -> tuple[int, dict[str, bool]]:
        """Return the status of /readyz, and whether each part is well."""
        url = f"http://127.0.0.1:{await self.port('admin')}/readyz"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            parts = (await response.json())["parts"]
            return response.status, {part["part"]: part["ok"] for part in parts}

    async def metrics(self) -> str:
        """Return what /metrics says."""
        url = f"http://127.0.0.1:{await self.port('admin')}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text()

    async def ready(self, *, seconds_max: float = START_SECONDS_MAX) -> None:
        """Wait until it is ready."""

        async def is_ready() -> bool:
            return (await self.readiness())[0] == 200

        await eventually(is_ready, "ready", seconds_max=seconds_max)

    async def status(self, *, seconds_max: float = STOP_SECONDS_MAX) -> int:
        """Wait for its end; return its exit status."""
        await eventually(lambda: self.process.poll() is not None, "its end", seconds_max=seconds_max)
        assert self.process.returncode is not None
        return self.process.returncode


class Client:
    """A page: one socket, and every frame that came over it."""

    def __init__(self, socket: ClientConnection, hello: Frame) -> None:
        self._socket = socket
        self.hello = hello
        self.frames: list[Frame] = []
        self.closed: ConnectionClosed | None = None  # Set once it is.

    async def listen(self) -> None:
        """Take in frames until the socket is closed."""
        try:
            while True:
                self.frames.append(json.loads(await self._socket.recv()))
        except ConnectionClosed as closed:
            self.closed = closed

    @property
    def events(self) -> list[tuple[str, str]]:
        """The type and id of each event that came."""
        return [(frame["type"], frame["id"]) for frame in self.frames if "offset" in frame]

    def ids(self, event_type: str) -> list[str]:
        """The ids of the events of one type that came."""
        return [event_id for kind, event_id in self.events if kind == event_type]

    async def send(self, **command: object) -> None:
        """Send a command."""
        await self._socket.send(json.dumps(command))

    async def gets(self, event_id: str) -> Frame:
        """Wait for an event; return its frame."""

        def found() -> list[Frame]:
            return [frame for frame in self.frames if frame.get("id") == event_id]

        return (await eventually(found, event_id))[0]


@asynccontextmanager
async def client(
    node: ServedNode, user: str, *, roles: tuple[str, ...] = (), rooms: tuple[str, ...] = ()
) -> AsyncIterator[Client]:
    """Connect as a page does, and listen for the length of the context."""
    token = node.token(user, roles=roles, rooms=rooms)
    url = f"ws://127.0.0.1:{await node.port('public')}/ws"
    async with connect_socket(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        hello = json.loads(await socket.recv())
        assert hello["type"] == "connected"
        page = Client(socket, hello)
        listening = asyncio.create_task(page.listen())
        try:
            yield page
        finally:
            listening.cancel()
            await asyncio.wait([listening])


@contextmanager
def serving(variables: Mapping[str, str], folder: Path) -> Iterator[ServedNode]:
    """Run a node for the length of the context; kill it if it is still there then."""
    node = ServedNode(variables, folder)
    try:
        yield node
    finally:
        if node.process.poll() is None:
            node.process.kill()
        node.process.wait()


@pytest.fixture(scope="module")
def shared_prefix(rabbitmq: SharedBroker) -> Iterator[Prefix]:
    """The prefix of the node that tests share."""
    prefix = Prefix()
    yield prefix
    if rabbitmq.given:
        asyncio.run(prefix.delete_all(rabbitmq.url))


@pytest.fixture(scope="module")
def shared_node(
    rabbitmq: SharedBroker, shared_prefix: Prefix, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedNode]:
    """A node for those tests that do it no harm. It logs everything."""
    variables = environment(rabbitmq.url, shared_prefix, BRIDGE_LOG__LEVEL="DEBUG")
    with serving(variables, tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
async def node(shared_node: ServedNode) -> ServedNode:
    """The shared node, ready."""
    await shared_node.ready()
    return shared_node


@pytest.fixture
async def bus(rabbitmq: SharedBroker, shared_prefix: Prefix) -> AsyncIterator[Bus]:
    """The shared node's bus."""
    async with bus_of(rabbitmq.url, shared_prefix) as bus:
        yield bus


@asynccontextmanager
async def bus_of(url: str, prefix: Prefix) -> AsyncIterator[Bus]:
    """Connect as a microservice."""
    async with await connect(url, "test") as connection:
        names = Names(f"{prefix}.events", prefix)
        yield Bus(connection, await connection.channel(on_return_raises=True), names)


def fresh(word: str) -> str:
    """Return an id that no other test uses."""
    return f"{word}-{next(numbers)}"


def now() -> str:
    """Return the time as publishers write it."""
    return datetime.now(UTC).isoformat()


async def publish(bus: Bus, event_type: str, *, message_id: str | None = None, **payload: object) -> str:
    """Publish an event; return its id."""
    event_id = message_id or fresh("event")
    body = json.dumps({"timestamp": now(), **payload}).encode()
    await bus.publish(event_type, body, message_id=event_id)
    return event_id


async def publish_quota(bus: Bus, user: str, *, message_id: str | None = None, **changes: object) -> str:
    """Publish a change of a user's quota; return its id."""
    payload: dict[str, Any] = {"quotaId": "q1", "limits": {"devices": 10}, "usage": {"devices": 4}}
    return await publish(bus, "quota.updated", message_id=message_id, userId=user, **payload | changes)


async def test_event_reaches_the_right_sockets_and_no_other(node: ServedNode, bus: Bus) -> None:
    """User, device and role events reach each socket of their rooms once, and nobody else's."""
    alice, bob, device = fresh("alice"), fresh("bob"), fresh("device")
    async with (
        client(node, alice) as page,
        client(node, alice) as second_page,
        client(node, bob) as other,
        client(node, fresh("watcher"), rooms=(f"device:{device}",)) as watcher,
        client(node, fresh("admin"), roles=("admin",)) as admin,
    ):
        await watcher.send(op="subscribe", rooms=[f"device:{device}"])
        await eventually(lambda: watcher.frames, "the answer")
        pages = (page, second_page, other, watcher, admin)

        quota = await publish_quota(bus, alice, secret="never leaves")
        started = await publish(bus, "device.started", userId=alice, deviceId=device)
        pool = await publish(bus, "proxy.pool_changed", poolId="p1", counts={"total": 3})
        frame = await page.gets(quota)
        await asyncio.gather(*(one.gets(started) for one in (page, second_page, watcher)), admin.gets(pool))
        # Whatever else would come has come before these.
        for domain_event in ("quota.deduct", "device.deleted"):
            for user in (alice, bob):
                last = await publish(bus, domain_event, userId=user, quotaId="q1", deviceId=fresh("device"))
            await other.gets(last)

    assert frame["room"] == f"user:{alice}"
    assert frame["version"] == 1
    data = {"userId": alice, "quotaId": "q1", "limits": {"devices": 10}, "usage": {"devices": 4}}
    assert frame["data"] == data
    got = [[event for event in one.events if event[1] in (quota, started, pool)] for one in pages]
    of_device = [("device.started", started), ("device.status.changed", started)]
    own = [("quota.updated", quota), *of_device]
    assert sorted(got[0]) == sorted(got[1]) == sorted(own)
    assert got[2:] == [[], of_device, [("proxy.pool_changed", pool)]]


async def test_duplicates_reach_the_page_once(node: ServedNode, bus: Bus) -> None:
    """An event published again under its message_id, or that can happen only once, reaches the page once."""
    user, transaction = fresh("user"), fresh("transaction")
    async with client(node, user) as page:
        event_id = await publish_quota(bus, user)
        for _ in range(3):
            await publish_quota(bus, user, message_id=event_id)
        for _ in range(3):
            await publish(
                bus,
                "deposit_completed:v1",
                userId=user,
                transactionId=transaction,
                amount="10.00",
                newBalance="20.00",
                providerTransactionId="p",
                message="done",
            )
        last_quota = await publish_quota(bus, user)
        last_deposit = await publish(
            bus,
            "deposit_completed:v1",
            userId=user,
            transactionId=fresh("transaction"),
            amount="1.00",
            newBalance="21.00",
            providerTransactionId="q",
            message="done",
        )
        await page.gets(last_quota)
        await page.gets(last_deposit)

    assert page.ids("quota.updated") == [event_id, last_quota]
    deposits = [frame for frame in page.frames if frame["id"] not in (event_id, last_quota)]
    assert [frame["data"]["transactionId"] for frame in deposits][:-1] == [transaction]
    assert len(deposits) == 2


async def test_bad_input_becomes_dead_letters_and_the_queue_moves_on(node: ServedNode, bus: Bus) -> None:
    """Each kind of bad input is in the dead-letter queue, whole and with its reason; what follows arrives."""
    user = fresh("user")
    good = {"userId": user, "timestamp": now(), "quotaId": "q1", "limits": {}, "usage": {}}
    cases: dict[str, tuple[str, bytes]] = {
        "not_json": ("quota.updated", b"{'userId': 1}"),
        "wrong_encoding": ("quota.updated", json.dumps(good).encode("utf-16")),
        "empty": ("quota.updated", b""),
        "too_large": ("quota.updated", json.dumps(good | {"filler": "x" * 5_000_000}).encode()),
        "not_an_object": ("quota.updated", b"[1, 2]"),
        "missing_field userId": ("quota.updated", json.dumps(good | {"userId": None}).encode()),
        "bad_field timestamp": ("quota.updated", json.dumps(good | {"timestamp": "yesterday"}).encode()),
        "bad_field limits": ("quota.updated", json.dumps(good | {"limits": "many"}).encode()),
        "wrong_type": ("quota.updated", json.dumps(good | {"type": "device.started"}).encode()),
        "bad_name": ("quotaUpdated", json.dumps(good).encode()),
        "bad_name prefix": ("user.quota.updated", json.dumps(good).encode()),
        "unknown_type": ("quota.invented", json.dumps(good).encode()),
        "unknown_type domain": ("stock.changed", json.dumps(good).encode()),
    }
    del good["userId"]
    cases["missing_field userId"] = ("quota.updated", json.dumps(good).encode())
    sent = {}
    async with client(node, user) as page:
        for case, (routing_key, body) in cases.items():
            sent[case] = fresh("bad")
            await bus.publish(routing_key, body, message_id=sent[case])
        await page.gets(await publish_quota(bus, user))
        assert len(page.events) == 1

    async def all_there() -> bool:
        return await bus.waiting("dead") >= len(cases)

    await eventually(all_there, "the dead letters")
    async with browse(bus.connection, bus.names, letters_max=1000) as letters:
        found = {letter.message_id: letter async for letter in letters}
    for case, (routing_key, body) in cases.items():
        letter = found[sent[case]]
        assert letter.reason == case.split()[0]
        assert letter.body == body
        assert letter.routing_key == routing_key
        assert letter.message
    assert found[sent["missing_field userId"]].field == "userId"
    assert found[sent["bad_field timestamp"]].field == "timestamp"
    assert found[sent["bad_field limits"]].field == "limits"


async def test_late_events_are_not_sent(node: ServedNode, bus: Bus) -> None:
    """An event past its type's maximum age is counted, not sent; a fresh one is sent."""
    company = fresh("company")
    late = (datetime.now(UTC) - timedelta(seconds=30)).isoformat()
    async with client(node, fresh("user"), rooms=("company:*",)) as page:
        await page.send(op="subscribe", rooms=[f"company:{company}"])
        await eventually(lambda: page.frames, "the answer")
        await publish(bus, "whatsapp.qr", companyId=company, qr="old", timestamp=late)
        await page.gets(await publish(bus, "whatsapp.qr", companyId=company, qr="new"))

    assert [frame["data"]["qr"] for frame in page.frames if "offset" in frame] == ["new"]
    counted = 'bridge_deliveries_total{domain="whatsapp",fate="late",type="whatsapp.qr"} 1.0'
    assert counted in await node.metrics()


async def test_metrics_tell_of_the_process_too(node: ServedNode, bus: Bus) -> None:
    """Build, process, event loop, limits, and the dead letters that wait are told beside the counters."""
    await bus.publish("quota.updated", b"refused")

    async def waiting() -> bool:
        return (
            re.search(r"^bridge_dead_letters_waiting [1-9]", await node.metrics(), re.MULTILINE) is not None
        )

    await eventually(waiting, "a dead letter that waits")
    metrics = await node.metrics()
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    compiled, python = "yes" if is_compiled() else "no", platform.python_version()
    assert f'bridge_build_info{{compiled="{compiled}",python="{python}",version="{__version__}"}}' in values
    for name in ("process_cpu_seconds_total", "process_open_fds", "process_resident_memory_bytes"):
        assert float(values[name]) > 0
    assert float(values["bridge_event_loop_lag_seconds_count"]) > 0
    assert (values["bridge_sockets_max"], values["bridge_log_caught_up"]) == ("15000.0", "1.0")
    assert values['bridge_closes_total{code="4008"}'] == "0.0"


async def test_logs_are_json_and_tell_no_secrets(node: ServedNode, bus: Bus) -> None:
    """Every line that the node prints is a JSON object, and none contains a token or a part of a payload."""
    user, device = fresh("user"), fresh("device")
    async with client(node, user, rooms=(f"note:{CANARY}",)) as page:
        await publish_quota(bus, user, limits={CANARY: 1}, note=CANARY)
        await publish_quota(bus, user, limits={CANARY: CANARY})
        odd: dict[str, Any] = {CANARY: CANARY, "quotaId": [CANARY]}
        await publish_quota(bus, user, **odd)
        await publish(bus, "device.started", userId=user, deviceId=device, message=CANARY, status=[CANARY])
        await bus.publish("quota.updated", f'{{"userId": "{CANARY}'.encode(), message_id=fresh("bad"))
        await page.send(op="subscribe", rooms=[f"note:{CANARY}"])
        await page.send(op=CANARY)
        await page.send(op="auth", token=CANARY)
        await page.gets(await publish_quota(bus, user, limits={CANARY: 2}))
    address = f"ws://127.0.0.1:{await node.port('public')}/ws"
    for token in (CANARY, f"{node.token(user)}{CANARY}"):
        async with connect_socket(f"{address}?token={token}") as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4401

    lines = node.output().splitlines()
    entries = [json.loads(line) for line in lines]
    assert {"time", "level", "event"} <= set.intersection(*(set(entry) for entry in entries))
    assert any(entry["event"] == "ingest.dead_letter" for entry in entries)
    assert any(entry["event"] == "ingest.settled" for entry in entries)
    assert CANARY not in node.output()
    assert node.token(user).rpartition(".")[0].rpartition(".")[0] not in node.output()


async def test_sigterm_under_load_loses_nothing(
    rabbitmq: SharedBroker, prefix: Prefix, tmp_path: Path
) -> None:
    """On SIGTERM what was acked was delivered, the rest is in its queue, and sockets get 1012 and a hint."""
    user, total = fresh("user"), 3000
    with serving(environment(rabbitmq.url, prefix), tmp_path) as node:
        await node.ready()
        async with bus_of(rabbitmq.url, prefix) as bus, client(node, user) as page:

            async def load() -> None:
                for start in range(0, total, 100):
                    sent = (
                        publish(bus, "quota.deduct", message_id=str(number), userId=user, quotaId="q1")
                        for number in range(start, start + 100)
                    )
                    await asyncio.gather(*sent)

            loading = asyncio.create_task(load())
            await eventually(lambda: len(page.events) > 300, "some events")
            node.process.send_signal(signal.SIGTERM)
            await eventually(lambda: page.closed is not None, "the socket's end")
            await loading
            assert await node.status() == 0

            received = [int(event_id) for event_id in page.ids("quota.deduct")]
            left = await bus.waiting("quota")
            assert received == list(range(len(received)))
            assert len(received) + left == total
            assert left > 3
            rest = [(await bus.take("quota")).message_id for _ in range(3)]
            assert rest == [str(len(received) + place) for place in range(3)]
        assert page.closed is not None
        assert page.closed.rcvd is not None
        assert page.closed.rcvd.code == 1012
        draining = next(frame for frame in page.frames if frame["type"] == "draining")
        assert draining["data"]["retryAfterMs"] >= 0
        assert node.logged("app.stopped")


async def test_second_signal_leaves_at_once(rabbitmq: SharedBroker, prefix: Prefix, tmp_path: Path) -> None:
    """While a drain waits for a client that does not answer, a second signal ends the process at once."""
    variables = environment(rabbitmq.url, prefix, BRIDGE_WS__CLOSE_SECONDS_MAX="60")
    with serving(variables, tmp_path) as node:
        await node.ready()
        async with silent_client(node):
            node.process.send_signal(signal.SIGTERM)
            await node.until("ws.draining")
            assert node.process.poll() is None

            node.process.send_signal(signal.SIGTERM)

            assert await node.status(seconds_max=1.0) == 128 + signal.SIGTERM
    assert node.logged("app.leaving_at_once")
    assert not node.logged("app.stopped")


async def test_node_starts_without_a_broker(rabbitmq: SharedBroker, prefix: Prefix, tmp_path: Path) -> None:
    """Started with no broker there, a node is alive and not ready; 5 s after the broker's coming it works."""
    (port,) = free_ports(1)
    broker = URL(rabbitmq.url)
    assert broker.host is not None
    assert broker.port is not None
    url = str(broker.with_host("127.0.0.1").with_port(port))
    user = fresh("user")
    with serving(environment(url, prefix), tmp_path) as node:
        await node.until("amqp.disconnected")
        status, parts = await node.readiness()
        assert status == 503
        assert parts["node"] is True
        assert parts[f"{prefix} ingest"] is False

        async with Proxy(broker.host, broker.port, listen_at=port):
            await node.ready(seconds_max=BACK_SECONDS_MAX)
            async with bus_of(rabbitmq.url, prefix) as bus, client(node, user) as page:
                await page.gets(await publish_quota(bus, user))

            node.process.send_signal(signal.SIGTERM)
            assert await node.status() == 0


async def test_node_stops_without_a_broker(prefix: Prefix, tmp_path: Path) -> None:
    """A node that never found its broker stops as quickly as any other."""
    url = f"amqp://guest:guest@127.0.0.1:{free_ports(1)[0]}/"
    for log in ("memory", "stream"):
        with serving(environment(url, prefix, BRIDGE_EVENT_LOG__KIND=log), tmp_path) as node:
            await node.until("amqp.disconnected")
            node.process.send_signal(signal.SIGTERM)

            assert await node.status(seconds_max=3.0) == 0


@asynccontextmanager
async def silent_client(node: ServedNode) -> AsyncIterator[None]:
    """Open a socket that answers nothing, not even its being closed."""
    port = await node.port("public")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {node.token('silent')}\r\n\r\n"
    )
    writer.write(request.encode())
    assert b"101" in await reader.readline()
    await reader.readuntil(b"connected")
    try:
        yield
    finally:
        writer.transport.abort()


async def test_check_beside_a_running_bridge(node: ServedNode, tmp_path: Path) -> None:
    """Where a bridge of ours has the ports, check says so and how it is, and finds nothing wrong."""
    ports = {
        f"BRIDGE_{edge}__PORT": str(await node.port(kind))
        for edge, kind in (("WS", "public"), ("ADMIN", "admin"))
    }

    checked = await bridge("check", variables={**node._variables, **ports}, folder=tmp_path)

    assert checked.status == 0, checked.said
    assert checked.out.count("a bridge serves there") == 2
    assert re.search(r"✓ running +ready; \d+ parts are well", checked.out)
