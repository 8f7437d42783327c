"""Which rooms a user may join, where a query of the settings decides it: all kinds in one round trip."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

import asyncpg
import structlog

from bridge.core.answers import Answers
from bridge.core.authority import UnavailableError
from bridge.core.rooms import Room, parse_room
from bridge.core.stats import Stats
from bridge.store.asking import Asker
from bridge.store.connecting import AnyConnection, Pooled, reason
from bridge.store.database import Database
from bridge.store.queries import Query, QueryError, composed, is_user, learn

log = structlog.get_logger()

PARAMETERS_MAX = 2


def where(kind: str) -> str:
    """Return the setting that holds the query of a kind."""
    return f"grants.{kind}.query"


class PostgresGrants:
    """Answers by a query for each kind of room, which gives the ids that the user may join.

    Such as `SELECT device_id FROM devices WHERE owner_id = $1 AND device_id = ANY($2)`: `$1` is the
    user, `$2` all the ids of that kind which are asked about. What it gives beyond these is passed over.
    """

    def __init__(
        self, database: Database, queries: Mapping[str, str], answers: Answers, stats: Stats
    ) -> None:
        """Ask nothing yet. `queries` are by kind of room."""
        self.kinds: Collection[str] = frozenset(queries)
        self._database = database
        self._sql = queries
        self._queries: dict[str, Query] = {}  # Those that were asked before; anew after a failure.
        self._asker = Asker("grant", self._ask, answers, stats)
        self.trouble = ""  # Why the last question had no answer.
        self.forget = self._asker.forget
        self.forget_all = self._asker.forget_all
        self.close = self._asker.close

    async def granted(self, user_id: str, rooms: Sequence[str]) -> Collection[str]:
        """Return those of the rooms that the user may join. Raises UnavailableError."""
        if not is_user(user_id):
            return frozenset()
        decided = {name for name in rooms if (room := parse_room(name)) and room.kind in self.kinds}
        return await self._asker.granted(user_id, decided) if decided else frozenset()

    async def _ask(self, user_id: str, rooms: Sequence[str]) -> Collection[str]:
        parsed = {name: room for name in rooms if (room := parse_room(name))}
        try:
            found = await self._database.ask(lambda connection: self._look_up(connection, user_id, parsed))
        except (UnavailableError, QueryError) as error:
            if self.trouble != str(error):
                log.warning("database.question_failed", question="grants", reason=str(error))
            self.trouble = str(error)
            self._queries.clear()
            raise UnavailableError(str(error)) from error
        self.trouble = ""
        return found

    async def _look_up(self, connection: Pooled, user_id: str, rooms: Mapping[str, Room]) -> Collection[str]:
        asked: list[Query] = []
        arguments: list[tuple[object, ...]] = []
        names: list[dict[str, list[str]]] = []  # For each query: by id as it comes back, the rooms meant.
        for kind in sorted({room.kind for room in rooms.values()}):
            query = self._queries.get(kind) or await learn(
                connection, where(kind), self._sql[kind], parameters_max=PARAMETERS_MAX
            )
            self._queries[kind] = query
            user = query.read(0, user_id)
            ids = _ids(query, [(name, room.id) for name, room in rooms.items() if room.kind == kind])
            if user is not None and ids:
                asked.append(query)
                arguments.append((user, list(ids))[: len(query.types)])
                names.append({str(value): meant for value, meant in ids.items()})
        if not asked:
            return ()
        rows = await connection.fetch(composed(asked), *chain.from_iterable(arguments))
        return {name for row in rows for name in names[row["place"]].get(row["id"], ())}


def _ids(query: Query, rooms: Sequence[tuple[str, str]]) -> dict[object, list[str]]:
    """Return the ids as the query's second parameter has them, each with the rooms that it stands for."""
    parameter = len(query.types) - 1
    ids: dict[object, list[str]] = {}
    for name, room_id in rooms:
        value = query.read(parameter, room_id) if parameter else room_id
        if value is not None:
            ids.setdefault(value, []).append(name)
    return ids


async def problem_with_grants(connection: AnyConnection, kind: str, sql: str) -> str:
    """Say what is wrong with the query of a kind, empty if nothing is.

    Raises:
        FAULTS: the database does not answer.
    """
    try:
        query = await learn(connection, where(kind), sql, parameters_max=PARAMETERS_MAX)
        await connection.prepare(composed([query]))
    except QueryError as error:
        return str(error)
    except asyncpg.PostgresError as fault:
        return f"{where(kind)}: {reason(fault)}"
    return ""
