"""The bridge's own tables: brought up to date by numbered steps, all of them or none."""

from __future__ import annotations

from bridge.store.connecting import AnyConnection, Connection
from bridge.store.statements import migrations, quoted


class SchemaTooNewError(Exception):
    """The tables were made by a newer bridge than this one; nothing was changed."""


async def version_of(connection: AnyConnection, schema: str) -> int:
    """Return the version of the tables; 0 when there are none."""
    table = f"{quoted(schema)}.migration"
    if await connection.fetchval("SELECT to_regclass($1)", table) is None:
        return 0
    version = await connection.fetchval(f"SELECT max(version) FROM {table}")  # noqa: S608 - quoted
    return int(version or 0)


async def trouble_with_schema(connection: AnyConnection, schema: str) -> str:
    """Say what is wrong with the version of the tables, and what to do; empty when it is this bridge's."""
    have, need = await version_of(connection, schema), migrations(schema)[-1].version
    if have == need:
        return ""
    if have > need:
        return f"the tables in {schema} have version {have}, and this bridge knows {need}: run a newer bridge"
    return f"the tables in {schema} have version {have} of {need}: run python -m bridge migrate"


async def migrate(connection: Connection, schema: str) -> list[str]:
    """Bring the tables up to date; return the names of the steps that were done. Idempotent.

    Two at once are safe: the second waits for the first, and finds nothing to do.

    Raises:
        SchemaTooNewError: a newer bridge has made the tables.
        FAULTS: nothing was changed.
    """
    steps = migrations(schema)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"migrate {schema}")
        have = await version_of(connection, schema)
        if have > steps[-1].version:
            raise SchemaTooNewError(
                f"the tables in {schema} have version {have}, and this bridge knows {steps[-1].version}: "
                "run the migration of the newer bridge's release, or set database.own_schema to another"
            )
        if have == 0:
            # IF NOT EXISTS would ask for the right to create one even where somebody has.
            if await connection.fetchval("SELECT to_regnamespace($1)", quoted(schema)) is None:
                await connection.execute(f"CREATE SCHEMA {quoted(schema)}")
            await connection.execute(
                f"CREATE TABLE {quoted(schema)}.migration (version int PRIMARY KEY, name text NOT NULL, "
                "done_at timestamptz NOT NULL DEFAULT now())"
            )
        missing = [step for step in steps if step.version > have]
        for step in missing:
            await connection.execute(step.sql)
            await connection.execute(
                f"INSERT INTO {quoted(schema)}.migration (version, name) VALUES ($1, $2)",  # noqa: S608 - quoted
                step.version,
                step.name,
            )
    return [step.name for step in missing]
