"""The tables of an operator, and the settings that reach them."""

from __future__ import annotations

from dataclasses import replace

from bridge.core.inbox import InboxRules
from bridge.store.connecting import DatabaseRules
from bridge.store.store import StoreRules

OPERATORS_TABLES = """
CREATE TABLE users (id text PRIMARY KEY, active boolean);
INSERT INTO users VALUES ('u1', true), ('u2', true), ('blocked', false), ('undecided', NULL),
    ('o''brien', true);

CREATE TABLE devices (device_id text PRIMARY KEY, owner_id text NOT NULL);
INSERT INTO devices VALUES ('d1', 'u1'), ('d2', 'u1'), ('d9', 'u2'), ('x''y', 'u1');

CREATE TABLE members (company_id bigint, member uuid);
INSERT INTO members VALUES (7, '7b0a1f6e-5a0c-4a53-9b40-1f4f0c1f2a3b');

CREATE TABLE teams (team_id bigint, owner_id text);
INSERT INTO teams VALUES (7, 'u1'), (8, 'u2');
"""
USER_QUERY = "SELECT active FROM users WHERE id = $1"
DEVICE_QUERY = "SELECT device_id FROM devices WHERE owner_id = $1 AND device_id = ANY($2)"
TEAM_QUERY = "SELECT team_id FROM teams WHERE owner_id = $1 AND team_id = ANY($2); -- the teams' table"
INBOX = InboxRules(
    durable=frozenset({"order.completed"}),
    items_per_user_max=100_000,
    age_seconds_max=3_600.0,
    sweep_seconds=60.0,
    dedupe_seconds=600.0,
)


def rules(url: str, **changes: object) -> StoreRules:
    """Return rules that ask for everything."""
    everything = StoreRules(
        database=DatabaseRules(url),
        users_query=USER_QUERY,
        grants_queries={"device": DEVICE_QUERY, "team": TEAM_QUERY},
        inbox=INBOX,
    )
    return replace(everything, **changes)  # type: ignore[arg-type] # names of its fields
