"""From the log into the inboxes: each durable event once, whatever dies in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from structlog.testing import capture_logs

from bridge.core.entry import Position
from bridge.core.errors import LogUnavailableError
from bridge.core.feed import Page
from bridge.core.stats import Stats
from bridge.store import projection, projector
from bridge.store.connecting import Connection
from bridge.store.memory_feed import MemoryFeed
from bridge.store.migrating import migrate
from bridge.store.store import Store
from tests.databases import proxied
from tests.eventually import eventually
from tests.store.conftest import serving
from tests.store.entries import NOW, entry, feed_of, logged
from tests.store.tables import rules


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often whether it is this node's turn, and whether the connection lasts."""
    monkeypatch.setattr(projection, "PULSE_SECONDS", 0.1)
    monkeypatch.setattr(projector, "STANDBY_SECONDS", 0.05)
    monkeypatch.setattr(projector, "BACKOFF_SECONDS_MAX", 0.2)


async def position(sql: Connection) -> Position:
    """Return how far the log has been projected."""
    row = await sql.fetchrow("SELECT epoch, log_offset FROM bridge.projection")
    assert row
    return Position(row["epoch"], row["log_offset"])


async def reached(sql: Connection, epoch: str, offset: int) -> None:
    """Wait until the log has been projected so far."""

    async def there() -> bool:
        return await position(sql) == Position(epoch, offset)

    await eventually(there, f"{epoch}:{offset} is projected")


async def found(sql: Connection) -> list[tuple[str, bytes]]:
    """Return all items, in the order of their ids: user and payload."""
    rows = await sql.fetch("SELECT user_id, payload FROM bridge.inbox_item ORDER BY item_id")
    return [(row["user_id"], row["payload"]) for row in rows]


def payload(event_id: str) -> bytes:
    """Return the payload of an event."""
    return entry(event_id).payload


WAITS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
HOLDER = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
KILL_HOLDER = HOLDER.replace("SELECT pid", "SELECT pg_terminate_backend(pid)")


@asynccontextmanager
async def held_up(url: str) -> AsyncIterator[Connection]:
    """Keep the position locked, so that whoever adds items has to wait in the middle of it."""
    other = await asyncpg.connect(url)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM bridge.projection FOR UPDATE")
            yield other
    finally:
        await other.close()


async def test_projected(url: str, sql: Connection) -> None:
    """Durable events come into the inbox of each user they go to; others only move the position."""
    feed = feed_of(
        logged(1, "a", "u1", "u2"),
        logged(2, "b"),
        logged(3, "c", "u1"),
        logged(9, "d", "u1", name="quota.updated"),
    )
    stats = Stats()
    async with serving(rules(url), feed=feed, stats=stats) as store:
        await reached(sql, "e1", 9)
        assert await found(sql) == [("u1", payload("a")), ("u2", payload("a")), ("u1", payload("c"))]
        await eventually(lambda: stats.inbox_items["added"] == 3)
        assert len(feed) == 0
        await eventually(lambda: all(part.ok for part in store.health()))
        assert store.health()[-1].detail == "projected up to offset 9 of e1"
        feed.receive([logged(10, "e", "u1", name="quota.updated")])
        await reached(sql, "e1", 10)  # Without an item, too, though not at once.


