"""What an operator has done on the bus, each errand over a connection of its own.

Nothing of it touches the connections that carry events: an errand may take long, hold many letters, or
meet a broker that does not read from those who publish. Errands are done one after the other, since two
looks at the dead letters would each see a part of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from bridge.amqp.channels import channel_on
from bridge.amqp.dead import NOT_THE_PUBLISHERS, DeadLetter, browse, purge, replay
from bridge.amqp.faults import honest
from bridge.amqp.link import CONNECT_ERRORS, RETRYABLE, Connection, Reader, close, connect
from bridge.amqp.publisher import Publisher
from bridge.amqp.topology import Names
from bridge.core.console import BODY_SHOWN_BYTES_MAX, BusUnavailableError, Letter, Letters
from bridge.core.delivery import Delivery
from bridge.core.errors import cause_of, cut

ERRAND_SECONDS_MAX = 30.0
ERRANDS_WAITING_MAX = 8
LETTERS_LOOKED_AT_MAX = 1_000  # For those that are to be replayed or purged; all are held in memory.
HEADERS_SHOWN_MAX = 50
HEADER_CHARACTERS_MAX = 1_000


class Errands:
    """Does what an operator asks for; an OperatorBus."""

    def __init__(self, url: str, name: str, names: Names, reader: Reader = "bulk") -> None:
        """`url` is an AMQP URI; `name` is shown by the broker's management page; `reader` as in `connect`."""
        self._url = url
        self._name = name
        self._names = names
        self._reader: Reader = reader
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def letters(self, letters_max: int) -> Letters:
        """Return the oldest dead letters; as `OperatorBus.letters`."""
        async with (
            self._errand() as connection,
            browse(connection, self._names, letters_max=letters_max) as found,
        ):
            letters = [_shown(letter) async for letter in found]
        return Letters(letters, found.total)

    async def replay(self, ids: frozenset[str]) -> frozenset[str]:
        """Give dead letters back; as `OperatorBus.replay`. Looks at the oldest LETTERS_LOOKED_AT_MAX."""
        async with self._errand() as connection, channel_on(connection, confirms=True) as channel:
            done = await replay(
                connection,
                self._names,
                Publisher(self._names, channel),
                wanted=lambda letter: letter.id in ids,
                letters_max=LETTERS_LOOKED_AT_MAX,
            )
        return frozenset(letter.id for letter in done)

    async def purge(self, ids: frozenset[str]) -> frozenset[str]:
        """Remove dead letters for good; looks at as many as `replay`."""
        async with self._errand() as connection:
            done = await purge(
                connection,
                self._names,
                wanted=lambda letter: letter.id in ids,
                letters_max=LETTERS_LOOKED_AT_MAX,
            )
        return frozenset(letter.id for letter in done)

    async def publish(self, delivery: Delivery) -> None:
        """Publish to the exchange; as `OperatorBus.publish`."""
        async with self._errand() as connection, channel_on(connection, confirms=True) as channel:
            await Publisher(self._names, channel).publish_event(delivery)

    @asynccontextmanager
    async def _errand(self) -> AsyncIterator[Connection]:
        """Connect for the length of the context, when it is this errand's turn.

        Raises:
            BusUnavailableError: in place of whatever goes wrong with the broker, here or in the context.
        """
        if self._waiting >= ERRANDS_WAITING_MAX:
            raise BusUnavailableError(f"{self._waiting} operators wait for the broker already; try again")
        self._waiting += 1
        try:
            async with asyncio.timeout(ERRAND_SECONDS_MAX), self._turn:
                connection = await self._connect()
                try:
                    with honest():
                        yield connection
                finally:
                    await close(connection)
        except TimeoutError as exc:
            raise BusUnavailableError(
                "RabbitMQ did not answer in time; look again at what has been done"
            ) from exc
        except RETRYABLE as exc:
            raise BusUnavailableError(f"RabbitMQ: {cause_of(exc)}") from exc
        finally:
            self._waiting -= 1

    async def _connect(self) -> Connection:
        try:
            return await connect(self._url, self._name, self._reader)
        except CONNECT_ERRORS as exc:
            raise BusUnavailableError(
                f"RabbitMQ does not answer ({cause_of(exc)}); try: python -m bridge check"
            ) from exc


def _shown(letter: DeadLetter) -> Letter:
    theirs = {
        key: _text(value)
        for key, value in letter.original.headers.items()
        if not key.startswith(NOT_THE_PUBLISHERS)
    }
    return Letter(
        id=letter.id,
        domain=letter.domain,
        reason=letter.reason,
        field=letter.field or None,
        message=letter.message,
        routing_key=letter.routing_key,
        message_id=letter.message_id,
        at=letter.dead_at,
        body=letter.body[:BODY_SHOWN_BYTES_MAX],
        size=len(letter.body),
        headers=dict(list(theirs.items())[:HEADERS_SHOWN_MAX]),
    )


def _text(value: Any) -> str:  # noqa: ANN401 - whatever AMQP can carry
    match value:
        case bytes():
            text = value.decode(errors="replace")
        case datetime():
            text = value.isoformat()
        case _:
            text = str(value)
    return cut(text, HEADER_CHARACTERS_MAX)
