"""`bridge migrate`: bring the bridge's own tables up to date."""

from __future__ import annotations

import asyncio
import os

import typer

from bridge.cli.common import console, errors, fail, settings_or_exit
from bridge.storage import database_rules_of
from bridge.store.connecting import FAULTS, DatabaseRules, connect, reason
from bridge.store.migrating import SchemaTooNewError, migrate as run_migrations

STEP_SECONDS_MAX = 3_600.0  # For one statement: a step may have to rewrite a large table.


def migrate() -> None:
    """Make the tables of the inbox, or bring them up to date. Safe to repeat, also twice at once.

    Exit status 0 when the tables are as this bridge needs them, 78 when no database is set, else 1.
    """
    rules = database_rules_of(settings_or_exit())
    if rules is None:
        errors.print("There is no database: set DATABASE_URL (in the file: database.url).", style="red")
        raise typer.Exit(os.EX_CONFIG)
    try:
        steps = asyncio.run(_migrate(rules))
    except SchemaTooNewError as exc:
        fail(str(exc))
    except FAULTS as exc:
        fail(f"PostgreSQL: {reason(exc)}. Nothing was changed. Try: python -m bridge check")
    for step in steps:
        console.print(f"done {step}", soft_wrap=True)
    console.print(f"the tables in {rules.schema} are up to date", soft_wrap=True)


async def _migrate(rules: DatabaseRules) -> list[str]:
    connection = await connect(rules, seconds_max=STEP_SECONDS_MAX)
    try:
        return await run_migrations(connection, rules.schema)
    finally:
        connection.terminate()
