"""What the settings say of the database, as the store wants it."""

from __future__ import annotations

from bridge.core.catalogue import Catalogue
from bridge.core.inbox import InboxRules
from bridge.settings import Settings
from bridge.store.connecting import DatabaseRules
from bridge.store.store import StoreRules


def database_rules_of(settings: Settings) -> DatabaseRules | None:
    """Return where the database is, None if there is none."""
    database = settings.database
    if database.url is None:
        return None
    return DatabaseRules(
        url=database.url.get_secret_value(),
        schema=database.own_schema,
        connections_max=database.connections_max,
        connect_seconds_max=database.connect_seconds_max,
        query_seconds_max=database.query_seconds_max,
    )


def store_rules_of(settings: Settings, catalogue: Catalogue) -> StoreRules | None:
    """Return what the database is asked for, None if for nothing: then nobody connects to it."""
    database = database_rules_of(settings)
    if database is None or not (settings.users.query or settings.grants or settings.inbox.enabled):
        return None
    return StoreRules(
        database=database,
        users_query=settings.users.query,
        grants_queries={kind: grant.query for kind, grant in settings.grants.items()},
        answer_seconds_max=settings.database.answer_seconds_max,
        answers_max=settings.database.answers_max,
        forget_channel=settings.database.forget_channel,
        inbox=_inbox_rules_of(settings, catalogue),
    )


def _inbox_rules_of(settings: Settings, catalogue: Catalogue) -> InboxRules | None:
    inbox = settings.inbox
    if not inbox.enabled:
        return None
    return InboxRules(
        durable=catalogue.durable_names,
        items_per_user_max=inbox.items_per_user_max,
        age_seconds_max=inbox.age_seconds_max,
        sweep_seconds=inbox.sweep_seconds,
        dedupe_seconds=settings.ingest.dedupe_seconds,
    )
