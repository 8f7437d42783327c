"""A private PostgreSQL with an operator's tables: users, and the devices that each of them owns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg

from benchmarks.subject import Options
from devel.postgres import embedded_server

USERS, DEVICES_PER_USER = 100_000, 10
USER_QUERY = "SELECT active FROM users WHERE id = $1"
DEVICE_QUERY = "SELECT device_id FROM devices WHERE owner_id = $1 AND device_id = ANY($2)"
# User number 7 owns the devices `d7-0` to `d7-9`.
TABLES = f"""
CREATE TABLE users (id text PRIMARY KEY, active boolean NOT NULL);
INSERT INTO users SELECT 'u' || number, true FROM generate_series(0, {USERS - 1}) AS number;
CREATE TABLE devices (device_id text NOT NULL, owner_id text NOT NULL);
INSERT INTO devices SELECT 'd' || number || '-' || place, 'u' || number
    FROM generate_series(0, {USERS - 1}) AS number, generate_series(0, {DEVICES_PER_USER - 1}) AS place;
CREATE UNIQUE INDEX ON devices (owner_id, device_id);
"""  # noqa: S608 - of numbers in this file


@dataclass(frozen=True, slots=True)
class Database:
    """Where it is, and how to end it before its time; its data stay as they are."""

    url: str
    stop: Callable[[], None]


@contextmanager
def database(options: Options) -> Iterator[Database]:
    """Start a server and fill its tables; leave nothing behind. Raises DevelError."""
    folder = options.scratch / "postgres"
    folder.mkdir(exist_ok=True)
    with embedded_server(folder) as server:
        url = server.get_uri()
        asyncio.run(_fill(url))
        yield Database(url, server.stop)


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP TABLE IF EXISTS users, devices")  # Of an earlier case of this run.
        await connection.execute(TABLES)
        await connection.execute("VACUUM ANALYZE")  # So that it does not begin while something is measured.
    finally:
        await connection.close()
