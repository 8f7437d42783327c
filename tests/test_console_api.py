"""The console's API as the operator's page meets it: a real bridge on real RabbitMQ."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from bridge.admin.console_streams import STREAMS_MAX
from bridge.admin.console_web import BODY_BYTES_MAX
from bridge.admin.merged import MergedCollector
from bridge.admin.server import AdminServer
from bridge.amqp.dead import browse
from tests.amqp.bus import Bus
from tests.commands import environment
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.servers import Prefix, SharedBroker
from tests.test_end_to_end import ServedNode, bus_of, client, fresh, publish_quota, serving

TOKEN = "0f3c5e7a9b1d2f4e6a8c0b2d4f6e8a0c"
Json = dict[str, Any]


class Operator:
    """Somebody with the token."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Json]:  # noqa: ANN401
        """Return status and answer."""
        async with self.session.request(method, f"{self.base}/console/api/{path}", **options) as response:
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
            return response.status, await response.json()

    async def get(self, path: str) -> Json:
        """Return the answer to a request that succeeds."""
        status, answer = await self.ask("GET", path)
        assert status == 200, answer
        return answer

    async def post(self, path: str, **body: object) -> Json:
        """Do the same with a body."""
        status, answer = await self.ask("POST", path, json=body)
        assert status == 200, answer
        return answer

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
        """Yield the server-sent events of a stream: name and data."""
        async with self.session.get(f"{self.base}/console/api/{path}") as response:
            assert response.status == 200, await response.text()
            yield events(response)


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """Yield server-sent events as they come; comments are passed over."""
    name = ""
    while line := (await response.content.readuntil(b"\n")).decode():
        field, _, value = line.rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


@pytest.fixture(scope="module")
def own_prefix(rabbitmq: SharedBroker) -> Iterator[Prefix]:
    """The prefix of the node that these tests share."""
    prefix = Prefix()
    yield prefix
    if rabbitmq.given:
        asyncio.run(prefix.delete_all(rabbitmq.url))


@pytest.fixture(scope="module")
def served(
    rabbitmq: SharedBroker, own_prefix: Prefix, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedNode]:
    """A node in development with a console."""
    variables = environment(
        rabbitmq.url,
        own_prefix,
        BRIDGE_ADMIN__TOKEN=TOKEN,
        BRIDGE_MODE="development",
        BRIDGE_LOG__FORMAT="json",
    )
    with serving(variables, tmp_path_factory.mktemp("console")) as node:
        yield node


@asynccontextmanager
async def operator_of(node: ServedNode, token: str = TOKEN) -> AsyncIterator[Operator]:
    """Connect to the operator port of a node."""
    base = f"http://127.0.0.1:{await node.port('admin')}"
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=60, sock_read=20)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield Operator(session, base)


@pytest.fixture
async def operator(served: ServedNode) -> AsyncIterator[Operator]:
    """The operator of the shared node, once that is ready."""
    await served.ready()
    async with operator_of(served) as operator:
        yield operator


@pytest.fixture
async def bus(rabbitmq: SharedBroker, own_prefix: Prefix) -> AsyncIterator[Bus]:
    """The shared node's bus."""
    async with bus_of(rabbitmq.url, own_prefix) as bus:
        yield bus


async def test_overview(operator: Operator) -> None:
    """The overview tells who the node is, how its parts are, and where the log stands."""
    overview = await operator.get("overview")
    (own,) = (await operator.get("nodes"))["nodes"]

    node = overview["node"]
    assert (node["ready"], node["development"]) == (True, True)
    assert {"part": "node", "ok": True, "detail": "serving", "vital": True} in node["parts"]
    assert (overview["log"]["kind"], len(overview["log"]["epoch"])) == ("memory", 32)
    assert (own["id"], own["name"], own["self"]) == (node["id"], node["name"], True)
    assert datetime.fromisoformat(own["startedAt"]) < datetime.now(UTC)