async def test_large_backlog(url: str, sql: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long backlog goes in several batches, in order."""
    monkeypatch.setattr(projection, "BATCH_ITEMS_MAX", 100)
    monkeypatch.setattr("bridge.store.memory_feed.PAGE_ENTRIES_MAX", 70)
    feed = feed_of(*(logged(offset, f"{offset}", "u1") for offset in range(1, 1001)))
    async with serving(rules(url), feed=feed):
        await reached(sql, "e1", 1000)

    assert await found(sql) == [("u1", payload(f"{offset}")) for offset in range(1, 1001)]


async def test_one_at_a_time(url: str, sql: Connection) -> None:
    """Of two nodes with the same log one projects; the other stands by, and takes over where it stopped."""
    feeds = [feed_of(logged(1, "a", "u1")) for _ in range(2)]
    async with serving(rules(url), feed=feeds[1]) as second:
        await reached(sql, "e1", 1)
        async with serving(rules(url), feed=feeds[0]) as first:
            await eventually(lambda: "standing by" in first.health()[-1].detail)
            for feed in feeds:
                feed.receive([logged(2, "b", "u1")])
            await reached(sql, "e1", 2)
            assert "projected" in second.health()[-1].detail
            await sql.execute(KILL_HOLDER)
            for feed in feeds:
                feed.receive([logged(3, "c", "u1")])
            await reached(sql, "e1", 3)
            holders = await sql.fetch(HOLDER)
            assert len(holders) == 1

    assert await found(sql) == [("u1", payload(event_id)) for event_id in "abc"]


class UnseenFeed(MemoryFeed):
    """The log of a node that is cut off from it."""

    async def follow(self, after: Position | None) -> AsyncGenerator[Page]:
        """Fail, as the node's own log does."""
        for page in list[Page]():
            yield page
        raise LogUnavailableError(f"nothing after {after} can be read")


async def test_node_that_does_not_see_the_log(url: str, sql: Connection) -> None:
    """A node that has the database and not the log lets another project."""
    unseen = UnseenFeed(lambda _: True)
    async with (
        serving(rules(url), feed=unseen) as first,
        serving(rules(url), feed=feed_of(logged(1, "a", "u1"))),
    ):
        await reached(sql, "e1", 1)
        await eventually(lambda: "standing by" in first.health()[-1].detail)

    assert await found(sql) == [("u1", payload("a"))]


async def test_killed_in_the_middle(url: str, sql: Connection) -> None:
    """A connection that is killed while it adds items has added none; the next one adds them once."""
    feed = feed_of(logged(1, "a", "u1"))
    async with serving(rules(url), feed=feed):
        await reached(sql, "e1", 1)
        async with held_up(url):
            feed.receive([logged(2, "b", "u1", "u2")])
            pid = await eventually(lambda: sql.fetchval(WAITS), "it is in the middle")
            await sql.execute("SELECT pg_terminate_backend($1)", pid)
            await eventually(lambda: _gone(sql, pid), "it is gone")
        await reached(sql, "e1", 2)

    assert await found(sql) == [("u1", payload("a")), ("u1", payload("b")), ("u2", payload("b"))]


async def _gone(sql: Connection, pid: int) -> bool:
    return await sql.fetchval("SELECT pid FROM pg_stat_activity WHERE pid = $1", pid) is None


async def test_committed_without_a_word(url: str, sql: Connection) -> None:
    """Items that were committed while the answer got lost are not added again."""
    feed = feed_of(logged(1, "a", "u1"))
    async with proxied(url) as (proxy, through), serving(rules(through), feed=feed):
        await reached(sql, "e1", 1)
        async with held_up(url):
            feed.receive([logged(2, "b", "u1")])
            await eventually(lambda: sql.fetchval(WAITS), "it is in the middle")
            proxy.swallow()
        await reached(sql, "e1", 2)  # Committed, and the answer is on its way to nobody.
        await proxy.cut()
        proxy.forward()
        feed.receive([logged(3, "c", "u1")])
        await reached(sql, "e1", 3)

    assert await found(sql) == [("u1", payload(event_id)) for event_id in "abc"]


async def test_killed_again_and_again(url: str, sql: Connection) -> None:
    """Whenever the connection is killed, all that was logged is there once and in order in the end."""
    dice = random.Random(7)  # noqa: S311 - of no secret
    feed = feed_of()
    offset = 0
    async with serving(rules(url), feed=feed):
        for _ in range(15):
            size = dice.randrange(1, 200)
            feed.receive([logged(offset + place, f"{offset + place}", "u1") for place in range(1, size + 1)])
            offset += size
            await sql.fetchval("SELECT pg_sleep($1)", dice.random() / 50)
            await sql.execute(KILL_HOLDER)
        await reached(sql, "e1", offset)

    assert await found(sql) == [("u1", payload(f"{number}")) for number in range(1, offset + 1)]


async def test_somebody_else_has_moved_it(url: str, sql: Connection) -> None:
    """If the position is not where this node left it, nothing is added, and it begins where it is now."""
    feed = feed_of(logged(1, "a", "u1"))
    async with serving(rules(url), feed=feed):
        await reached(sql, "e1", 1)
        async with held_up(url) as other:
            feed.receive([logged(2, "b", "u1")])
            await eventually(lambda: sql.fetchval(WAITS), "it is in the middle")
            await other.execute("UPDATE bridge.projection SET log_offset = 2")
        feed.receive([logged(3, "c", "u1")])
        await reached(sql, "e1", 3)

    assert await found(sql) == [("u1", payload("a")), ("u1", payload("c"))]


async def test_copies(url: str, sql: Connection) -> None:
    """A copy in the log is one event, in the same batch or another; after the window it is a new one."""
    stats = Stats()
    feed = feed_of(logged(1, "a", "u1"), logged(2, "a", "u1"), logged(3, "a", "u2"))
    async with serving(rules(url), feed=feed, stats=stats):
        await reached(sql, "e1", 3)
        feed.receive([logged(4, "a", "u1", at=NOW + 599.0)])
        await reached(sql, "e1", 4)
        assert await found(sql) == [("u1", payload("a")), ("u2", payload("a"))]
        await eventually(lambda: stats.inbox_items["known"] == 1)
        feed.receive([logged(5, "a", "u1", at=NOW + 601.0)])
        await reached(sql, "e1", 5)

    assert await found(sql) == [("u1", payload("a")), ("u2", payload("a")), ("u1", payload("a"))]


async def test_new_life(url: str, sql: Connection) -> None:
    """When the log begins anew, its first entry is the next; that something may be missing is logged."""
    async with serving(rules(url), feed=feed_of(logged(5, "a", "u1"))):
        await reached(sql, "e1", 5)
    with capture_logs() as logs:
        async with serving(rules(url), feed=feed_of(logged(1, "b", "u1"), epoch="e2")):
            await reached(sql, "e2", 1)

    assert await found(sql) == [("u1", payload("a")), ("u1", payload("b"))]
    (line,) = [line for line in logs if line["event"] == "inbox.log_began_anew"]
    assert (line["old"], line["new"]) == ("e1", "e2")


async def test_gap(url: str, sql: Connection) -> None:
    """A hole in the log is logged, and what comes after it is projected."""
    feed = MemoryFeed(lambda _: True, entries_max=2)
    feed.begin(Position("e1", 0))
    feed.receive([logged(offset, f"{offset}", "u1") for offset in range(1, 6)])
    with capture_logs() as logs:
        async with serving(rules(url), feed=feed):
            await reached(sql, "e1", 5)

    assert await found(sql) == [("u1", payload("4")), ("u1", payload("5"))]
    assert [line["after"] for line in logs if line["event"] == "inbox.gap"] == [0]


async def test_odd_events(url: str, sql: Connection) -> None:
    """Ids and payloads of any kind find their way, and none can stop the others."""
    odd = ["\0", "\ud800", "x" * 100_000, "'; DROP TABLE bridge.inbox_item; --", ""]
    feed = feed_of(*(logged(offset, event_id, "u1") for offset, event_id in enumerate(odd, 1)))
    async with serving(rules(url), feed=feed) as store:
        await reached(sql, "e1", len(odd))
        assert store.inbox
        assert [item.payload for item in await store.inbox.items("u1", 0, 10)] == [
            payload(event_id) for event_id in odd
        ]


async def test_not_migrated(url: str, sql: Connection) -> None:
    """Without the tables the projector waits and says so; then it begins."""
    await sql.execute("DROP SCHEMA bridge CASCADE")
    feed = feed_of(logged(1, "a", "u1"))
    store = Store(rules(url), Stats())
    running = asyncio.get_running_loop().create_task(store.run(feed))
    await eventually(lambda: "migrate" in store.health()[-1].detail)
    await migrate(sql, "bridge")
    await reached(sql, "e1", 1)
    running.cancel()
    await asyncio.wait((running,))
    assert await found(sql) == [("u1", payload("a"))]
