"""The paid-content platform's five scenarios, and its events, by clients that are not ours.

A served bridge between a real RabbitMQ and a real PostgreSQL; pages connect with session tokens as
NextAuth.js issues them. Who may see what is in the platform's own tables: a creator's channel is for
subscribers, a post's for its buyers. The clients are the `ws` package of Node.js, which is looked for
where `tests/ws/test_javascript.py` does, and the client of `websockets`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from benchmarks.wire import upgrade
from devel.errors import DevelError
from tests.amqp.bus import Bus
from tests.auth.nextauth import COOKIE, authjs_5, nextauth_4, session_claims, signed
from tests.commands import environment
from tests.databases import shared_server
from tests.eventually import eventually
from tests.foreign import ANSWER_SECONDS_MAX, GOODBYE, PAGES, Message, Page, PythonPage, missing
from tests.servers import Prefix, SharedBroker
from tests.test_end_to_end import ServedNode, bus_of, publish, serving

SECRET = "kR7vJ2nXw9QmB4tYc6LpZ8sHd3FgA5eU"
ORIGIN = "https://app.example.com"
MESSAGE = "Successfully connected to WebSocket server"
UNAUTHORIZED, BLOCKED = 4401, 4403
TABLES = """
CREATE TABLE users (id text PRIMARY KEY, banned boolean NOT NULL);
INSERT INTO users VALUES ('ann', false), ('bob', false), ('mallory', true);
CREATE TABLE subscriptions (user_id text, creator_id text, status text);
INSERT INTO subscriptions VALUES ('ann', 'c1', 'active'), ('ann', 'c2', 'ended'), ('bob', 'c2', 'active');
CREATE TABLE purchases (user_id text, post_id bigint);
INSERT INTO purchases VALUES ('ann', 7), ('bob', 8);
"""
QUERIES = {
    "BRIDGE_USERS__QUERY": "SELECT NOT banned FROM users WHERE id = $1",
    "BRIDGE_GRANTS__CREATOR__QUERY": "SELECT creator_id FROM subscriptions"
    " WHERE user_id = $1 AND status = 'active' AND creator_id = ANY($2)",
    "BRIDGE_GRANTS__POST__QUERY": "SELECT post_id FROM purchases WHERE user_id = $1 AND post_id = ANY($2)",
}

Seal = Callable[[dict[str, object], str], str]


@pytest.fixture(scope="module", params=list(PAGES))
def kind(request: pytest.FixtureRequest) -> str:
    """Which client it is."""
    if lack := missing(request.param):
        pytest.skip(lack)
    return str(request.param)


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """The platform's database."""
    try:
        with shared_server() as server, asyncio.Runner() as runner:
            stack = AsyncExitStack()
            url = runner.run(stack.enter_async_context(server.database()))
            runner.run(_fill(url))
            yield url
            runner.run(stack.aclose())
    except DevelError as error:
        pytest.fail(error.message, pytrace=False)


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(TABLES)
    await connection.close()


@pytest.fixture(scope="module")
def platform_prefix(rabbitmq: SharedBroker) -> Iterator[Prefix]:
    """The prefix of the platform's bridge."""
    prefix = Prefix()
    yield prefix
    if rabbitmq.given:
        asyncio.run(prefix.delete_all(rabbitmq.url))


@pytest.fixture(scope="module")
def served(
    rabbitmq: SharedBroker,
    platform_prefix: Prefix,
    database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServedNode]:
    """The platform's bridge, with the two secrets under the names that the platform uses."""
    variables = environment(
        rabbitmq.url,
        platform_prefix,
        JWT_SECRET="",
        NEXTAUTH_SECRET=SECRET,
        DATABASE_URL=database_url,
        BRIDGE_AUTH__COOKIE_NAME=COOKIE,
        BRIDGE_WS__ALLOWED_ORIGINS=ORIGIN,
        BRIDGE_WS__PING_INTERVAL_SECONDS="1",
        **QUERIES,
    )
    with serving(variables, tmp_path_factory.mktemp("platform")) as node:
        yield node


@pytest.fixture
async def node(served: ServedNode) -> ServedNode:
    """The same, when all of its parts are well."""

    async def is_well() -> bool:
        return all((await served.readiness())[1].values())

    await eventually(is_well, "every part is well")
    return served


