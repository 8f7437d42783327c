"""The bridge's own tables: made once, by whoever comes first, and left alone when they are newer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from bridge.core.authority import UnavailableError
from bridge.core.stats import Stats
from bridge.store import database, migrating
from bridge.store.connecting import Connection
from bridge.store.migrating import SchemaTooNewError, migrate, trouble_with_schema, version_of
from bridge.store.statements import Migration, migrations
from bridge.store.store import Store
from tests.databases import SharedServer
from tests.eventually import eventually
from tests.store.tables import rules

SCHEMA = "bridge"


@pytest.fixture
async def bare(postgres: SharedServer) -> AsyncIterator[str]:
    """The URL of an empty database."""
    async with postgres.database() as url:
        yield url


@pytest.fixture
async def empty(bare: str) -> AsyncIterator[Connection]:
    """A connection to an empty database."""
    connection = await asyncpg.connect(bare)
    yield connection
    await connection.close()


def test_numbers() -> None:
    """Steps are numbered from 1 without a gap, and none says where its tables are."""
    steps = migrations('odd"name')

    assert [step.version for step in steps] == list(range(1, len(steps) + 1))
    assert all('"odd""name".' in step.sql for step in steps)
    assert all("{schema}" not in step.sql for step in steps)


async def test_from_nothing(empty: Connection) -> None:
    """The first run does every step, the next does none."""
    names = [step.name for step in migrations(SCHEMA)]

    assert await version_of(empty, SCHEMA) == 0
    assert "run python -m bridge migrate" in await trouble_with_schema(empty, SCHEMA)
    assert await migrate(empty, SCHEMA) == names
    assert await migrate(empty, SCHEMA) == []
    assert await version_of(empty, SCHEMA) == len(names)
    assert await trouble_with_schema(empty, SCHEMA) == ""


async def test_two_schemas(empty: Connection) -> None:
    """Tables in another schema are others."""
    await migrate(empty, SCHEMA)

    assert await version_of(empty, "other") == 0
    assert await migrate(empty, "other") != []


async def test_schema_of_its_own(bare: str, empty: Connection) -> None:
    """Whoever owns the schema can migrate, without a right to create any."""
    role = f"bridge_{uuid4().hex[:8]}"
    await empty.execute(f"CREATE ROLE {role}; CREATE SCHEMA {SCHEMA} AUTHORIZATION {role}")
    connection = await asyncpg.connect(bare)
    try:
        await connection.execute(f"SET SESSION AUTHORIZATION {role}")
        assert await migrate(connection, SCHEMA) != []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await migrate(connection, "other")
    finally:
        await connection.close()
        await empty.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_many_at_once(bare: str) -> None:
    """Of ten that run at once one does the work, and none fails."""
    connections = [await asyncpg.connect(bare) for _ in range(10)]
    try:
        done = await asyncio.gather(*(migrate(connection, SCHEMA) for connection in connections))
    finally:
        for connection in connections:
            await connection.close()

    assert sorted(map(len, done)) == [0] * 9 + [len(migrations(SCHEMA))]


async def test_newer(empty: Connection) -> None:
    """Tables of a newer bridge are refused and left as they are."""
    await migrate(empty, SCHEMA)
    await empty.execute("INSERT INTO bridge.migration (version, name) VALUES (99, '0099_later')")

    with pytest.raises(SchemaTooNewError, match="99"):
        await migrate(empty, SCHEMA)
    assert await version_of(empty, SCHEMA) == 99
    assert "run a newer bridge" in await trouble_with_schema(empty, SCHEMA)


async def test_half_a_step(empty: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that fails undoes those before it: all or none."""
    broken = Migration(99, "0099_broken", "CREATE TABLE bridge.half (a int); SELECT 1 / 0;")
    monkeypatch.setattr(migrating, "migrations", lambda schema: [*migrations(schema), broken])

    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty, SCHEMA)
    assert await version_of(empty, SCHEMA) == 0
    assert await empty.fetchval("SELECT to_regclass('bridge.inbox_item')") is None


async def test_serving_without(bare: str, empty: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its tables the inbox is unavailable and says why; once migrated it works without a restart."""
    monkeypatch.setattr(database, "PULSE_SECONDS", 0.1)
    await empty.execute("CREATE TABLE users (id text PRIMARY KEY, active boolean)")
    async with asyncio.TaskGroup() as tasks:
        store = Store(rules(bare, grants_queries={}), Stats())
        running = tasks.create_task(store.run())
        await eventually(lambda: "migrate" in store.health()[0].detail, "the trouble is told")
        assert store.inbox
        assert store.users
        with pytest.raises(UnavailableError, match="migrate"):
            await store.inbox.unread("u1")
        assert not await store.users.active("u1")  # Needs no table of ours.

        await migrate(empty, SCHEMA)
        await eventually(lambda: store.health()[0].ok, "the tables are found")
        assert await store.inbox.unread("u1") == 0
        running.cancel()
