"""Inboxes: counts that are true on every node, and what is swept away."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from bridge.core.stats import Stats
from bridge.store import inbox as inbox_module, projection
from bridge.store.connecting import Connection, DatabaseRules
from bridge.store.inbox import ITEMS_MAX, PostgresInbox
from tests.databases import proxied
from tests.eventually import eventually
from tests.store.conftest import serving
from tests.store.entries import feed_of, logged
from tests.store.tables import INBOX, rules


class Watcher:
    """Keeps what a watch of unread counts has told, the newest of each user."""

    def __init__(self, inbox: PostgresInbox | None) -> None:
        """Watch, until closed."""
        assert inbox is not None
        self.inbox = inbox
        self.counts: dict[str, int] = {}
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def begun(self) -> None:
        """Wait until it hears everything."""
        await eventually(lambda: self.inbox._watches, "the watch has begun")

    async def has(self, counts: dict[str, int]) -> None:
        """Wait until these are the counts."""
        await eventually(lambda: self.counts == counts, f"{counts}")

    async def close(self) -> None:
        """Stop watching."""
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _watch(self) -> None:
        async for user_id, unread in self.inbox.watch_unread():
            self.counts[user_id] = unread


async def counters(sql: Connection) -> dict[str, tuple[int, int]]:
    """Return what the counters say by user: items and unread; hold that it is what is there."""
    said = "SELECT user_id, items, unread FROM bridge.inbox_owner WHERE items > 0"
    true = """SELECT user_id, count(*) AS items, count(*) FILTER (WHERE read_at IS NULL) AS unread
              FROM bridge.inbox_item GROUP BY user_id"""
    told, there = [
        {row["user_id"]: (row["items"], row["unread"]) for row in await sql.fetch(query)}
        for query in (said, true)
    ]
    assert told == there
    return told


async def test_every_node_hears(url: str, sql: Connection) -> None:
    """Both nodes are told the unread count when items arrive, and when one of them marks some as read."""
    feed = feed_of()
    async with serving(rules(url), feed=feed) as one, serving(rules(url), feed=feed_of()) as another:
        watchers = [Watcher(store.inbox) for store in (one, another)]
        for watcher in watchers:
            await watcher.begun()
        feed.receive([logged(1, "a", "u1", "u2"), logged(2, "b", "u1")])
        for watcher in watchers:
            await watcher.has({"u1": 2, "u2": 1})
        assert another.inbox
        items = await another.inbox.items("u1", 0, 10)
        assert await another.inbox.mark_read("u1", [items[0].item_id]) == 1
        for watcher in watchers:
            await watcher.has({"u1": 1, "u2": 1})
            await watcher.close()
            assert not watcher.inbox._watches
    assert await counters(sql) == {"u1": (2, 1), "u2": (1, 1)}


async def test_the_last_count_told_is_true(url: str, sql: Connection) -> None:
    """While items arrive and are marked at the same time, the last count that is told holds."""
    feed = feed_of()
    async with serving(rules(url), feed=feed) as store:
        watcher = Watcher(store.inbox)
        await watcher.begun()
        assert store.inbox
        for offset in range(1, 41):
            feed.receive([logged(offset, f"{offset}", "u1")])
            items = await store.inbox.items("u1", 0, 100)
            await asyncio.gather(
                *(
                    store.inbox.mark_read("u1", [item.item_id for item in items][::step])
                    for step in (1, -1, 3)
                )
            )

        async def all_there() -> bool:
            assert store.inbox
            return len(await store.inbox.items("u1", 0, 100)) == 40

        await eventually(all_there)
        unread = await store.inbox.unread("u1")
        await eventually(lambda: watcher.counts.get("u1") == unread, "the last count is told")
        await watcher.close()
    assert await counters(sql) == {"u1": (40, unread)}


async def test_changes_while_nobody_listened(url: str, sql: Connection) -> None:
    """After the connection was lost, the counts that changed meanwhile are told."""
    async with (
        proxied(url) as (proxy, through),
        serving(rules(url), feed=feed_of(logged(1, "a", "u1"))) as filler,
    ):
        del filler
        far = rules(through, database=DatabaseRules(through, connect_seconds_max=0.5))
        async with serving(far) as store:
            watcher = Watcher(store.inbox)
            await watcher.begun()
            proxy.swallow()
            await proxy.cut()
            await eventually(lambda: not store.health()[0].ok)
            await sql.execute(
                "UPDATE bridge.inbox_owner SET unread = 7, changed_at = now() WHERE user_id = 'u1'"
            )
            assert "u1" not in watcher.counts or watcher.counts["u1"] != 7
            proxy.forward()
            await eventually(lambda: watcher.counts.get("u1") == 7, "what changed is told")
            await watcher.close()


async def test_a_slow_watcher(url: str, sql: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a watcher that does not come, one count per user waits, and of so many users at most."""
    monkeypatch.setattr(inbox_module, "TOLD_USERS_MAX", 3)
    async with serving(rules(url)) as store:
        assert store.inbox
        watch = store.inbox.watch_unread()
        told = asyncio.ensure_future(anext(watch))
        await eventually(lambda: store.inbox and store.inbox._watches)
        await sql.execute("SELECT pg_notify('bridge.unread', '1 u0')")
        assert await told == ("u0", 1)
        for number in range(1, 6):
            await sql.execute(
                "SELECT pg_notify('bridge.unread', $1), pg_notify('bridge.unread', $2)",
                f"9 u{number}",
                f"{number} u{number}",
            )
        (waiting,) = store.inbox._watches
        await eventually(lambda: waiting._counts.get("u5") == 5)

        assert len(waiting._counts) == 3
        assert [await anext(watch) for _ in range(3)] == [("u3", 3), ("u4", 4), ("u5", 5)]
        await watch.aclose()