@pytest.fixture
async def url(node: ServedNode) -> str:
    """Where pages connect."""
    return f"ws://127.0.0.1:{await node.port('public')}/ws"


@pytest.fixture
async def bus(rabbitmq: SharedBroker, platform_prefix: Prefix) -> AsyncIterator[Bus]:
    """The platform's bus."""
    async with bus_of(rabbitmq.url, platform_prefix) as bus:
        yield bus


def session_of(user: str) -> str:
    """Return a valid session token of a user."""
    return nextauth_4(session_claims(user), SECRET)


@asynccontextmanager
async def connected(kind: str, url: str, user: str) -> AsyncIterator[Page]:
    """Connect as a user, until after the greeting."""
    async with PAGES[kind](url, session_of(user)) as page:
        assert (await page.hear())["type"] == "connected"
        yield page


@pytest.mark.parametrize("seal", [nextauth_4, authjs_5, signed])
async def test_connect_with_a_valid_token(kind: str, url: str, seal: Seal) -> None:
    """The first scenario: a session token opens a socket, which says whose it is in the platform's words."""
    async with PAGES[kind](url, seal(session_claims("ann"), SECRET)) as page:
        greeting = await page.hear()

    assert greeting["type"] == "connected"
    assert (greeting["data"]["userId"], greeting["data"]["message"]) == ("ann", MESSAGE)
    assert "user:ann" in greeting["data"]["rooms"]


async def test_connect_with_the_session_cookie(url: str) -> None:
    """The cookie that a browser sends by itself does as well, from the platform's pages and no others."""
    cookie = {"Cookie": f"{COOKIE}={authjs_5(session_claims('ann'), SECRET)}"}
    async with connect(url, additional_headers={**cookie, "Origin": ORIGIN}) as socket:
        assert (await PythonPage(socket).hear())["data"]["userId"] == "ann"
    async with connect(url, additional_headers=cookie, subprotocols=[Subprotocol("bridge.v1")]) as socket:
        await socket.send('{"op": "ping"}')
        assert (await PythonPage(socket).hear())["type"] == "pong"  # It is asked for its hello.


REFUSED = {
    "expired": (nextauth_4(session_claims("ann", seconds=-60), SECRET), UNAUTHORIZED),
    "sealed with another secret": (nextauth_4(session_claims("ann"), SECRET[::-1]), UNAUTHORIZED),
    "signed with another secret": (signed(session_claims("ann"), SECRET[::-1]), UNAUTHORIZED),
    "no token, but a word": ("x", UNAUTHORIZED),
    "of a user who is not in the database": (session_of("nobody"), BLOCKED),
    "of a user who is banned": (session_of("mallory"), BLOCKED),
}


@pytest.mark.parametrize(("token", "code"), REFUSED.values(), ids=REFUSED)
async def test_connect_with_a_bad_token(kind: str, url: str, token: str, code: int) -> None:
    """Any other token is refused with a code that the page can read, and a reason."""
    async with PAGES[kind](url, token) as page:
        closed_with, reason = await page.closed()

    assert closed_with == code
    assert reason


async def test_subscribe_to_channels(kind: str, url: str) -> None:
    """The second: channels that the platform's tables grant are joined, all in one command."""
    async with connected(kind, url, "ann") as page:
        await page.say(op="subscribe", id=1, rooms=["creator:c1", "post:7", "user:ann"])
        answer = await page.hear()

    assert (answer["type"], answer["id"]) == ("subscribed", 1)
    assert answer["data"]["rooms"] == ["creator:c1", "post:7", "user:ann"]
    assert answer["data"]["refused"] == []


async def test_ping_pong(kind: str, url: str) -> None:
    """The third: a ping is answered; and who answers the server's stays, while a silent socket is dropped."""
    async with connected(kind, url, "ann") as page:
        await page.say(op="ping", id="p1")
        answer = await page.hear()
        assert (answer["type"], answer["id"]) == ("pong", "p1")
        assert answer["data"]["position"]["offset"] >= 0
        if isinstance(page, PythonPage):
            await (await page.socket.ping())  # By a control frame, as programs do.

        await until_dropped(url, session_of("ann"))  # It came later, so the page has been asked as often.
        await page.say(op="ping", id="p2")
        assert (await page.hear())["id"] == "p2"


