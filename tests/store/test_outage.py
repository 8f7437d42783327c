"""The database is stopped, silent, slow or wrong: no answer is ever a yes, and all recovers by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.core.authority import UnavailableError
from bridge.core.stats import Stats
from bridge.store import database
from bridge.store.connecting import Connection, DatabaseRules
from bridge.store.store import Store, StoreRules
from tests.databases import proxied
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.store.conftest import serving
from tests.store.entries import feed_of, logged
from tests.store.tables import rules

ROOMS = ["device:d1"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the connection often."""
    monkeypatch.setattr(database, "PULSE_SECONDS", 0.1)


def hasty(url: str, **changes: object) -> StoreRules:
    """Return rules that remember nothing and wait for little."""
    hurry = DatabaseRules(url, query_seconds_max=0.5, connect_seconds_max=0.5)
    return rules(url, database=hurry, answer_seconds_max=0.0, **changes)


async def all_unavailable(store: Store) -> None:
    """Hold that no question has an answer."""
    assert store.users
    assert store.grants
    assert store.inbox
    for question in (
        store.users.active("u1"),
        store.grants.granted("u1", ROOMS),
        store.inbox.items("u1", 0, 10),
        store.inbox.mark_read("u1", [1]),
        store.inbox.unread("u1"),
    ):
        with pytest.raises(UnavailableError):
            await question


async def all_well(store: Store) -> None:
    """Hold that every part says it is well, and answers."""
    assert store.users
    assert store.grants
    assert store.inbox
    await eventually(lambda: all(part.ok for part in store.health()), "every part is well")
    assert await store.users.active("u1")
    assert await store.grants.granted("u1", ROOMS) == {"device:d1"}
    assert await store.inbox.unread("u1") == 0


@pytest.fixture
async def line(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy in front of the database, and the URL through it."""
    async with proxied(url) as both:
        yield both


async def test_cut_and_refused(line: tuple[Proxy, str]) -> None:
    """While connections are cut as they are made nothing is granted; when they last again all is well."""
    proxy, through = line
    async with serving(hasty(through), feed=feed_of()) as store:
        await all_well(store)
        proxy.swallow()
        await proxy.cut()
        await eventually(lambda: not store.health()[0].ok, "the loss is noticed")
        await all_unavailable(store)
        proxy.forward()
        await all_well(store)


async def test_black_hole(line: tuple[Proxy, str]) -> None:
    """A database that swallows everything costs one deadline; once it is known, nobody waits for it."""
    proxy, through = line
    stats = Stats()
    async with serving(hasty(through), feed=feed_of(), stats=stats) as store:
        await all_well(store)
        proxy.swallow()
        await all_unavailable(store)
        await eventually(lambda: store._database._down, "the silence is noticed")
        asked_before = stats.database_seconds.counts[:]
        await all_unavailable(store)
        assert stats.database_seconds.counts == asked_before  # Refused without asking.
        assert "database" in [part.part for part in store.health() if not part.ok]
        proxy.forward()
        await all_well(store)


async def test_away_from_the_start(url: str) -> None:
    """A store that begins without its database refuses, says so, and does not end."""
    async with proxied(url) as (proxy, through):
        port = proxy.port
    store = Store(hasty(through), Stats())
    running = asyncio.get_running_loop().create_task(store.run(feed_of()))
    await eventually(lambda: "Connect" in store.health()[0].detail, "the failure is told")
    await all_unavailable(store)
    assert str(port) in store.health()[0].detail
    running.cancel()
    await asyncio.wait((running,))


async def test_slow_query(url: str, sql: Connection) -> None:
    """A query that takes too long is given up here and on the server, and the pool goes on."""
    slow = "SELECT active FROM (SELECT *, pg_sleep(60) FROM users WHERE id = $1) AS slow"
    async with serving(hasty(url, users_query=slow, inbox=None)) as store:
        assert store.users
        assert store.grants
        with pytest.raises(UnavailableError):
            await asyncio.gather(*(store.users.active(f"u{number}") for number in range(30)))
        assert await store.grants.granted("u1", ROOMS) == {"device:d1"}

        async def nobody_sleeps() -> bool:
            sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            return not await sql.fetchval(sleeping)

        await eventually(nobody_sleeps, "the server has given up too")


async def test_wrong_query(url: str, sql: Connection) -> None:
    """A query that fails grants nothing and is told by health; when the table is there it works."""
    late = {"device": "SELECT device_id FROM late WHERE owner_id = $1 AND device_id = ANY($2)"}
    async with serving(hasty(url, grants_queries=late, inbox=None)) as store:
        assert store.grants
        assert store.users
        (grants,) = [part for part in store.health() if part.part == "grants"]
        assert not grants.ok
        assert "42P01" in grants.detail  # Known before anybody asked.
        with pytest.raises(UnavailableError):
            await store.grants.granted("u1", ROOMS)
        assert await store.users.active("u1")
        await sql.execute("ALTER TABLE devices RENAME TO late")
        assert await store.grants.granted("u1", ROOMS) == {"device:d1"}
        await eventually(lambda: all(part.ok for part in store.health()))


async def test_changed_column(url: str, sql: Connection) -> None:
    """A column that changes its type while running costs at most a refusal."""
    async with serving(hasty(url, inbox=None)) as store:
        assert store.grants
        assert await store.grants.granted("u1", ["team:7"]) == {"team:7"}
        await sql.execute("ALTER TABLE teams ALTER team_id TYPE text")

        async def granted() -> bool:
            assert store.grants
            try:
                return await store.grants.granted("u1", ["team:7", "team:8"]) == {"team:7"}
            except UnavailableError:
                return False

        await eventually(granted, "the query is learnt anew")


async def test_users_return_with_the_connection(line: tuple[Proxy, str], sql: Connection) -> None:
    """What changed while nobody listened is not answered from memory afterwards."""
    proxy, through = line
    lasting = rules(through, answer_seconds_max=3_600.0, inbox=None)
    async with serving(lasting) as store:
        assert store.users
        assert await store.users.active("u1")
        await sql.execute("UPDATE users SET active = false WHERE id = 'u1'")
        assert await store.users.active("u1")  # Nobody has said anything.
        await proxy.cut()

        async def refused() -> bool:
            assert store.users
            try:
                return not await store.users.active("u1")
            except UnavailableError:
                return False

        await eventually(refused, "the user is asked about anew")


async def test_too_many_connections(url: str, sql: Connection) -> None:
    """However many ask at once, the pool has the connections that it may have."""
    narrow = DatabaseRules(url, connections_max=2, query_seconds_max=30.0)
    async with serving(rules(url, database=narrow, inbox=None)) as store:
        assert store.users
        await asyncio.gather(*(store.users.active(f"u{number}") for number in range(200)))
        ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cloudphone-bridge'"

        assert await sql.fetchval(ours) == 3  # With the one that watches.


async def test_nothing_is_left(line: tuple[Proxy, str]) -> None:
    """A store that is cancelled during an outage leaves no task behind."""
    proxy, through = line
    async with serving(hasty(through), feed=feed_of(logged(1, "a", "u1"))) as store:
        proxy.swallow()
        await all_unavailable(store)

    def left() -> list[str]:
        return [
            repr(task) for task in asyncio.all_tasks() if "asyncpg" in repr(task) or "bridge/" in repr(task)
        ]

    await eventually(lambda: not left(), "every task has ended")
