"""The operator's queries: keys of any type, hostile ids, and what is told about a query that cannot work."""

from __future__ import annotations

import asyncpg
import pytest

from bridge.store.connecting import Connection
from bridge.store.grants import problem_with_grants
from bridge.store.queries import READERS, Query, body_of, composed, learn
from bridge.store.users import problem_with_users
from tests.store.conftest import serving
from tests.store.tables import DEVICE_QUERY, TEAM_QUERY, USER_QUERY, rules

MEMBER = "7b0a1f6e-5a0c-4a53-9b40-1f4f0c1f2a3b"


@pytest.mark.parametrize(
    ("kind", "text", "taken"),
    [
        ("text", "7", True),
        ("int4", "7", True),
        ("int4", "-7", True),
        ("int4", "007", False),
        ("int4", "+7", False),
        ("int4", "1_0", False),
        ("int4", "7.0", False),
        ("int4", "\N{ARABIC-INDIC DIGIT SEVEN}", False),
        ("int4", "", False),
        ("int2", "32768", False),
        ("int4", "2147483647", True),
        ("int4", "2147483648", False),
        ("int8", "2147483648", True),
        ("int8", "9" * 128, False),
        ("uuid", MEMBER, True),
        ("uuid", MEMBER.upper(), True),
        ("uuid", MEMBER.replace("-", ""), False),
        ("uuid", "{" + MEMBER + "}", False),
        ("uuid", "7", False),
    ],
)
def test_ids_by_type(kind: str, text: str, taken: bool) -> None:  # noqa: FBT001 - of the table
    """An id is taken for a key of a type if it is written as PostgreSQL would write it."""
    assert (Query("", "", (kind,)).read(0, text) is not None) is taken


def test_arrays() -> None:
    """An array's elements are read as its type says."""
    query = Query("", "", ("text", "int8[]"))

    assert query.read(1, "7") == 7
    assert query.read(0, "7") == "7"


def test_composed() -> None:
    """Several queries become one statement; parameters count on, but not within text and names."""
    first = Query("", "SELECT a FROM t WHERE b = $1 AND a = ANY($2) AND c <> '$1'", ("text", "text[]"))
    second = Query("", 'SELECT "$2" FROM t WHERE b = $1', ("text",))
    third = Query("", "SELECT d FROM t WHERE e = $1 AND d = ANY($2)", ("text", "text[]"))

    statement = composed([first, second, third])

    assert "b = $1 AND a = ANY($2) AND c <> '$1')" in statement
    assert 'SELECT "$2" FROM t WHERE b = $3)' in statement
    assert "e = $4 AND d = ANY($5))" in statement


@pytest.mark.parametrize(
    ("sql", "body"),
    [
        ("SELECT 1", "SELECT 1"),
        (" SELECT 1 ; \n", "SELECT 1"),
        ("SELECT 1; -- the end", "SELECT 1"),
        ("-- $1\nSELECT 1 /* ; $2\n */ FROM t", "SELECT 1   FROM t"),
        ("SELECT '--', \";\" FROM t", "SELECT '--', \";\" FROM t"),
        ("SELECT 'it''s -- $1;'", "SELECT 'it''s -- $1;'"),
    ],
)
def test_body(sql: str, body: str) -> None:
    """Comments and semicolons at the end go; text and names stay as they are."""
    assert body_of(sql) == body


async def test_composed_is_understood(sql: Connection) -> None:
    """PostgreSQL takes such a statement, whatever the queries look like."""
    texts = [
        DEVICE_QUERY,
        TEAM_QUERY,
        f"{DEVICE_QUERY} ORDER BY 1 LIMIT 5 ;\n",
        "WITH mine AS (SELECT * FROM members WHERE member = $1) SELECT * FROM mine",
    ]
    queries = [await learn(sql, "", text, parameters_max=2) for text in texts]

    rows = await sql.fetch(composed(queries), "u1", ["d1", "d9"], "u1", [7, 8], "u2", ["d1", "d9"], MEMBER)

    assert {(row["place"], row["id"]) for row in rows} == {(0, "d1"), (1, "7"), (2, "d9"), (3, "7")}


