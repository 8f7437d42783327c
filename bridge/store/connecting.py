"""How a connection to PostgreSQL is made from a URL, and which faults one may have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy

# In quotes: the classes are generic to the type checker alone.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pooled: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
AnyConnection: TypeAlias = "Connection | Pooled"

APPLICATION = "cloudphone-bridge"  # As pg_stat_activity shows it.
# Parameters that other programs understand in a shared DATABASE_URL; PostgreSQL itself does not.
FOREIGN_PARAMETERS = (
    "connect_timeout",
    "connection_limit",
    "pgbouncer",
    "pool_timeout",
    "socket_timeout",
    "sslaccept",
    "statement_cache_size",
)
SEARCH_PATH_PARAMETER = "schema"  # Of a URL as Prisma writes it: where the operator's tables are.
LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What goes wrong with a connection, which is of no use then.

asyncpg fails internally when the server ends a connection at the moment that a statement is sent.
"""
FAULTS = (*LOST, asyncpg.PostgresError, ValueError)
"""What can go wrong with a database. ValueError: a URL that cannot be understood, an ill-formed value."""


@dataclass(frozen=True, slots=True)
class DatabaseRules:
    """Where the database is, and how long it is waited for.

    `url` may hold a password. `schema` is that of the bridge's own tables.
    """

    url: str
    schema: str = "bridge"
    connections_max: int = 10
    connect_seconds_max: float = 5.0
    query_seconds_max: float = 2.0


def arguments_of(rules: DatabaseRules, *, seconds_max: float) -> dict[str, Any]:
    """Return asyncpg's arguments for a connection whose statements the server ends after `seconds_max`.

    The keep-alive settings let the server notice a client that is gone without a word, and give up its
    locks (PostgreSQL manual, section 19.3.2).
    """
    url = urlsplit(rules.url)  # Which leaves several hosts in one URL alone.
    query = {name: value for name, value in parse_qsl(url.query) if name not in FOREIGN_PARAMETERS}
    search_path = query.pop(SEARCH_PATH_PARAMETER, None)
    settings = {
        "application_name": APPLICATION,
        "statement_timeout": str(round(seconds_max * 1000)),
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }
    if search_path:
        settings["search_path"] = search_path
    return {
        "dsn": urlunsplit(url._replace(query=urlencode(query))),
        "timeout": rules.connect_seconds_max,
        "server_settings": settings,
    }


async def connect(rules: DatabaseRules, *, seconds_max: float | None = None) -> Connection:
    """Open a connection. `seconds_max` is for each of its statements.

    Raises:
        FAULTS: no connection.
    """
    limit = rules.query_seconds_max if seconds_max is None else seconds_max
    return await asyncpg.connect(**arguments_of(rules, seconds_max=limit))


def socket_of(rules: DatabaseRules) -> Path | None:
    """Return the Unix socket that the URL leads to: of its `host`, if that is a folder (libpq's rule)."""
    url = urlsplit(rules.url)
    query = dict(parse_qsl(url.query))
    folder = query.get("host") or unquote(url.hostname or "")
    if not folder.startswith("/"):
        return None
    return Path(folder) / f".s.PGSQL.{query.get('port') or url.port or 5432}"


def reason(fault: BaseException) -> str:
    """Say in a line what is wrong, without anything that the URL contains."""
    match fault:
        case BaseExceptionGroup(exceptions=(first, *_)):
            return reason(first)
        case asyncpg.PostgresError():
            return f"{fault.sqlstate}: {str(fault).splitlines()[0] if str(fault) else type(fault).__name__}"
        case FileNotFoundError():
            return "FileNotFoundError: a Unix socket or a file that the URL names is not there"
        case TimeoutError():
            return "it did not answer in time"
        case ValueError():
            return f"{type(fault).__name__}: the URL or a value is not understood"
        case _:
            return f"{type(fault).__name__}: {fault}"
