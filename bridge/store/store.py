"""All that a node has of its database: users, grants and inboxes, kept running by one owner."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.core.answers import Answers
from bridge.core.entry import Entry
from bridge.core.feed import Feed
from bridge.core.health import Health
from bridge.core.inbox import InboxRules
from bridge.core.stats import Stats
from bridge.store.connecting import Connection, DatabaseRules
from bridge.store.database import Database
from bridge.store.grants import PostgresGrants, problem_with_grants
from bridge.store.inbox import PostgresInbox
from bridge.store.projector import Projector
from bridge.store.users import PostgresUsers, problem_with_users


@dataclass(frozen=True, slots=True)
class StoreRules:
    """What the database is asked for, and how long answers are good.

    `users_query` and `grants_queries`, by kind of room, are the operator's. On `forget_channel` the
    operator's programs say which user's answers are out of date. Without `inbox` there is none.
    """

    database: DatabaseRules
    users_query: str | None = None
    grants_queries: Mapping[str, str] = field(default_factory=dict)
    answer_seconds_max: float = 10.0
    answers_max: int = 100_000
    forget_channel: str = "bridge_forget"
    inbox: InboxRules | None = None

    def wants(self, entry: Entry) -> bool:
        """Tell whether an entry of the log belongs in an inbox."""
        return self.inbox is not None and self.inbox.wants(entry)


class Store:
    """Builds what the rules ask for. `run` it; then `users`, `grants` and `inbox` answer."""

    def __init__(self, rules: StoreRules, stats: Stats) -> None:
        """Connect to nothing yet."""
        self._rules = rules
        self._database = Database(rules.database, stats=stats, own_tables=rules.inbox is not None)
        self._database.listen(rules.forget_channel, self.forget)
        self._database.on_attached(self._attached)

        def answers() -> Answers:
            return Answers(seconds_max=rules.answer_seconds_max, answers_max=rules.answers_max)

        self.users: PostgresUsers | None = None
        self.grants: PostgresGrants | None = None
        self.inbox: PostgresInbox | None = None
        self._projector: Projector | None = None
        if rules.users_query is not None:
            self.users = PostgresUsers(self._database, rules.users_query, answers(), stats)
        if rules.grants_queries:
            self.grants = PostgresGrants(self._database, rules.grants_queries, answers(), stats)
        if rules.inbox is not None:
            self.inbox = PostgresInbox(self._database)
            self._projector = Projector(rules.database, rules.inbox, stats)

    def health(self) -> list[Health]:
        """Tell how each part is. Without any of them the node is degraded, but of use."""
        parts = [self._database.health()]
        parts += [
            Health(name, not trouble, trouble or "answered", vital=False)
            for name, trouble in self._troubles().items()
        ]
        if self._projector is not None:
            parts.append(self._projector.health())
        return parts

    def forget(self, user_id: str) -> None:
        """Ask the database anew about this user from now on."""
        for part in (self.users, self.grants):
            if part is not None:
                part.forget(user_id)

    async def run(self, feed: Feed | None = None) -> None:
        """Keep connected, and inboxes filled from the feed if there is one, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._database.run())
                if self._projector is not None and feed is not None:
                    tasks.create_task(self._projector.run(feed))
        finally:
            for part in (self.users, self.grants):
                if part is not None:
                    await part.close()

    def _troubles(self) -> dict[str, str]:
        troubles = {}
        if self.users is not None:
            troubles["users"] = self.users.trouble
        if self.grants is not None:
            troubles["grants"] = self.grants.trouble
        return troubles

    async def _attached(self, connection: Connection, _silent_seconds: float | None) -> None:
        """Begin anew: what was told meanwhile went unheard, and the operator's tables may have changed."""
        if self.users is not None:
            self.users.forget_all()
            self.users.trouble = await problem_with_users(connection, self._rules.users_query or "")
        if self.grants is not None:
            self.grants.forget_all()
            problems = [
                await problem_with_grants(connection, kind, sql)
                for kind, sql in self._rules.grants_queries.items()
            ]
            self.grants.trouble = "; ".join(filter(None, problems))
