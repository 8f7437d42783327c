"""The operator's queries: what they take, what they give, and how several become one statement.

A query is asked with ids as its own parameters have them: PostgreSQL says of which type each is, and an id
that is not of that type is nobody's. So `WHERE id = $1` is right for a key of any type in the table below,
its index is used, and an ill-formed id is refused before it reaches the database.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from bridge.core.rooms import parse_room, user_room
from bridge.store.connecting import AnyConnection

# What a query consists of, as far as a parameter must not be looked for in it: text, names, comments.
_PIECES = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(?P<number>\d+)""", re.VERBOSE | re.DOTALL
)


class QueryError(Exception):
    """A query of the settings that cannot do what it is for; the message says what to write instead."""


def _text(value: str) -> str:
    return value


def _whole(value: str, bits: int) -> int:
    number = int(value)
    if str(number) != value or not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise ValueError  # Such as 007, which is another room than 7.
    return number


def _uuid(value: str) -> UUID:
    uuid = UUID(value)
    if str(uuid) != value.lower():
        raise ValueError
    return uuid


READERS: Mapping[str, Callable[[str], object]] = {
    "text": _text,
    "varchar": _text,
    "bpchar": _text,
    "citext": _text,
    "uuid": _uuid,
    "int2": lambda value: _whole(value, 16),
    "int4": lambda value: _whole(value, 32),
    "int8": lambda value: _whole(value, 64),
}
"""By PostgreSQL's name of a parameter's type: an id as that type, or ValueError."""

_CONDITION = "write a condition, such as status = 'active'"
_READABLE = "text, varchar, uuid, smallint, integer and bigint"


def is_user(user_id: str) -> bool:
    """Tell whether this can be a user at all: whoever has no room of their own is none."""
    return parse_room(user_room(user_id)) is not None


@dataclass(frozen=True, slots=True)
class Query:
    """A query of the settings, and the types of its parameters, as PostgreSQL names them."""

    where: str  # The setting, for people.
    sql: str  # Without comments, and without a semicolon in the end.
    types: tuple[str, ...]

    def read(self, parameter: int, value: str) -> object | None:
        """Return an id as the type of the parameter (from 0), or of its elements; None if it is not one."""
        try:
            return READERS[self.types[parameter].removesuffix("[]")](value)
        except ValueError:
            return None


def body_of(sql: str) -> str:
    """Return a query without comments and what may end it, so that it can stand in parentheses."""
    bare = _PIECES.sub(lambda piece: " " if piece[0].startswith(("--", "/*")) else piece[0], sql)
    return bare.strip().rstrip("; \t\r\n")


async def learn(connection: AnyConnection, where: str, sql: str, *, parameters_max: int) -> Query:
    """Have PostgreSQL read a query, without running it.

    Raises:
        QueryError: it takes what ids cannot be, or gives nothing.
        FAULTS: PostgreSQL does not understand it.
    """
    sql = body_of(sql)
    prepared = await connection.prepare(sql)
    types = tuple(parameter.name for parameter in prepared.get_parameters())
    if not 1 <= len(types) <= parameters_max:
        raise QueryError(f"{where} has {len(types)} parameters: write {_expected(parameters_max)}")
    if types[0] not in READERS:
        raise QueryError(f"{where}: $1 is of the type {types[0]}; cast it to one of {_READABLE}: $1::text")
    if len(types) > 1 and types[1].removesuffix("[]") not in READERS:
        raise QueryError(
            f"{where}: $2 is of the type {types[1]}; write $2::text[], or an array of {_READABLE}"
        )
    if len(types) > 1 and not types[1].endswith("[]"):
        raise QueryError(f"{where}: $2 is all the ids that are asked about; write = ANY($2), not = $2")
    if not prepared.get_attributes():
        raise QueryError(f"{where} gives no column: write a SELECT")
    return Query(where, sql, types)


async def learn_user_query(connection: AnyConnection, where: str, sql: str) -> Query:
    """Have PostgreSQL read the query that says whether a user is active. Raises as `learn`."""
    query = await learn(connection, where, sql, parameters_max=1)
    prepared = await connection.prepare(query.sql)
    kind = prepared.get_attributes()[0].type.name
    if kind != "bool":
        raise QueryError(f"{where}: the first column is of the type {kind}, not boolean; {_CONDITION}")
    return query


def composed(queries: Sequence[Query]) -> str:
    """Return one statement that gives the rows of all, each with the place of its query and its id as text.

    The parameters follow one another: those of the first query, those of the second, and so on.
    """
    parts = []
    first = 1
    for place, query in enumerate(queries):
        sql = _shifted(query.sql, first - 1)
        parts.append(f"SELECT {place} AS place, answer.id::text AS id FROM ({sql}) AS answer (id)")  # noqa: S608 - of the operator
        first += len(query.types)
    return "\nUNION ALL\n".join(parts)


def _shifted(sql: str, by: int) -> str:
    """Number the parameters of a query from another number on."""
    return _PIECES.sub(
        lambda match: f"${int(match['number']) + by}" if match["number"] else match[0],
        sql,
    )


def _expected(parameters_max: int) -> str:
    return "the user's id as $1" if parameters_max == 1 else "the user's id as $1 and the rooms' ids as $2"