async def test_domains_and_types(operator: Operator) -> None:
    """Every domain tells of its queue and types; every type has a schema that its own example satisfies."""
    domains = {domain["name"]: domain for domain in (await operator.get("domains"))["domains"]}
    types = (await operator.get("types"))["types"]

    quota = domains["quota"]
    assert quota["queue"].endswith(".quota")
    assert (quota["attached"], quota["trouble"], quota["topics"]) == (True, None, ["quota.#"])
    assert "unrouted" in domains
    for one in types:
        assert one["name"] in domains[one["domain"]]["types"]
        assert set(one["example"]) <= set(one["schema"]["properties"])
        assert set(one["schema"].get("required", ())) <= {*one["example"], "userId", "timestamp"}, one["name"]
    (metrics,) = [one for one in types if one["name"] == "quota.metrics"]
    assert (metrics["rooms"], metrics["policy"]) == (["user"], "conflate")


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        TOKEN,
        "Bearer",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}0",
        f"bearer  {TOKEN}",
        f"Basic {TOKEN}",
        "Bearer grün",
        "Bearer " + "x" * 5_000,
    ],
)
async def test_wrong_tokens(operator: Operator, given: str | None) -> None:
    """Without the very token nothing of the API is there, not even what is not there."""
    headers = {} if given is None else {"Authorization": given}
    async with aiohttp.ClientSession(headers=headers) as session:
        stranger = Operator(session, operator.base)
        for method, path in (("GET", "overview"), ("GET", "tail"), ("GET", "nowhere"), ("POST", "publish")):
            status, answer = await stranger.ask(method, path)

            assert (status, answer["error"]["code"]) == (401, "unauthorized")
            assert "admin.token" in answer["error"]["message"]


@pytest.mark.parametrize(
    "request_of",
    [
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\x01\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {TOKEN}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}{'x' * 9_000}\r\n\r\n",
        (
            f"POST /console/api/explain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone"
        ),
    ],
)
async def test_requests_that_are_none(served: ServedNode, operator: Operator, request_of: str) -> None:
    """What cannot be read is refused, and neither it nor a token in it is logged."""
    url = URL(operator.base)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(request_of.encode())
    async with asyncio.timeout(10):
        status_line = await reader.readline()
    writer.close()

    assert b" 400 " in status_line
    assert TOKEN not in served.output()
    assert "Traceback" not in served.output()
    assert served.logged("admin.failed") is served.logged("console.failed") is None


async def test_a_foreign_page(operator: Operator) -> None:
    """What a page of another site has a browser send is refused, even if a proxy has added the token."""
    for site, expected in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        status, _ = await operator.ask("GET", "overview", headers={"Sec-Fetch-Site": site})

        assert status == expected, site


LARGE = {"type": "quota.updated", "data": {"text": "x" * BODY_BYTES_MAX}}
DEEP = '{"type": "t.t", "data": ' + '{"a":' * 3_000 + "1" + "}" * 3_001
EXPLAIN = {"user": "u1", "room": "user:u1", "event": "quota.updated"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "words"),
    [
        ("GET", "nowhere", None, 404, "not_found", "/console/api/nowhere"),
        ("PUT", "overview", None, 405, "method_not_allowed", "use GET"),
        ("GET", "dead/replay", None, 405, "method_not_allowed", "use POST"),
        ("GET", "overview?x=1", None, 400, "bad_parameter", "'x'"),
        ("GET", "tail?typ=a", None, 400, "bad_parameter", "type, domain, user, room, text"),
        ("GET", "tail?type=a&type=b", None, 400, "bad_parameter", "type: is there twice"),
        ("GET", f"tail?text={'x' * 201}", None, 400, "bad_parameter", "text: is longer than 200"),
        ("GET", "dead?limit=0", None, 400, "bad_parameter", "limit: must be a whole number from 1 to 100"),
        ("GET", "dead?limit=101", None, 400, "bad_parameter", "limit"),
        ("GET", "dead?limit=1e1", None, 400, "bad_parameter", "limit"),
        ("GET", "users/a%20b", None, 400, "bad_user", "white space"),
        ("GET", f"users/{'x' * 129}", None, 400, "bad_user", "128"),
        ("POST", "users/a%2Cb/disconnect", "{}", 400, "bad_user", "commas"),
        ("POST", "users/u1/disconnect", '{"reson": "x"}', 400, "bad_field", "reason, tokenId"),
        ("POST", "users/u1/disconnect", '{"reason": 5}', 400, "bad_field", "reason"),
        ("POST", "explain", "", 400, "bad_field", "user"),
        ("POST", "explain", "{", 400, "bad_json", "not JSON"),
        ("POST", "explain", b"\xff", 400, "bad_json", "not JSON"),
        ("POST", "explain", "[]", 400, "bad_field", "object"),
        ("POST", "explain", json.dumps({**EXPLAIN, "roles": "admin"}), 400, "bad_field", "roles"),
        ("POST", "explain", json.dumps({**EXPLAIN, "event": "no.such"}), 404, "unknown_type", "known:"),
        ("POST", "explain", json.dumps({**EXPLAIN, "event": "Quota"}), 404, "unknown_type", "lower case"),
        ("POST", "dead/replay", '{"ids": []}', 400, "bad_field", "ids"),
        ("POST", "dead/replay", '{"ids": ["../x"]}', 400, "bad_field", "ids.0"),
        ("POST", "dead/purge", json.dumps({"ids": ["a"] * 501}), 400, "bad_field", "500"),
        ("POST", "publish", json.dumps(LARGE), 413, "too_large", "65536 bytes"),
        ("POST", "publish", DEEP, 400, "bad_json", "not JSON"),
        ("POST", "publish", '{"type": "quota.updated", "data": {"x": NaN}}', 400, "not_json", "JSON"),
        ("POST", "publish", '{"type": "quota.updated", "data": {}}', 400, "missing_field", "userId"),
        ("POST", "publish", '{"type": "quota.updatd", "data": {}}', 400, "unknown_type", "quota.updated"),
        (
            "POST",
            "publish",
            json.dumps({"type": "t.t", "data": {}, "messageId": "é" * 150}),
            400,
            "too_long",
            "255",
        ),
    ],
)
async def test_errors(
    operator: Operator,
    method: str,
    path: str,
    body: str | bytes | None,
    status: int,
    code: str,
    words: str,
) -> None:
    """A request that cannot be answered gets one shape of error, which names the thing and the remedy."""
    answer = await operator.ask(method, path, data=body)

    error = answer[1]["error"]
    assert (answer[0], error["code"]) == (status, code), error
    assert words in error["message"]


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/console", 302, "console/"),
        ("/console/", 200, None),
        ("/console/index.html", 200, None),
        ("/console/no-such-file", 404, None),
        ("/console/../livez", 404, None),
        ("/console/..%2f..%2fserver.py", 404, None),
        ("/console/%2e%2e/%2e%2e/server.py", 404, None),
        ("/console//etc/passwd", 404, None),
    ],
)
async def test_page(operator: Operator, path: str, status: int, location: str | None) -> None:
    """The page is there without a token, under strict headers, and nothing outside of its folder is."""
    url = URL(operator.base + path, encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, allow_redirects=False) as response,
    ):
        assert (response.status, response.headers.get("Location")) == (status, location)
        assert "AdminServer" not in await response.text()
        if not path.startswith("/console/.."):
            policy = response.headers["Content-Security-Policy"]
            assert "script-src 'self'" in policy
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"


