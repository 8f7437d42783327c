"""Which users are active: the operator's own table, by the query of the settings."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import structlog

from bridge.core.answers import Answers
from bridge.core.authority import UnavailableError
from bridge.core.stats import Stats
from bridge.store.asking import Asker
from bridge.store.connecting import AnyConnection, Pooled, reason
from bridge.store.database import Database
from bridge.store.queries import Query, QueryError, is_user, learn_user_query

log = structlog.get_logger()

WHERE = "users.query"
_ACTIVE = "active"  # The one thing that is asked about a user.


class PostgresUsers:
    """Answers by a query, such as `SELECT active FROM users WHERE id = $1`. No row: no such user."""

    def __init__(self, database: Database, sql: str, answers: Answers, stats: Stats) -> None:
        """Ask nothing yet."""
        self._database = database
        self._sql = sql
        self._query: Query | None = None  # Set with the first question; anew after a failure.
        self._asker = Asker("user", self._ask, answers, stats)
        self.trouble = ""  # Why the last question had no answer.
        self.forget = self._asker.forget
        self.forget_all = self._asker.forget_all
        self.close = self._asker.close

    async def active(self, user_id: str) -> bool:
        """Tell whether the user exists and is active. Raises UnavailableError."""
        return is_user(user_id) and bool(await self._asker.granted(user_id, (_ACTIVE,)))

    async def _ask(self, user_id: str, names: Sequence[str]) -> Sequence[str]:
        try:
            active = await self._database.ask(lambda connection: self._look_up(connection, user_id))
        except (UnavailableError, QueryError) as error:
            if self.trouble != str(error):
                log.warning("database.question_failed", question=WHERE, reason=str(error))
            self._query, self.trouble = None, str(error)
            raise UnavailableError(str(error)) from error
        self.trouble = ""
        return names if active else ()

    async def _look_up(self, connection: Pooled, user_id: str) -> bool:
        query = self._query or await learn_user_query(connection, WHERE, self._sql)
        self._query = query
        value = query.read(0, user_id)
        if value is None:
            return False
        return await connection.fetchval(query.sql, value) is True


async def problem_with_users(connection: AnyConnection, sql: str) -> str:
    """Say what is wrong with the query, empty if nothing is. Raises FAULTS but for those of the query."""
    try:
        await learn_user_query(connection, WHERE, sql)
    except QueryError as error:
        return str(error)
    except asyncpg.PostgresError as fault:
        return f"{WHERE}: {reason(fault)}"
    return ""
