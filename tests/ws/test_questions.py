"""What sockets have to ask others: who waits, in which order, how long, and what becomes of the question."""

from __future__ import annotations

import asyncio
import json

import pytest

from bridge.auth.tokens import TokenVerifier
from bridge.core.access import Principal
from bridge.core.authority import InboxItem
from bridge.core.commands import Unread
from bridge.core.errors import KeyMissing
from bridge.ws.desk import Sources
from tests.authority import Authority
from tests.eventually import eventually
from tests.ws.clients import RawClient, ask, client, close_of, command, member, receive, request
from tests.ws.node import TOKENS, Node, running, token


def sources(knows: Authority) -> Sources:
    """Return sources that all are the same one."""
    return Sources(users=knows, grants=knows, inbox=knows)


@pytest.fixture
async def knows() -> Authority:
    """Somebody who knows u1, who may open lock:1."""
    authority = Authority()
    authority.users = {"u1"}
    authority.grants = {("u1", "lock:1")}
    authority.inboxes["u1"] = [
        InboxItem(3, b'{"type":"order.completed","data":{"n":1}}', read=False),
        InboxItem(4, b'{"type":"order.completed","data":{"n":2}}', read=True),
    ]
    return authority


async def waiting(node: Node, count: int = 1) -> None:
    """Wait until so many sockets wait for an answer."""
    await eventually(lambda: len(node.server.desk) == count, f"{count} sockets wait")


async def test_hello_of_a_known_user(knows: Authority) -> None:
    """A user that is active gets in, into the rooms that are granted, and learns what is unread."""
    async with running(sources=sources(knows)) as node, client(node) as c:
        connected = await ask(c, "hello", token=token(), rooms=["lock:1", "lock:2", "device:d1"])

        assert connected["data"]["rooms"] == ["user:u1", "all", "lock:1", "device:d1"]
        assert connected["data"]["refused"] == [{"room": "lock:2", "code": "forbidden"}]
        assert connected["data"]["unread"] == 1
        assert knows.asked == {"active": 1, "granted": 1, "unread": 1}


async def test_unknown_user(knows: Authority) -> None:
    """A good token of a user that is not there is closed with 4403."""
    async with running(sources=sources(knows)) as node, client(node, f"?token={token('u2')}") as c:
        assert await close_of(c) == (4403, "there is no such user, or they are not active")


async def test_user_out_of_reach(knows: Authority) -> None:
    """Nobody is let in unchecked: the client is told when to come back, and closed with 1012."""
    knows.out_of_reach()
    async with running(sources=sources(knows)) as node, client(node, f"?token={token()}") as c:
        draining = await receive(c)

        assert draining["type"] == "draining"
        assert 100 <= draining["data"]["retryAfterMs"] <= 5_000
        code, text = await close_of(c)
        assert code == 1012
        assert text.startswith("draining: users cannot be checked at the moment; come back after ")


async def test_answer_that_does_not_come(knows: Authority) -> None:
    """A question has a deadline; past it, nothing is known."""
    knows.let_go.clear()
    async with (
        running(sources=sources(knows), answer_seconds_max=0.1) as node,
        client(node, f"?token={token()}") as c,
    ):
        assert (await close_of(c))[0] == 1012
        assert knows.cancelled == 1


async def test_answer_that_fails(knows: Authority) -> None:
    """A fault of whoever is asked is not a yes, and ends nothing but the question."""
    knows.trouble = RuntimeError("a fault")  # Its text may quote anything, and is not logged.
    async with (
        running(sources=Sources(grants=knows)) as node,
        member(node) as c,
    ):
        error = await ask(c, "subscribe", id=1, rooms=["lock:1"])
        assert (error["type"], error["data"]["code"]) == ("error", "unavailable")
        (line,) = node.diary.told("ws.answer_failed")
        assert (line["asked"], line["error"]) == ("WhoMay", "RuntimeError")
        assert line["where"].rpartition(" > ")[2].startswith("authority.py:")
        assert "a fault" not in str(node.diary.lines)

        knows.trouble = None
        assert (await ask(c, "subscribe", id=2, rooms=["lock:1"]))["data"]["rooms"] == ["lock:1"]