async def test_samples(served: ServedNode, operator: Operator, bus: Bus) -> None:
    """The samples begin with the history, go on each second, and show what happens to sockets and domains."""
    user = fresh("user")
    async with operator.stream("samples") as stream, client(served, user):
        name, history = await anext(stream)
        assert name == "history"
        await publish_quota(bus, user)

        samples = [await anext(stream) for _ in range(1)]
        while not samples[-1][1]["domains"]["quota"]["eventsPerSecond"]:
            samples.append(await anext(stream))

    assert {name for name, _ in samples} == {"sample"}
    last = samples[-1][1]
    assert (last["sockets"] >= 1, last["framesPerSecond"] > 0, last["latencyMs"]["p50"] >= 0) == (True,) * 3
    assert all(set(sample) == set(last) for sample in history)
    ats = [sample["at"] for sample in [*history, *(sample for _, sample in samples)]]
    assert ats == sorted(set(ats))


async def test_tail(operator: Operator, bus: Bus) -> None:
    """The tail shows what has just been, then what comes, and of both what the filter lets through."""
    user, other = fresh("user"), fresh("user")
    before = await publish_quota(bus, user)
    await eventually(lambda: recent_of(operator, user))
    async with operator.stream(f"tail?type=quota.*&user={user}") as stream:
        _, first = await anext(stream)
        await publish_quota(bus, other)
        after = await publish_quota(bus, user)
        _, second = await anext(stream)

    assert [first["id"], second["id"]] == [before, after]
    assert (second["domain"], second["rooms"], second["data"]["quotaId"]) == ("quota", [f"user:{user}"], "q1")
    assert second["offset"] == first["offset"] + 2
    assert second["latencyMs"] >= 0


async def recent_of(operator: Operator, user: str) -> list[Json]:
    """Return what the console knows of a user's events."""
    recent: list[Json] = (await operator.get(f"users/{user}"))["recent"]
    return recent


