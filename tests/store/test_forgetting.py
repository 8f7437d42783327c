"""Who tells the bridge that an answer is out of date: a method, a notification, or time."""

from __future__ import annotations

from bridge.core.stats import Stats
from bridge.store.connecting import Connection
from bridge.store.store import Store, StoreRules
from tests.eventually import eventually
from tests.store.conftest import serving
from tests.store.tables import rules

ROOMS = ["device:d1", "device:d9"]


def lasting(url: str) -> StoreRules:
    """Return rules by which answers are remembered for an hour."""
    return rules(url, inbox=None, answer_seconds_max=3_600.0)


async def answers(store: Store) -> tuple[bool, set[str]]:
    """Return what is said of u1."""
    assert store.users
    assert store.grants
    return await store.users.active("u1"), set(await store.grants.granted("u1", ROOMS))


async def take_all_away(sql: Connection) -> None:
    """Block u1 and give their device away."""
    await sql.execute("UPDATE users SET active = false WHERE id = 'u1'")
    await sql.execute("UPDATE devices SET owner_id = 'u2' WHERE device_id = 'd1'")


async def test_remembered(url: str, sql: Connection) -> None:
    """Answers are remembered: yes and no, users and grants."""
    stats = Stats()
    async with serving(lasting(url), stats=stats) as store:
        before = await answers(store)
        await take_all_away(sql)

        assert await answers(store) == before == (True, {"device:d1"})
        assert stats.database_answers["user", "asked"] == 1
        assert stats.database_answers["grant", "remembered"] == 2


async def test_method(url: str, sql: Connection) -> None:
    """After `forget` the database is asked anew."""
    async with serving(lasting(url)) as store:
        await answers(store)
        await take_all_away(sql)
        store.forget("u2")
        assert await answers(store) == (True, {"device:d1"})
        store.forget("u1")

        assert await answers(store) == (False, set())


async def test_notification(url: str, sql: Connection) -> None:
    """NOTIFY with the user's id does the same on every node, when the change is committed."""
    async with serving(lasting(url)) as one, serving(lasting(url)) as another:
        for store in (one, another):
            await answers(store)
        async with sql.transaction():
            await take_all_away(sql)
            await sql.execute("NOTIFY bridge_forget, 'u1'")

        for store in (one, another):

            async def heard(store: Store = store) -> bool:
                return await answers(store) == (False, set())

            await eventually(heard, "the notification is heard")


async def test_odd_notifications(url: str, sql: Connection) -> None:
    """Whatever somebody else says on the channels, the listener goes on."""
    async with serving(rules(url, answer_seconds_max=3_600.0)) as store:
        await answers(store)
        await take_all_away(sql)
        for channel in ("bridge_forget", "bridge.unread"):
            for payload in ("", " ", "x", "-1 u1", "² u1", "9" * 4_000, "1", "1 ", "\u2028"):
                await sql.execute("SELECT pg_notify($1, $2)", channel, payload)
        await sql.execute("NOTIFY bridge_forget, 'u1'")

        async def heard() -> bool:
            return await answers(store) == (False, set())

        await eventually(heard, "the listener goes on")
        assert store.health()[0].ok