async def until_dropped(url: str, token: str) -> None:
    """Open a socket that says nothing more, and wait until the server has had enough of it."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(upgrade(parts.netloc, parts.path, token))
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            assert b" 101 " in await reader.readline()
            await reader.read()
    finally:
        writer.close()


async def test_refusal_of_somebody_elses_channel(kind: str, url: str, bus: Bus) -> None:
    """The fourth: what is not the user's is refused, the socket stays, and nothing of it is ever heard."""
    async with connected(kind, url, "ann") as page, connected("websockets", url, "bob") as other:
        for room in ("user:bob", "role:admin", "creator:c2", "creator:c3", "post:8"):
            await page.say(op="subscribe", id=room, rooms=[room])
            refused = await page.hear()
            assert (refused["type"], refused["id"]) == ("error", room)
            assert (refused["data"]["code"], refused["data"]["room"]) == ("forbidden", room)
        await page.say(op="subscribe", rooms=["creator:c1", "creator:c2"])
        data = (await page.hear())["data"]
        assert data["rooms"] == ["creator:c1"]
        assert data["refused"] == [{"room": "creator:c2", "code": "forbidden"}]

        bobs = await publish(bus, "post-purchased", userId="bob", postId="8")
        assert (await other.hear())["id"] == bobs
        anns = await publish(bus, "post-purchased", userId="ann", postId="7")
        assert (await page.hear())["id"] == anns  # One domain keeps its order: bob's came by before.


async def test_graceful_disconnect(kind: str, url: str, node: ServedNode) -> None:
    """The fifth: who says goodbye is answered in form, leaves nothing behind, and disturbs nobody."""
    await eventually(lambda: nobody_is_there(node), "former sockets are gone")
    before = await goodbyes(node)
    async with connected("websockets", url, "bob") as other:
        async with connected(kind, url, "ann") as page:
            assert await gauges(node) == {"sockets": 2, "users": 2}
            await page.leave()
            code, _ = await page.closed()
            assert code == GOODBYE

        async def is_gone() -> bool:
            return await gauges(node) == {"sockets": 1, "users": 1}

        await eventually(is_gone, "nothing of it is left")
        assert await goodbyes(node) == before + 1
        await other.say(op="ping", id=1)
        assert (await other.hear())["type"] == "pong"


async def gauges(node: ServedNode) -> dict[str, float]:
    """Return how many sockets and users a node has."""
    return {name: metric(await node.metrics(), f"bridge_{name}") for name in ("sockets", "users")}


async def nobody_is_there(node: ServedNode) -> bool:
    """Tell whether a node has no socket."""
    return (await gauges(node))["sockets"] == 0


async def goodbyes(node: ServedNode) -> float:
    """Return how many sockets of a node were closed by their clients."""
    return metric(await node.metrics(), 'bridge_closes_total{code="client"}')


def metric(text: str, name: str) -> float:
    """Return the value of a metric, 0 for one that is not there."""
    found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(found[0]) if found else 0.0


EVENTS: dict[str, tuple[str, Message]] = {
    # As they are published: as what they arrive, and what is said.
    "subscription-updated": (
        "subscription.updated",
        {"subscriptionId": "sub-301", "creatorId": "c1", "status": "active", "plan": "monthly"},
    ),
    "post-purchased": (
        "post.purchased",
        {"postId": "7", "purchaseId": "buy-55", "creatorId": "c1", "amount": "4.99", "currency": "USD"},
    ),
}


@pytest.mark.parametrize("published", EVENTS)
@pytest.mark.parametrize("names_itself", [True, False], ids=["with type", "without type"])
async def test_events_arrive(kind: str, url: str, bus: Bus, published: str, *, names_itself: bool) -> None:
    """What the platform publishes under its own names comes to the user, whole, with the canonical name."""
    event_type, data = EVENTS[published]
    named = {"type": published} if names_itself else {}
    async with connected(kind, url, "ann") as page:
        event_id = await publish(bus, published, userId="ann", **data, **named)
        event = await page.hear()

    assert (event["type"], event["id"], event["room"]) == (event_type, event_id, "user:ann")
    assert event["data"] == {"userId": "ann", **data}