async def test_limits(url: str, sql: Connection) -> None:
    """Pages and lists of ids have a limit; past it the caller is at fault."""
    del sql
    async with serving(rules(url)) as store:
        assert store.inbox
        for limit in (0, -1, ITEMS_MAX + 1):
            with pytest.raises(ValueError, match="page"):
                await store.inbox.items("u1", 0, limit)
        with pytest.raises(ValueError, match="at once"):
            await store.inbox.mark_read("u1", range(ITEMS_MAX + 1))
        assert await store.inbox.mark_read("u1", range(ITEMS_MAX)) == 0
        assert await store.inbox.items("u1", -(2**70), ITEMS_MAX) == []


async def test_swept_by_count(url: str, sql: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a user with too many items the oldest go, in bounded statements, and the count is told."""
    monkeypatch.setattr(projection, "SWEEP_ITEMS_MAX", 4)
    kept = replace(INBOX, items_per_user_max=10, sweep_seconds=0.05)
    batch = [logged(offset, f"{offset}", "u1") for offset in range(1, 31)]
    stats = Stats()
    feed = feed_of(*batch, logged(31, "x", "u2"))
    async with serving(rules(url, inbox=kept), feed=feed, stats=stats) as store:
        watcher = Watcher(store.inbox)
        await eventually(lambda: stats.inbox_items["removed"] == 20, "the surplus is swept")
        assert store.inbox
        items = await store.inbox.items("u1", 0, 100)
        await watcher.close()

    assert [item.payload for item in items] == [one.entry.payload for one in batch[20:]]
    assert await counters(sql) == {"u1": (10, 10), "u2": (1, 1)}


async def test_swept_by_age(url: str, sql: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items that are too old go, read or not; in the end their owners' counters go, too."""
    monkeypatch.setattr(projection, "SWEEP_ITEMS_MAX", 4)
    kept = replace(INBOX, sweep_seconds=0.05)
    stats = Stats()
    feed = feed_of(*(logged(offset, f"{offset}", "u1", "u2") for offset in range(1, 11)))
    async with serving(rules(url, inbox=kept), feed=feed, stats=stats) as store:
        assert store.inbox
        await eventually(lambda: stats.inbox_items["added"] == 20)
        read = [item.item_id for item in await store.inbox.items("u1", 0, 3)]
        await store.inbox.mark_read("u1", read)
        await sql.execute(
            "UPDATE bridge.inbox_item SET added_at = now() - interval '2 h' WHERE user_id = 'u1'"
        )
        await eventually(lambda: stats.inbox_items["removed"] == 10, "what is old is swept")
        assert await store.inbox.unread("u1") == 0
        assert await counters(sql) == {"u2": (10, 10)}
        await sql.execute("UPDATE bridge.inbox_owner SET changed_at = now() - interval '2 h'")

        async def gone() -> bool:
            return bool(await sql.fetchval("SELECT count(*) = 1 FROM bridge.inbox_owner"))

        await eventually(gone, "the counters of an empty inbox go")


async def test_sweeping_does_not_wait(url: str, sql: Connection) -> None:
    """An item that somebody is marking is left for the next sweep."""
    kept = replace(INBOX, sweep_seconds=0.05)
    stats = Stats()
    feed = feed_of(*(logged(offset, f"{offset}", "u1") for offset in range(1, 4)))
    async with serving(rules(url, inbox=kept), feed=feed, stats=stats):
        await eventually(lambda: stats.inbox_items["added"] == 3)
        async with sql.transaction():
            # The newest is held here, and becomes old at the end of this transaction.
            old = "UPDATE bridge.inbox_item SET added_at = now() - interval '2 h' WHERE item_id {} $1"
            newest = await sql.fetchval("SELECT max(item_id) FROM bridge.inbox_item")
            await sql.execute(old.format("="), newest)
            other = await asyncpg.connect(url)
            await other.execute(old.format("<"), newest)
            await other.close()
            await eventually(lambda: stats.inbox_items["removed"] == 2, "the others go")
        await eventually(lambda: stats.inbox_items["removed"] == 3, "it goes in the end")
    assert await counters(sql) == {}