async def test_rooms_out_of_reach(knows: Authority) -> None:
    """When grants cannot be asked for, rooms that need none are joined all the same."""
    knows.out_of_reach()
    async with running(sources=Sources(grants=knows)) as node, member(node) as c:
        answer = await ask(c, "subscribe", id=1, rooms=["lock:1", "device:d1"])

        assert answer["data"]["rooms"] == ["device:d1"]
        assert answer["data"]["refused"] == [{"room": "lock:1", "code": "unavailable"}]


async def test_one_question_for_all_rooms(knows: Authority) -> None:
    """All rooms of a command are asked for together."""
    async with running(sources=Sources(grants=knows)) as node, member(node) as c:
        await ask(c, "subscribe", rooms=[f"lock:{number}" for number in range(50)])

        assert knows.asked == {"granted": 1}


async def test_answers_in_order(knows: Authority) -> None:
    """Commands that come behind a question wait for it; more than may wait are told so."""
    async with running(sources=Sources(grants=knows), commands_waiting_max=3) as node, member(node) as c:
        knows.let_go.clear()
        for number, room in enumerate(("lock:1", "device:d1", "lock:2", "device:d2", "device:d3")):
            await c.send(json.dumps({"op": "subscribe", "id": number, "rooms": [room]}))
        await waiting(node)
        knows.let_go.set()

        answers = [await receive(c) for _ in range(5)]
        by_id = {answer["id"]: answer for answer in answers}
        late = [answer["id"] for answer in answers if answer["data"].get("code") != "not_ready"]
        assert late == sorted(late)
        assert by_id[0]["type"] == by_id[1]["type"] == "subscribed"
        assert by_id[2]["data"]["code"] == "forbidden"


async def test_reading_stops_while_commands_wait(knows: Authority) -> None:
    """A client that goes on sending behind a question fills its own buffers, and not ours."""
    async with running(sources=Sources(grants=knows)) as node, RawClient.member(node) as raw:
        knows.let_go.clear()
        await raw.send(command("subscribe", id=1, rooms=["lock:1"]))
        await waiting(node)
        await raw.send(command("ping", id=2))
        transport = node.connection_of("u1")._transport
        await eventually(lambda: not transport.is_reading(), "nothing more is read")

        knows.let_go.set()
        assert (await raw.frame()).message["id"] == 1
        assert (await raw.frame()).message["id"] == 2
        await eventually(transport.is_reading, "reading goes on")


async def test_socket_that_goes_takes_its_question_along(knows: Authority) -> None:
    """A question whose socket has closed is cancelled; no task is left."""
    async with running(sources=sources(knows)) as node:
        knows.let_go.clear()
        async with client(node, f"?token={token()}"):
            await waiting(node)
        await waiting(node, 0)

        await eventually(lambda: knows.cancelled == 1, "the question is given up")
        assert not node.server.users


async def test_node_that_stops_takes_all_questions_along(knows: Authority) -> None:
    """A node that stops waits for no answer."""
    knows.let_go.clear()
    async with running(sources=sources(knows)) as node:
        sockets = [asyncio.create_task(closed(node)) for _ in range(5)]
        await waiting(node, 5)
        await node.server.stop()
        await asyncio.gather(*sockets)

    assert knows.cancelled == 5


async def closed(node: Node) -> None:
    """Be a client until it is closed."""
    async with client(node, f"?token={token()}") as c:
        await close_of(c)


async def test_hello_deadline_is_over_with_the_hello(knows: Authority) -> None:
    """The time for a hello ends with the hello; the answer to it has its own."""
    async with running(sources=sources(knows), hello_seconds_max=0.1) as node, client(node) as c:
        knows.let_go.clear()
        await c.send(json.dumps({"op": "hello", "token": token()}))
        await waiting(node)
        (asking,) = node.server.desk.waiting
        assert asking._deadline is None
        knows.let_go.set()

        assert (await receive(c))["type"] == "connected"


async def test_sockets_of_a_user_that_wait_together(knows: Authority) -> None:
    """The limit for a user holds for sockets whose questions were open at the same time."""
    knows.let_go.clear()
    async with running(sources=sources(knows), sockets_per_user_max=2) as node:
        sockets = [asyncio.create_task(first_of(node)) for _ in range(5)]
        await waiting(node, 5)
        knows.let_go.set()

        kinds = [await each for each in sockets]
        assert sorted(kinds) == ["4009"] * 3 + ["connected"] * 2


