"""What a change of who may what does to the sockets of a node, at its place in the log."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bridge.core.commands import Unread
from bridge.core.entry import Entry
from bridge.core.revocation import ChangeKind
from bridge.ws.desk import Sources
from tests.authority import Authority
from tests.eventually import eventually
from tests.ws.clients import RawClient, ask, client, close_of, member, numbers, receive, request
from tests.ws.node import EPOCH, a_change, an_entry, running, token

BLOCKED = 4403


def disabled(user_id: str = "u1", **data: object) -> Entry:
    """Return the entry that says that a user is disabled."""
    return a_change(ChangeKind.USER_DISABLED, user_id, **data)


def lost(room: str, user_id: str = "u1") -> Entry:
    """Return the entry that says that a user has lost a room."""
    return a_change(ChangeKind.GRANT_REVOKED, user_id, room=room)


async def everything(c: RawClient) -> list[int]:
    """Return the numbers of all events that come before the close, which has to be 4403."""
    got: list[int] = []
    while True:
        frame = await c.frame()
        if frame.opcode == 8:
            assert frame.close[0] == BLOCKED
            return got
        if "offset" in frame.message:
            got.append(frame.message["data"]["number"])


async def test_all_sockets_of_the_user_and_no_other() -> None:
    """A user that is disabled is closed everywhere, and told why; others notice nothing."""
    async with running() as node, member(node) as one, member(node) as two, member(node, "u2") as other:
        node.log(disabled(reason="the account was closed"), an_entry(1, to="all"))

        assert await close_of(one) == await close_of(two) == (BLOCKED, "revoked: the account was closed")
        assert await numbers(other, 1) == [1]


async def test_nothing_after_the_revocation() -> None:
    """In one run of the log, what is before the revocation is sent and what is after it is not."""
    async with running() as node, RawClient.member(node) as c:
        node.log(
            *(an_entry(n, to="all") for n in (1, 2)), disabled(), *(an_entry(n, to="all") for n in (3, 4))
        )

        assert await everything(c) == [1, 2]


@pytest.mark.parametrize("runs", [1, 5])
async def test_room_that_is_lost(runs: int) -> None:
    """A socket that loses a room is told, keeps the others, and gets nothing more by that one."""
    knows = Authority()
    knows.grants = {("u1", "lock:1"), ("u2", "lock:1")}
    async with (
        running(sources=Sources(grants=knows)) as node,
        member(node, rooms="lock:1,device:d1") as c,
        member(node, "u2", rooms="lock:1") as other,
    ):
        entries = [
            an_entry(1, to="lock:1"),
            an_entry(2, to="device:d1"),
            lost("lock:1"),
            an_entry(3, to="lock:1"),
            an_entry(4, to="device:d1"),
        ]
        size = len(entries) // runs
        for start in range(0, len(entries), size):
            node.log(*entries[start : start + size])

        assert await numbers(c, 2) == [1, 2]
        assert await receive(c) == {"type": "revoked", "data": {"rooms": ["lock:1"]}}
        assert await numbers(c, 1) == [4]
        assert await numbers(other, 2) == [1, 3]


async def test_token_from_before() -> None:
    """Whoever comes with a token from before the revocation is closed with 4403, resuming or not."""
    async with running() as node:
        node.publish(1)
        node.log(a_change(ChangeKind.SESSION_REVOKED, "u1"))
        for since in ("", f"&epoch={EPOCH}&offset=0"):
            async with client(node, f"?token={token()}{since}") as c:
                assert await close_of(c) == (
                    BLOCKED,
                    "revoked: the user's sessions are revoked; log in again",
                )
        async with member(node, "u2"):
            pass


async def test_user_that_is_enabled_again() -> None:
    """A user that is enabled again gets in again."""
    async with running() as node:
        node.log(disabled())
        async with client(node, f"?token={token()}") as c:
            assert (await close_of(c))[0] == BLOCKED
        node.log(a_change(ChangeKind.USER_ENABLED, "u1"))
        async with member(node):
            pass


async def test_socket_that_is_being_sent_what_it_missed() -> None:
    """A socket in the middle of a replay is closed as well, and what it was owed is not sent."""
    async with running(outbox_frames_max=20) as node:
        node.publish(*range(2_000), padding=2_000)
        async with RawClient.connected(node, receive_bytes=4_096) as raw:
            await raw.send(request(f"/ws?token={token()}&epoch={EPOCH}&offset=0"))
            await eventually(lambda: node.server.audience.replaying, "the replay has begun")
            (replaying,) = node.server.audience.replaying
            await eventually(lambda: not replaying._writable, "the client is behind")
            assert not node.hub.members("user:u1")

            node.log(disabled())
            assert (await raw.head()).startswith("HTTP/1.1 101 ")
            assert len(await everything(raw)) < 2_000


async def test_room_lost_in_the_middle_of_a_replay() -> None:
    """What went to a lost room after the revocation is not owed; what went elsewhere is."""
    knows = Authority()
    knows.grants = {("u1", "lock:1")}
    async with running(sources=Sources(grants=knows), outbox_frames_max=20) as node:
        rooms = ("lock:1", "all")
        node.publish(*range(500), to=rooms, padding=2_000)
        async with RawClient.connected(node, receive_bytes=4_096) as raw:
            await raw.send(request(f"/ws?token={token()}&rooms=lock:1&epoch={EPOCH}&offset=0"))
            await eventually(lambda: node.server.audience.replaying, "the replay has begun")
            (replaying,) = node.server.audience.replaying
            await eventually(lambda: not replaying._writable, "the client is behind")
            node.log(lost("lock:1"))
            node.publish(*range(500, 1_000), to=rooms)

            assert (await raw.head()).startswith("HTTP/1.1 101 ")
            assert (await raw.frame()).message["type"] == "connected"
            events = await until(raw, 999)
            assert [number for number, room in events if room == "all"] == list(range(1, 1_000, 2))
            assert all(number < 500 for number, room in events if room == "lock:1")


async def until(raw: RawClient, last: int) -> Sequence[tuple[int, str]]:
    """Return number and room of the events up to one with this number."""
    events: list[tuple[int, str]] = []
    while not events or events[-1][0] != last:
        message = (await raw.frame()).message
        if "offset" in message:
            events.append((message["data"]["number"], message["room"]))
    return events


async def test_socket_that_waits_for_an_answer() -> None:
    """A revocation between question and answer counts: of the user, and of a room."""
    users, grants = Authority(), Authority()
    users.users = {"u1", "u2"}
    grants.grants = {("u1", "lock:1"), ("u2", "lock:1")}
    grants.let_go.clear()
    async with (
        running(sources=Sources(users=users, grants=grants)) as node,
        client(node, f"?token={token('u1')}&rooms=lock:1") as one,
        client(node, f"?token={token('u2')}&rooms=lock:1") as two,
    ):
        await eventually(lambda: grants.asked["granted"] == 2, "both wait")
        node.log(disabled("u1"), lost("lock:1", "u2"))
        grants.let_go.set()

        connected = await receive(two)
        assert connected["data"]["refused"] == [{"room": "lock:1", "code": "forbidden"}]
        assert "lock:1" not in connected["data"]["rooms"]
        assert await close_of(one) == (BLOCKED, "revoked: the user is disabled")


async def test_guest_in_a_users_room() -> None:
    """Whoever is in a user's room by a claim is not that user: told nothing of theirs, and not taken out."""
    guest_token = token("guest", rooms=("user:*", "lock:*"))
    async with running() as node, client(node, f"?token={guest_token}&rooms=user:u1,lock:1") as guest:
        assert (await receive(guest))["data"]["rooms"] == ["user:guest", "all", "user:u1", "lock:1"]
        node.server.audience.tell("u1", Unread(7))
        node.log(disabled("u1"), lost("lock:1", "u1"), an_entry(1, to="user:u1"), an_entry(2, to="lock:1"))

        assert await numbers(guest, 2) == [1, 2]


async def test_tokens_from_before_something_long_ago() -> None:
    """A revocation of tokens from before some time leaves those alone that were issued after it."""
    async with running() as node, member(node) as c:
        node.log(a_change(ChangeKind.SESSION_REVOKED, "u1", issuedBefore="2001-01-01T00:00:00.000Z"))

        assert (await ask(c, "auth", token=token()))["type"] == "authenticated"


async def test_changes_are_no_events() -> None:
    """No client sees a change as an event, but all come as far in the log."""
    async with running() as node, member(node) as c:
        node.log(disabled("u2"), lost("lock:1"), a_change(ChangeKind.GRANT_ADDED, "u1", room="lock:1"))

        pong = await ask(c, "ping")
        assert (pong["type"], pong["data"]["position"]["offset"]) == ("pong", 3)
