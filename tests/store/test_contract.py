"""What holds for users, grants and inboxes, whoever keeps them: PostgreSQL, or memory in other tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

import pytest

from bridge.core.authority import Grants, Inbox, InboxItem, Users
from tests.authority import Authority
from tests.databases import SharedServer
from tests.eventually import eventually
from tests.store.conftest import prepared, serving
from tests.store.entries import entry, feed_of, logged
from tests.store.tables import rules

HOSTILE_IDS = (
    "",
    "'",
    "o'brien' OR '1'='1",
    '"; DROP TABLE users; --',
    "$1",
    "u1\0",
    "u1\x00u2",
    "\ud800",
    "u" * 129,
    "u" * 100_000,
    "u1 ",
    "%",
    "*",
    "u1,u2",
    "ü" * 128,
)


@dataclass
class Kept:
    """An implementation with u1, u2, o'brien (active) and blocked; u1 owns d1 and d2, u2 owns d9."""

    users: Users
    grants: Grants
    inbox: Inbox
    add: Callable[[str, str], Awaitable[None]]  # Puts an event with this id into a user's inbox.


def in_memory() -> Kept:
    """Return the fake that other tests ask."""
    fake = Authority()
    fake.kinds = ("device", "team")
    fake.users = {"u1", "u2", "o'brien"}
    fake.grants = {("u1", "device:d1"), ("u1", "device:d2"), ("u1", "device:x'y"), ("u2", "device:d9")}
    item_ids = count(1)

    async def add(user_id: str, event_id: str) -> None:
        fake.inboxes[user_id].append(InboxItem(next(item_ids), entry(event_id).payload, read=False))

    return Kept(fake, fake, fake, add)


@asynccontextmanager
async def in_postgres(server: SharedServer) -> AsyncIterator[Kept]:
    """Yield a running store."""
    feed, offsets = feed_of(), count(1)
    async with prepared(server) as (url, _), serving(rules(url), feed=feed) as store:
        assert store.users
        assert store.grants
        inbox = store.inbox
        assert inbox

        async def add(user_id: str, event_id: str) -> None:
            before = await inbox.unread(user_id)
            feed.receive([logged(next(offsets), event_id, user_id)])

            async def arrived() -> bool:
                return await inbox.unread(user_id) > before

            await eventually(arrived, f"{event_id} is in the inbox")

        yield Kept(store.users, store.grants, inbox, add)


@pytest.fixture(params=["postgres", "memory"])
async def kept(request: pytest.FixtureRequest, postgres: SharedServer) -> AsyncIterator[Kept]:
    """Each implementation in turn."""
    if request.param == "memory":
        yield in_memory()
    else:
        async with in_postgres(postgres) as kept:
            yield kept


@pytest.mark.parametrize(
    ("user_id", "active"),
    [
        ("u1", True),
        ("o'brien", True),
        ("blocked", False),
        ("nobody", False),
        ("U1", False),
    ],
    ids=lambda value: ascii(value)[:30],
)
async def test_active(kept: Kept, user_id: str, active: bool) -> None:  # noqa: FBT001 - of the table
    """A user is active who exists and is said to be, by exactly this id."""
    assert await kept.users.active(user_id) is active


@pytest.mark.parametrize(
    ("user_id", "rooms", "granted"),
    [
        ("u1", ["device:d1", "device:d2"], {"device:d1", "device:d2"}),
        ("u1", ["device:d1", "device:d9", "device:gone"], {"device:d1"}),
        ("u1", ["device:x'y"], {"device:x'y"}),
        ("u2", ["device:d1"], set()),
        ("nobody", ["device:d1"], set()),
        ("u1", [], set()),
        ("u1", ["user:u1", "role:admin", "all", "d1", ":d1", "device:"], set()),
        ("u1", [f"device:{room_id}" for room_id in HOSTILE_IDS], set()),
        ("u1", [f"device:{room_id}" for room_id in (*HOSTILE_IDS, "d1")], {"device:d1"}),
    ],
    ids=lambda value: ascii(sorted(value) if isinstance(value, set) else value)[:30],
)
async def test_granted(kept: Kept, user_id: str, rooms: list[str], granted: set[str]) -> None:
    """The subset of the rooms that the user may join, and none of a kind that no query decides."""
    assert set(await kept.grants.granted(user_id, rooms)) == granted


async def test_kinds(kept: Kept) -> None:
    """The kinds that a query decides are known without asking."""
    assert set(kept.grants.kinds) == {"device", "team"}


async def test_items(kept: Kept) -> None:
    """Items come oldest first, unread, with the payload as it was sent, and to their user alone."""
    for event_id in ("a", "b", "c"):
        await kept.add("u1", event_id)
    await kept.add("u2", "d")

    items = await kept.inbox.items("u1", 0, 10)

    assert [item.payload for item in items] == [entry(event_id).payload for event_id in ("a", "b", "c")]
    assert [item.read for item in items] == [False] * 3
    assert [item.item_id for item in items] == sorted({item.item_id for item in items})
    assert await kept.inbox.unread("u1") == 3


async def test_pages(kept: Kept) -> None:
    """The id of the last item turns the page; a short page is the last."""
    for event_id in ("a", "b", "c"):
        await kept.add("u1", event_id)

    pages: list[list[InboxItem]] = []
    after = 0
    while not pages or len(pages[-1]) == 2:
        pages.append(list(await kept.inbox.items("u1", after, 2)))
        after = pages[-1][-1].item_id if pages[-1] else after

    assert [len(page) for page in pages] == [2, 1]
    assert not await kept.inbox.items("u1", 2**64, 2)


async def test_mark_read(kept: Kept) -> None:
    """Marking tells what stays unread; again, or for others' and unknown items, it changes nothing."""
    for event_id in ("a", "b", "c"):
        await kept.add("u1", event_id)
    first, second, _ = [item.item_id for item in await kept.inbox.items("u1", 0, 10)]

    assert await kept.inbox.mark_read("u1", [first, second]) == 1
    assert await kept.inbox.mark_read("u1", [second, second, 0, -1, 2**63, 10**6]) == 1
    assert await kept.inbox.mark_read("u2", [first]) == 0
    assert [item.read for item in await kept.inbox.items("u1", 0, 10)] == [True, True, False]


async def test_hostile_users(kept: Kept) -> None:
    """Whoever cannot be a user is not active, may join nothing, and has an empty inbox."""
    for user_id in HOSTILE_IDS:
        assert not await kept.users.active(user_id)
        assert not await kept.grants.granted(user_id, ["device:d1"])
        assert list(await kept.inbox.items(user_id, 0, 10)) == []
        assert await kept.inbox.mark_read(user_id, [1]) == 0
        assert await kept.inbox.unread(user_id) == 0