async def first_of(node: Node) -> str:
    """Return the type of the first message to a client, or the code with which it is closed."""
    async with client(node, f"?token={token()}") as c:
        try:
            message: str = (await receive(c))["type"]
            await eventually(lambda: not len(node.server.desk), "all have their answer")
        except Exception:  # noqa: BLE001 - closed
            return str((await close_of(c))[0])
        return message


# Keys that are not known yet


class Keys:
    """Keys of which one is missing until it is fetched."""

    def __init__(self, *, found: bool) -> None:
        """`found`: whether it is there when it is looked for."""
        self.missing = True
        self._found = found
        self.fetched: list[str] = []

    def verify(self, token: str) -> Principal:
        """See TokenVerifier."""
        if self.missing:
            raise KeyMissing("k2")
        return TokenVerifier(TOKENS).verify(token)

    async def fetch(self, kid: str) -> None:
        """Look for a key."""
        self.fetched.append(kid)
        self.missing = not self._found


async def test_key_that_is_found() -> None:
    """A token by a key that is not known yet is verified once the key was fetched."""
    keys = Keys(found=True)
    async with (
        running(verify=keys.verify, sources=Sources(fetch_keys=keys.fetch)) as node,
        client(node, f"?token={token()}") as c,
    ):
        assert (await receive(c))["type"] == "connected"
        assert keys.fetched == ["k2"]


async def test_key_that_is_not_found() -> None:
    """A token by a key that nobody has is looked for once, and is a bad token."""
    keys = Keys(found=False)
    async with (
        running(verify=keys.verify, sources=Sources(fetch_keys=keys.fetch)) as node,
        client(node, f"?token={token()}") as c,
    ):
        assert await close_of(c) == (4401, "unknown_key: the key that signed the token is not known")
        assert keys.fetched == ["k2"]


# The inbox


async def test_inbox(knows: Authority) -> None:
    """A page of the inbox has its events as they were sent; a count is told to all sockets of the user."""
    async with running(sources=sources(knows)) as node, member(node) as c, member(node) as other:
        page = await ask(c, "inbox", id=1, after=0, limit=1)
        assert page == {
            "type": "inbox",
            "id": 1,
            "data": {
                "items": [{"id": 3, "read": False, "event": {"type": "order.completed", "data": {"n": 1}}}],
                "more": True,
            },
        }
        assert (await ask(c, "inbox", id=2, after=3))["data"]["more"] is False
        assert await ask(c, "read", id=3, ids=[3]) == {"type": "read", "id": 3, "data": {"unread": 0}}

        node.server.audience.tell("u1", Unread(0))
        for each in (c, other):
            assert await receive(each) == {"type": "unread", "data": {"unread": 0}}


async def test_no_inbox() -> None:
    """Where there is no inbox, `connected` has no count, and the commands say so."""
    async with running() as node, client(node, f"?token={token()}") as c:
        assert "unread" not in (await receive(c))["data"]
        assert (await ask(c, "inbox", id=1))["data"]["code"] == "not_configured"
        assert (await ask(c, "read", id=2, ids=[1]))["data"]["code"] == "not_configured"


async def test_counts_that_wait() -> None:
    """Of many counts that a slow client has not read, only the newest is kept."""
    async with (
        running(outbox_frames_max=5) as node,
        RawClient.connected(node, receive_bytes=4_096) as raw,
    ):
        await raw.send(request(f"/ws?token={token()}"))
        await eventually(lambda: node.hub.members("user:u1"), "it is connected")
        slow = node.connection_of("u1")
        slow.pause_writing()
        for number in range(100):
            node.server.audience.tell("u1", Unread(number))

        assert len(slow.outbox) <= 5
        slow.resume_writing()
        assert (await raw.head()).startswith("HTTP/1.1 101 ")
        frames = [await raw.frame()]
        while (message := frames[-1].message)["type"] != "unread" or message["data"]["unread"] != 99:
            frames.append(await raw.frame())
        assert {frame.message["type"] for frame in frames} == {"connected", "unread"}


async def test_count_that_changes_while_it_is_asked_for(knows: Authority) -> None:
    """A count that is told before the answer is there is not lost: `connected` has it."""
    knows.let_go.clear()
    async with running(sources=sources(knows)) as node, client(node, f"?token={token()}") as c:
        await waiting(node)
        node.server.audience.tell("u1", Unread(7))
        knows.let_go.set()

        assert (await receive(c))["data"]["unread"] == 7
        node.server.audience.tell("u1", Unread(8))
        assert await receive(c) == {"type": "unread", "data": {"unread": 8}}
