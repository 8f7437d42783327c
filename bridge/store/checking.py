"""What `check` wants to know of the database."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import asyncpg

from bridge.store.connecting import FAULTS, Connection, connect, reason, socket_of
from bridge.store.grants import problem_with_grants, where
from bridge.store.migrating import trouble_with_schema
from bridge.store.store import StoreRules
from bridge.store.users import WHERE, problem_with_users

_REMEDIES = {
    # The beginning of an SQLSTATE (PostgreSQL manual, appendix A), and what to do.
    "28": "correct user and password in database.url / DATABASE_URL, or pg_hba.conf on the server",
    "3D": "correct the name of the database in database.url / DATABASE_URL, or create it",
    "42501": "GRANT the user of database.url what it lacks",
    "42": "correct the query: its tables, columns and types; python -m bridge check again",
    "53": "the server has no connection left: raise its max_connections, or lower database.connections_max",
    "57": "it is starting or stopping; check again in a moment",
}
_FILE_REMEDY = "correct sslrootcert, sslcert, sslkey or passfile in database.url / DATABASE_URL"
_SOCKET_REMEDY = (
    "is it running on this machine? host in database.url / DATABASE_URL has to be its folder of sockets "
    "(unix_socket_directories in postgresql.conf), and port its port"
)
_REMEDY = "is it running, and are host, port and name in database.url / DATABASE_URL right?"


class DatabaseFinding(NamedTuple):
    """What was found; `remedy` is empty when all is well."""

    part: str
    detail: str
    remedy: str = ""


async def check_database(rules: StoreRules) -> list[DatabaseFinding]:
    """Connect, and have PostgreSQL read every query of the settings without running it. Never raises."""
    try:
        connection = await connect(rules.database)
    except FileNotFoundError as missing:
        path = socket_of(rules.database)
        if path is None or path.exists():
            return [DatabaseFinding("database", f"PostgreSQL: {reason(missing)}", _FILE_REMEDY)]
        return [DatabaseFinding("database", f"PostgreSQL: there is no Unix socket {path}", _SOCKET_REMEDY)]
    except FAULTS as fault:
        return [DatabaseFinding("database", f"PostgreSQL: {reason(fault)}", _remedy(fault))]
    try:
        async with asyncio.timeout(rules.database.connect_seconds_max):
            return [DatabaseFinding("database", "PostgreSQL answers"), *await _findings(connection, rules)]
    except FAULTS as fault:
        return [DatabaseFinding("database", f"PostgreSQL: {reason(fault)}", _remedy(fault))]
    finally:
        connection.terminate()


async def _findings(connection: Connection, rules: StoreRules) -> list[DatabaseFinding]:
    findings = []
    if rules.users_query is not None:
        problem = await problem_with_users(connection, rules.users_query)
        findings.append(_of_query("users", WHERE, problem))
    for kind, sql in rules.grants_queries.items():
        findings.append(_of_query("grants", where(kind), await problem_with_grants(connection, kind, sql)))
    if rules.inbox is not None:
        trouble = await trouble_with_schema(connection, rules.database.schema)
        detail, _, remedy = trouble.rpartition(": ")
        detail = detail or f"the tables in {rules.database.schema} are up to date"
        findings.append(DatabaseFinding("inbox", detail, remedy))
    return findings


def _of_query(part: str, setting: str, problem: str) -> DatabaseFinding:
    if not problem:
        return DatabaseFinding(part, f"PostgreSQL understands {setting}")
    return DatabaseFinding(part, problem, _remedy_of(problem.removeprefix(f"{setting}: ")))


def _remedy(fault: BaseException) -> str:
    return _remedy_of(fault.sqlstate or "") if isinstance(fault, asyncpg.PostgresError) else _REMEDY


def _remedy_of(text: str) -> str:
    """Return what to do about a text that begins with an SQLSTATE, the longest that is known of it."""
    known = [state for state in _REMEDIES if text.startswith(state)]
    return _REMEDIES[max(known, key=len)] if known else "correct it and check again"