async def test_keys_of_other_types(url: str, sql: Connection) -> None:
    """Users by uuid, rooms by number: the query is written as if everything were text."""
    await sql.execute("CREATE TABLE people (id uuid, active bool)")
    await sql.execute("INSERT INTO people VALUES ($1, true)", MEMBER)
    queries = {
        "company": "SELECT company_id FROM members WHERE member = $1 AND company_id = ANY($2)",
        "branch": "SELECT company_id FROM members WHERE member = $1",  # All that the user may join.
    }
    async with serving(
        rules(url, users_query="SELECT active FROM people WHERE id = $1", grants_queries=queries, inbox=None)
    ) as store:
        assert store.users
        assert store.grants
        assert await store.users.active(MEMBER)
        assert await store.users.active(MEMBER.upper())
        assert not await store.users.active("u1")
        assert await store.grants.granted(
            MEMBER, ["company:7", "company:8", "company:007", "company:x", "branch:7", "branch:8"]
        ) == {"company:7", "branch:7"}
        assert await store.grants.granted("u1", ["company:7", "branch:7"]) == frozenset()


async def test_a_query_that_gives_too_much(url: str, sql: Connection) -> None:
    """A query that forgets what it is asked about grants no room that was not asked for."""
    del sql
    too_much = {"device": "SELECT device_id FROM devices WHERE $1::text <> '' AND $2::text[] IS NOT NULL"}
    async with serving(rules(url, grants_queries=too_much)) as store:
        assert store.grants
        assert await store.grants.granted("u1", ["device:d1", "device:nope"]) == {"device:d1"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (USER_QUERY, ""),
        ("SELECT true FROM users WHERE id = $1::varchar;", ""),
        ("SELECT active FROM user WHERE id = $1", "42703"),
        ("SELECT active FROM people WHERE id = $1", "42P01"),
        ("SELEC active", "42601"),
        ("SELECT id FROM users WHERE id = $1", "not boolean"),
        ("SELECT active FROM users", "0 parameters"),
        ("SELECT active FROM users WHERE id = $1 AND active = $2", "2 parameters"),
        ("SELECT active FROM users WHERE now() > $1", "timestamptz"),
        ("DELETE FROM users WHERE id = $1", "gives no column"),
        ("SELECT true; SELECT active FROM users WHERE id = $1", "42601"),
        ("", "0 parameters"),
    ],
)
async def test_problems_with_users(sql: Connection, query: str, said: str) -> None:
    """What is wrong with the query for users is told without running it."""
    problem = await problem_with_users(sql, query)

    assert (said in problem) if said else (problem == "")
    assert await sql.fetchval("SELECT count(*) FROM users") == 5


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (DEVICE_QUERY, ""),
        (TEAM_QUERY, ""),
        ("SELECT device_id FROM devices WHERE owner_id = $1", ""),
        ("SELECT device_id FROM devices WHERE owner_id = $1 AND device_id = $2", "= ANY($2)"),
        ("SELECT device_id FROM devices WHERE owner_id = $1 AND now() = ANY($2)", "timestamptz[]"),
        ("SELECT device_id FROM devices", "0 parameters"),
        ("SELECT device_id FROM devices WHERE owner_id = ANY($2)", "42P18"),
        ("SELECT FROM devices WHERE owner_id = $1", "gives no column"),
        ("SELECT device_id FROM gadgets WHERE owner_id = $1", "42P01"),
        ("DELETE FROM devices WHERE owner_id = $1 RETURNING device_id", "42601"),
        ("SELECT device_id FROM devices WHERE owner_id = $1) AS a (id) --", "42601"),
    ],
)
async def test_problems_with_grants(sql: Connection, query: str, said: str) -> None:
    """What is wrong with a query for grants is told without running it; it may read and nothing else."""
    problem = await problem_with_grants(sql, "device", query)

    assert (said in problem) if said else (problem == "")
    assert problem == "" or problem.startswith("grants.device.query")
    assert await sql.fetchval("SELECT count(*) FROM devices") == 4


async def test_one_round_trip(url: str, sql: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred rooms of two kinds are asked for by one statement."""
    del sql
    sent: list[str] = []
    fetch = asyncpg.Connection.fetch

    async def counting(self: Connection, query: str, *arguments: object) -> object:
        sent.append(query)
        return await fetch(self, query, *arguments)

    async with serving(rules(url)) as store:
        assert store.grants
        await store.grants.granted("u2", ["device:d9", "team:8"])  # Then the parameters' types are known.
        monkeypatch.setattr(asyncpg.Connection, "fetch", counting)
        monkeypatch.setattr(asyncpg.Connection, "prepare", None)  # Nothing is prepared by hand again.
        rooms = [f"{kind}:{number}" for kind in ("device", "team") for number in range(50)]

        assert await store.grants.granted("u1", [*rooms, "device:d1"]) == {"team:7", "device:d1"}

    assert len(sent) == 1


def test_every_reader_refuses_nonsense() -> None:
    """But for text, no type takes a word."""
    for kind in READERS.keys() - {"text", "varchar", "bpchar", "citext"}:
        assert Query("", "", (kind,)).read(0, "word") is None
