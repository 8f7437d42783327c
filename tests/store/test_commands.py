"""`bridge migrate`, and what `bridge check` says of the database, as processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from yarl import URL

from bridge.app import catalogue_of
from bridge.settings import load
from bridge.storage import store_rules_of
from bridge.store.checking import DatabaseFinding, check_database
from bridge.store.connecting import Connection
from tests.commands import Finished, bridge, environment
from tests.databases import SharedServer, proxied
from tests.store.tables import DEVICE_QUERY, USER_QUERY

NO_BROKER = "amqp://127.0.0.1:1/"
PASSWORD = "hunter-2-secret"


@pytest.fixture
async def bare(postgres: SharedServer) -> AsyncIterator[str]:
    """The URL of an empty database."""
    async with postgres.database() as url:
        yield url


async def run(folder: Path, command: str, **settings: str) -> Finished:
    """Run a command with these settings, without a broker."""
    return await bridge(command, variables=environment(NO_BROKER, "test", **settings), folder=folder)


async def test_migrate(bare: str, tmp_path: Path) -> None:
    """The first run makes the tables, the second finds nothing to do; two at once do it once."""
    both = await asyncio.gather(*(run(tmp_path, "migrate", DATABASE_URL=bare) for _ in range(2)))
    third = await run(tmp_path, "migrate", DATABASE_URL=bare)

    assert [done.status for done in (*both, third)] == [0, 0, 0], both[0].said + both[1].said
    assert sum(done.said.count("done 0001_inbox") for done in both) == 1
    assert third.said.strip() == "the tables in bridge are up to date"


async def test_migrate_a_newer_one(url: str, sql: Connection, tmp_path: Path) -> None:
    """Tables of a newer bridge are left alone."""
    await sql.execute("INSERT INTO bridge.migration (version, name) VALUES (99, '0099_later')")

    done = await run(tmp_path, "migrate", DATABASE_URL=url)

    assert done.status == 1
    assert "newer bridge" in done.said


async def test_migrate_without_a_database(tmp_path: Path) -> None:
    """Without a database there is nothing to migrate, and the variable to set is named."""
    done = await run(tmp_path, "migrate")

    assert done.status == os.EX_CONFIG
    assert "DATABASE_URL" in done.said


async def test_migrate_out_of_reach(url: str, tmp_path: Path) -> None:
    """A database that does not answer is told in a line, without the password."""
    async with proxied(url) as (proxy, through):
        port = proxy.port
    far = str(URL(through).with_password(PASSWORD))

    done = await run(tmp_path, "migrate", DATABASE_URL=far)

    assert done.status == 1
    assert str(port) in done.said
    assert PASSWORD not in done.said


async def test_check(url: str, sql: Connection, tmp_path: Path) -> None:
    """Each part that is right gets a line."""
    del sql
    done = await run(
        tmp_path,
        "check",
        DATABASE_URL=url,
        BRIDGE_USERS__QUERY=USER_QUERY,
        BRIDGE_GRANTS__DEVICE__QUERY=DEVICE_QUERY,
        BRIDGE_INBOX__ENABLED="true",
    )

    for line in (
        "PostgreSQL answers",
        "PostgreSQL understands users.query",
        "PostgreSQL understands grants.device.query",
        "the tables in bridge are up to date",
    ):
        assert line in done.said


@pytest.mark.parametrize(
    ("settings", "said", "remedy"),
    [
        ({"BRIDGE_USERS__QUERY": "SELECT on FROM users WHERE id = $1"}, "42601", "correct the query"),
        ({"BRIDGE_USERS__QUERY": "SELECT id FROM users WHERE id = $1"}, "not boolean", "check again"),
        (
            {"BRIDGE_GRANTS__DEVICE__QUERY": "SELECT 1 FROM nowhere WHERE a = $1"},
            "42P01",
            "correct the query",
        ),
        ({"BRIDGE_GRANTS__DEVICE__QUERY": "SELECT device_id FROM devices"}, "0 parameters", "check again"),
        ({"BRIDGE_INBOX__ENABLED": "true"}, "version 0 of 1", "python -m bridge migrate"),
        ({"DATABASE_URL": "/nowhere"}, "3D000", "correct the name of the database"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_check_finds(
    url: str, sql: Connection, tmp_path: Path, settings: dict[str, str], said: str, remedy: str
) -> None:
    """What is wrong is said in PostgreSQL's words, with what to do; exit status 1."""
    await sql.execute("DROP SCHEMA bridge CASCADE")
    path = settings.get("DATABASE_URL", URL(url).path)
    others = {name: value for name, value in settings.items() if name != "DATABASE_URL"}
    variables = {"BRIDGE_USERS__QUERY": USER_QUERY, **others}

    done = await run(
        tmp_path, "check", DATABASE_URL=str(URL(url).with_path(path, keep_query=True)), **variables
    )

    assert done.status == 1
    lines = done.said.splitlines()
    (at,) = [number for number, line in enumerate(lines) if said in line]
    assert remedy in lines[at + 1]
    assert not (await sql.fetchval("SELECT to_regclass('bridge.migration')"))


async def checked(address: str, **settings: str) -> DatabaseFinding:
    """Return the last that check finds of the database with these settings."""
    variables = environment(NO_BROKER, "test", DATABASE_URL=address, **settings)
    settings_of_check = load(variables)
    rules = store_rules_of(settings_of_check, catalogue_of(settings_of_check))
    assert rules is not None
    return (await check_database(rules))[-1]


async def test_check_says_it_once(url: str, sql: Connection) -> None:
    """What is wrong with the tables is in what was found, and what to do in the remedy."""
    await sql.execute("INSERT INTO bridge.migration (version, name) VALUES (99, '0099_later')")

    finding = await checked(url, BRIDGE_INBOX__ENABLED="true")

    assert finding.detail == "the tables in bridge have version 99, and this bridge knows 1"
    assert finding.remedy == "run a newer bridge"


@pytest.mark.parametrize(
    ("address", "said", "remedy"),
    [
        ("postgresql:///x?host=/nowhere&port=99", "no Unix socket /nowhere/.s.PGSQL.99", "folder of sockets"),
        ("postgresql://u@%2Fnowhere/x", "no Unix socket /nowhere/.s.PGSQL.5432", "folder of sockets"),
        ("postgresql://u@127.0.0.1:1/x", "Connect call failed", "is it running"),
        (
            "postgresql://u@127.0.0.1:1/x?sslmode=verify-full&sslrootcert=/nowhere",
            "a file that the URL names is not there",
            "correct sslrootcert",
        ),
    ],
)
async def test_check_finds_no_server(address: str, said: str, remedy: str) -> None:
    """A server that cannot be reached is named, with what of the URL to look at."""
    finding = await checked(address, BRIDGE_USERS__QUERY=USER_QUERY)

    assert said in finding.detail
    assert remedy in finding.remedy


async def test_check_without_a_database(tmp_path: Path) -> None:
    """That there is none is said, and is no mistake."""
    done = await run(tmp_path, "check")

    assert "tokens alone decide" in done.said


@pytest.mark.parametrize(
    "name", ["BRIDGE_USERS__QUERY", "BRIDGE_GRANTS__DEVICE__QUERY", "BRIDGE_INBOX__ENABLED"]
)
async def test_settings_that_need_one(tmp_path: Path, name: str) -> None:
    """A setting that cannot do without a database is refused without one."""
    done = await run(tmp_path, "check", **{name: "true"})

    assert done.status == os.EX_CONFIG
    assert "DATABASE_URL" in done.said
