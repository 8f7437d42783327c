"""Databases for tests: on the server that is given, in a container, or on an embedded server."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
from yarl import URL

from devel.docker import engine_answers
from devel.postgres import embedded_server
from tests.proxy import Proxy

IMAGE = "postgres:18-alpine"


@dataclass(frozen=True)
class SharedServer:
    """A PostgreSQL that all tests of a run share. Every test has databases of its own there."""

    url: str  # Of its maintenance database, with a user who may create others.

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Yield the URL of a new, empty database, which is dropped in the end, with whoever uses it."""
        name = f"test_{uuid4().hex[:12]}"
        await self._execute(f"CREATE DATABASE {name}")
        try:
            yield str(URL(self.url).with_path(f"/{name}", keep_query=True))
        finally:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def make_careless(self) -> None:
        """Let it forget what it was told when the machine fails: these tests would not outlive that."""
        await self._execute("ALTER SYSTEM SET fsync = off")
        await self._execute("SELECT pg_reload_conf()")

    async def _execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


@contextmanager
def shared_server() -> Iterator[SharedServer]:
    """Yield the server for a run of tests: POSTGRES_TEST_URL's, else a container, else an embedded one.

    Raises:
        DevelError: there is none, with what to do about it.
    """
    if url := os.environ.get("POSTGRES_TEST_URL"):
        yield SharedServer(url)
    elif engine_answers():
        yield from _container()
    else:
        with (
            tempfile.TemporaryDirectory(prefix="bridge-test-", ignore_cleanup_errors=True) as folder,
            embedded_server(Path(folder)) as server,
        ):
            shared = SharedServer(server.get_uri())
            asyncio.run(shared.make_careless())
            yield shared


def _container() -> Iterator[SharedServer]:
    # Only here: importing it already looks for an engine's settings.
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415

    with PostgresContainer(IMAGE, driver=None) as container:
        yield SharedServer(container.get_connection_url())


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """Yield a proxy in front of a database's server, and the URL of the database through it."""
    target = URL(url)
    folder = target.query.get("host", "")
    port = target.port or 5432
    socket = Path(folder) / f".s.PGSQL.{port}" if folder.startswith("/") else None
    async with Proxy(target.host or folder, port, socket=socket) as proxy:
        through = target.with_host("127.0.0.1").with_port(proxy.port)
        yield proxy, str(through.without_query_params("host"))