async def test_a_user(served: ServedNode, operator: Operator, bus: Bus) -> None:
    """A user's sockets and newest events are shown; disconnecting closes the sockets, and says why."""
    user = fresh("user")
    async with client(served, user, roles=("admin",)) as page:
        await page.gets(await publish_quota(bus, user))
        shown = await operator.get(f"users/{user}")
        answer = await operator.post(f"users/{user}/disconnect", reason="because")
        await eventually(lambda: page.closed)

    ((node,), (event,)) = shown["nodes"], shown["recent"]
    (socket,) = node["sockets"]
    assert (node["self"], node["answered"], node["socketsLeftOut"]) == (True, True, 0)
    assert socket["rooms"] == [f"user:{user}", "role:admin", "all"]
    assert (socket["state"], socket["roles"], socket["dialect"]) == ("open", ["admin"], "bridge.v1")
    assert (socket["address"], socket["outboxFrames"], socket["compressed"]) == ("127.0.0.1", 0, True)
    opened_at = datetime.fromisoformat(socket["openedAt"])
    assert opened_at <= datetime.now(UTC) < datetime.fromisoformat(socket["tokenExpiresAt"])
    assert event["type"] == "quota.updated"
    assert len(answer["messageId"]) == 32
    assert page.closed is not None
    assert page.closed.rcvd is not None
    assert page.closed.rcvd.code == 4403


async def test_explain(operator: Operator) -> None:
    """The form explains as the command does."""
    answer = await operator.post("explain", **EXPLAIN)
    other = await operator.post("explain", **EXPLAIN | {"room": "device:d7", "claims": ["device:*"]})

    assert (answer["delivered"], answer["verdict"]) == (True, "delivered")
    assert answer["steps"][0] == {
        "ok": True,
        "text": "user u1 is in without asking user:u1: it is the user's own room",
    }
    assert (other["delivered"], [step["ok"] for step in other["steps"]][:2]) == (False, [True, False])


async def test_publish(served: ServedNode, operator: Operator) -> None:
    """In development an event that the bridge would take is published, and goes its ordinary way."""
    user = fresh("user")
    data = {"userId": user, "quotaId": "q1", "limits": {}, "usage": {}}
    async with client(served, user) as page:
        answer = await operator.post("publish", type="quota.updated", data=data, messageId=fresh("by-hand"))
        frame = await page.gets(answer["messageId"])

    assert answer["targets"] == [f"user:{user}"]
    assert frame["data"]["userId"] == user


async def test_dead_letters(served: ServedNode, operator: Operator, bus: Bus) -> None:
    """Dead letters are shown with reason and body; replayed they are judged anew, purged they go."""
    good, bad = fresh("event"), fresh("event")
    await bus.publish("quota.updated", b'{"userId": "u1"}', message_id=good, headers={"x-try": 7})
    await bus.publish("quota.updated", b"\xff\x00" + b"x" * 70_000, message_id=bad)

    async def both() -> list[Json]:
        letters: list[Json] = (await operator.get("dead"))["letters"]
        return letters if len(letters) == 2 else []

    letters = {letter["messageId"]: letter for letter in await eventually(both)}
    first, second = letters[good], letters[bad]
    replayed = await operator.post("dead/replay", ids=[first["id"], "abc", first["id"]])
    again = {letter["messageId"]: letter for letter in await eventually(both)}[good]
    purged = await operator.post("dead/purge", ids=[again["id"], second["id"]])

    assert (first["reason"], first["field"], first["domain"]) == ("missing_field", "timestamp", "quota")
    assert "timestamp" in first["message"]
    assert (first["body"], first["bodyEncoding"], first["size"]) == ('{"userId": "u1"}', "text", 16)
    assert (first["headers"], first["routingKey"]) == ({"x-try": "7"}, "quota.updated")
    assert (second["reason"], second["bodyEncoding"], second["truncated"]) == (
        "wrong_encoding",
        "base64",
        True,
    )
    assert base64.b64decode(second["body"]) == (b"\xff\x00" + b"x" * 70_000)[:65_536]
    assert replayed == {"replayed": [first["id"]], "missing": ["abc"]}
    assert again["id"] != first["id"]
    assert purged == {"purged": [again["id"], second["id"]], "missing": []}
    assert (await operator.get("dead?limit=1")) == {"letters": [], "total": 0, "shownMax": 100}
    assert served.logged("console.purged") is not None


async def test_streams_are_counted(operator: Operator) -> None:
    """So many streams are open at most; one whose reader has vanished makes room for another."""
    async with AsyncExitStack() as stack:
        writers: list[asyncio.StreamWriter] = []

        async def all_open() -> bool:  # Those of other tests may have to end first.
            with contextlib.suppress(AssertionError):
                writers.append(await stack.enter_async_context(reader(operator)))
            return len(writers) == STREAMS_MAX

        await eventually(all_open)
        refused = await operator.ask("GET", "samples")
        writers[0].transport.abort()

        async def opened() -> bool:
            async with operator.session.get(f"{operator.base}/console/api/tail") as response:
                return response.status == 200

        await eventually(opened)

    assert (refused[0], refused[1]["error"]["code"]) == (503, "too_many_streams")


