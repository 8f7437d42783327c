"""A database for each test, with tables of an operator's and the bridge's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from bridge.core.feed import Feed
from bridge.core.stats import Stats
from bridge.store.connecting import Connection, DatabaseRules
from bridge.store.migrating import migrate
from bridge.store.store import Store, StoreRules
from devel.errors import DevelError
from tests.databases import SharedServer, shared_server
from tests.eventually import eventually
from tests.store.tables import OPERATORS_TABLES


@pytest.fixture(scope="session")
def postgres() -> Iterator[SharedServer]:
    """A PostgreSQL for the whole run."""
    try:
        with shared_server() as server:
            yield server
    except DevelError as error:
        pytest.fail(error.message, pytrace=False)


@asynccontextmanager
async def prepared(server: SharedServer) -> AsyncIterator[tuple[str, Connection]]:
    """Yield the URL of a new database with an operator's tables and the bridge's own, and a way in."""
    async with server.database() as url:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(OPERATORS_TABLES)
            await migrate(connection, DatabaseRules(url).schema)
            yield url, connection
        finally:
            await connection.close()


@pytest.fixture
async def operator(postgres: SharedServer) -> AsyncIterator[tuple[str, Connection]]:
    """This test's own database: its URL, and the operator's connection."""
    async with prepared(postgres) as both:
        yield both


@pytest.fixture
def url(operator: tuple[str, Connection]) -> str:
    """The URL of this test's own database."""
    return operator[0]


@pytest.fixture
def sql(operator: tuple[str, Connection]) -> Connection:
    """The operator, at this test's own database."""
    return operator[1]


@asynccontextmanager
async def serving(
    rules: StoreRules, *, feed: Feed | None = None, stats: Stats | None = None
) -> AsyncIterator[Store]:
    """Run a store for the length of the context, once it is connected."""
    store = Store(rules, stats or Stats())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(store.run(feed))
        await eventually(lambda: store.health()[0].ok, "the database is attached")
        yield store
        running.cancel()
