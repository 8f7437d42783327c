"""The settings of the database, and how its URL becomes a connection."""

from __future__ import annotations

import pytest

from bridge.app import catalogue_of
from bridge.settings import SettingsError, load
from bridge.storage import store_rules_of
from bridge.store.connecting import DatabaseRules, arguments_of, reason
from tests.commands import SECRET

NEEDED = {"RABBITMQ_URL": "amqp://localhost", "JWT_SECRET": SECRET}
URL = "postgresql://bridge:secret@db.internal/app"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/app",
        "postgres://bridge:p%2Fw%40rd@db.internal:5432/app?sslmode=require",
        "postgresql://one:5432,two:5433/app",
        "postgresql://[::1]:5432/app",
        "postgresql:///app?host=/run/postgresql",
    ],
)
def test_urls(url: str) -> None:
    """What libpq understands is taken."""
    settings = load({**NEEDED, "DATABASE_URL": url})

    assert settings.database.url
    assert settings.database.url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "mysql://localhost/app",
        "postgresql+asyncpg://localhost/app",
        "localhost/app",
        "host=localhost dbname=app",
        "postgresql://bridge:se/cret@db.internal/app",
        "postgresql://bridge:se?cret@db.internal/app",
        "postgresql://bridge:se#cret@db.internal/app",
        "postgresql://[::1/app",
        "postgresql://local\nhost/app",
    ],
)
def test_bad_urls(url: str) -> None:
    """What would not be understood, or not as it is meant, is refused without being shown."""
    with pytest.raises(SettingsError) as caught:
        load({**NEEDED, "DATABASE_URL": url})

    (problem,) = caught.value.problems
    assert "BRIDGE_DATABASE__URL or DATABASE_URL" in problem
    assert "cret" not in problem


@pytest.mark.parametrize(
    ("kind", "said"),
    [("USER", "not for a query"), ("ROLE", "not for a query"), ("ALL", "not a kind"), ("9", "not a kind")],
)
def test_kinds(kind: str, said: str) -> None:
    """A query decides neither about users' own rooms nor about roles, nor about what is no kind."""
    with pytest.raises(SettingsError) as caught:
        load({**NEEDED, "DATABASE_URL": URL, f"BRIDGE_GRANTS__{kind}__QUERY": "SELECT 1"})

    assert said in str(caught.value)


def test_nothing_asked() -> None:
    """A database that nobody asks for anything is not connected to."""
    settings = load({**NEEDED, "DATABASE_URL": URL})

    assert store_rules_of(settings, catalogue_of(settings)) is None


def test_rules() -> None:
    """The store's rules are those of the settings."""
    settings = load(
        {
            **NEEDED,
            "DATABASE_URL": URL,
            "BRIDGE_USERS__QUERY": "SELECT 1",
            "BRIDGE_GRANTS__DEVICE__QUERY": "SELECT 2",
            "BRIDGE_INBOX__ENABLED": "true",
            "BRIDGE_INGEST__DEDUPE_SECONDS": "90",
            "BRIDGE_DATABASE__ANSWERS_MAX": "7",
            "BRIDGE_DATABASE__OWN_SCHEMA": "other",
        }
    )

    rules = store_rules_of(settings, catalogue_of(settings))

    assert rules
    assert rules.inbox
    assert rules.users_query == "SELECT 1"
    assert rules.grants_queries == {"device": "SELECT 2"}
    assert rules.answers_max == 7
    assert rules.database.schema == "other"
    assert rules.inbox.dedupe_seconds == 90.0
    assert {"order.completed", "wallet.deposit_completed", "post.purchased"} <= rules.inbox.durable
    assert "quota.updated" not in rules.inbox.durable


def test_parameters_of_others() -> None:
    """What other programs put into the URL is left out; their schema is where tables are looked for."""
    url = f"{URL}?schema=shop&connection_limit=5&pgbouncer=true&sslmode=disable&connect_timeout=3"

    arguments = arguments_of(DatabaseRules(url), seconds_max=1.5)

    assert arguments["dsn"] == f"{URL}?sslmode=disable"
    assert arguments["server_settings"]["search_path"] == "shop"
    assert arguments["server_settings"]["statement_timeout"] == "1500"


def test_reasons_keep_the_url() -> None:
    """What is said of a URL that cannot be understood contains nothing of it."""
    assert "secret" not in reason(ValueError("invalid port in secret"))
    assert "secret" not in reason(ExceptionGroup("", [ValueError("secret")]))