@asynccontextmanager
async def reader(operator: Operator, path: str = "tail") -> AsyncIterator[asyncio.StreamWriter]:
    """Open a stream, and read no more than its head; vanish in the end."""
    url = URL(operator.base)
    incoming, outgoing = await asyncio.open_connection(url.host, url.port, limit=1_024)
    lines = (f"GET /console/api/{path} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", "", "")
    outgoing.write("\r\n".join(lines).encode())
    try:
        assert b" 200 " in await incoming.readline()
        await incoming.readuntil(b"\r\n\r\n")
        yield outgoing
    finally:
        outgoing.transport.abort()


async def test_more_than_the_tail_shows(operator: Operator, bus: Bus) -> None:
    """Of a burst the tail shows a part, and says how many were left out: together they are all."""
    user = fresh("user")
    async with operator.stream(f"tail?user={user}") as stream:
        for _ in range(600):
            await publish_quota(bus, user, note="x" * 500)
        shown, missed = 0, 0
        async for name, data in stream:
            shown, missed = (shown + 1, missed) if name == "entry" else (shown, missed + data["missed"])
            if shown + missed == 600:
                break

    assert shown > 0


async def test_without_a_token() -> None:
    """Without admin.token there is no console, and what stands there says which setting is missing."""
    admin = AdminServer(health=list, collector=MergedCollector())
    port = await admin.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as session:
            for path in ("/console", "/console/", "/console/api/overview"):
                async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                    assert response.status == 404
                    assert "BRIDGE_ADMIN__TOKEN" in await response.text()
    finally:
        await admin.stop()


async def test_a_broker_that_is_away(rabbitmq: SharedBroker, prefix: Prefix, tmp_path: Path) -> None:
    """While RabbitMQ does not answer, what needs it says so, with a remedy; nothing is lost, streams go on.

    A node in production publishes nothing for an operator, warns of a console that others can reach, and
    leaves in time with streams open.
    """
    broker = URL(rabbitmq.url)
    async with Proxy(broker.host or "", broker.port or 5672) as proxy:
        url = str(broker.with_host("127.0.0.1").with_port(proxy.port))
        variables = environment(url, prefix, BRIDGE_ADMIN__TOKEN=TOKEN, BRIDGE_ADMIN__HOST="0.0.0.0")  # noqa: S104 - tested
        with serving(variables, tmp_path) as node:
            await node.ready()
            async with operator_of(node) as operator, bus_of(rabbitmq.url, prefix) as bus:
                await bus.publish("quota.updated", b"{}", message_id="m1")
                letter = (await eventually(lambda: letters_of(operator)))[0]
                async with operator.stream("samples") as stream, reader(operator):
                    await proxy.__aexit__(None, None, None)
                    refused = [
                        await operator.ask("GET", "dead"),
                        await operator.ask("POST", "dead/replay", json={"ids": [letter["id"]]}),
                        await operator.ask("POST", "users/u1/disconnect"),
                    ]
                    production = await operator.ask("POST", "publish", json={"type": "t.t", "data": {}})
                    parts = (await operator.get("overview"))["node"]["parts"]
                    assert [name async for name, _ in bounded(stream, 2)] == ["history", "sample"]
                    async with browse(bus.connection, bus.names, letters_max=10) as letters:
                        left = [one.id async for one in letters]

                    node.process.send_signal(signal.SIGTERM)
                    status = await node.status(seconds_max=8.0)

    for status_code, answer in refused:
        assert (status_code, answer["error"]["code"]) == (503, "bus_unavailable")
        assert "python -m bridge check" in answer["error"]["message"]
    assert (production[0], production[1]["error"]["code"]) == (403, "not_in_production")
    assert not all(part["ok"] for part in parts)
    assert left == [letter["id"]]
    assert node.logged("console.exposed") is not None
    assert status == 0


async def letters_of(operator: Operator) -> list[Json]:
    """Return the dead letters."""
    letters: list[Json] = (await operator.get("dead"))["letters"]
    return letters


async def bounded(stream: AsyncIterator[tuple[str, Any]], count: int) -> AsyncIterator[tuple[str, Any]]:
    """Yield so many events of a stream."""
    for _ in range(count):
        yield await anext(stream)
