"""Whether a queue is still the one that a consumer was attached to.

When a quorum queue is deleted and declared again before the broker has told its consumers, RabbitMQ 3.10 to
3.13 attaches them to the new queue by itself, forgets at once that it did, and drops what that queue sends
them: they are counted, take messages up to their prefetch, and hear nothing (rabbit_channel.erl,
`handle_consuming_queue_down_or_eol`; 4.0 cancels them instead). No name or count tells the two queues
apart. But a binding goes with its queue, and an exchange that is declared auto-delete goes with its last
binding. So each queue is bound to an exchange of its own, which nobody publishes to: its witness.

    witness stands                    the queue is the one that was there when the witness was set up
    witness was there, and is gone    the queue is another one: attach anew

Whoever attaches while the witness stands is vouched for. After it has gone it is not set up again for
SET_UP_SECONDS, so that every node gets to see that it was gone; who has attached meanwhile does so once
more when it stands, since the queue may have been made again a second time.

Sources: https://www.rabbitmq.com/docs/exchanges (auto-delete), /docs/queues.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

import structlog
from aio_pika import ExchangeType
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity

from bridge.amqp.channels import channel_on
from bridge.amqp.link import Connection

log = structlog.get_logger()

SET_UP_SECONDS = 10.0  # Five looks of every other node.


class Finding(Enum):
    """What is to be done about a consumer."""

    NOTHING = "nothing"
    ATTACH_ANEW = "attach anew"
    SET_UP = "set up"


class Witness:
    """One queue's witness, and whether our consumer is vouched for. Times are monotonic, in seconds."""

    def __init__(self, queue_name: str, exchange_name: str) -> None:
        """Nothing is known yet."""
        self.queue_name = queue_name
        self.exchange_name = exchange_name
        self.attachments = 0  # So often was the consumer attached: what was found before is stale then.
        self._vouched = False  # Whether the witness stood before the consumer was attached.
        self._gone_since: float | None = None  # None while it stands, as far as is known.
        self._told = ""  # The refusal that was logged last.

    async def attaching(self, connection: Connection) -> None:
        """Take note of a consumer that is to be attached next. Raises AMQPError: the connection broke."""
        async with channel_on(connection, confirms=False) as channel:
            queue = await channel.declare_queue(self.queue_name, passive=True)
            alone = not queue.declaration_result.consumer_count
        stands = (await look(connection, (self,))).get(self)
        if stands is False and alone and not self.attachments:
            # Nobody consumes the queue, and this process cannot have missed the end of a former one.
            stands = await self.set_up(connection)
        self.attachments += 1
        self._vouched = stands is True

    def judge(self, *, stands: bool, now: float) -> Finding:
        """Say what is to be done about the attached consumer, now that the witness was looked for."""
        if stands:
            self._gone_since = None
            return Finding.NOTHING if self._vouched else Finding.ATTACH_ANEW
        if self._gone_since is None:
            self._gone_since = now
        if self._vouched:
            self._vouched = False
            return Finding.ATTACH_ANEW
        return Finding.SET_UP if now - self._gone_since >= SET_UP_SECONDS else Finding.NOTHING

    async def set_up(self, connection: Connection) -> bool:
        """Make the witness stand; tell whether it does. Raises AMQPError: the connection broke."""
        try:
            async with channel_on(connection, confirms=False) as channel:
                await channel.declare_exchange(
                    self.exchange_name, ExchangeType.FANOUT, durable=True, auto_delete=True
                )
        except ChannelClosed as exc:
            self.refused(exc)
            return False
        return (await look(connection, (self,))).get(self) is True

    def refused(self, exc: ChannelClosed) -> None:
        """Log that the broker does not allow it, once. Nothing hangs on it but what this file is for."""
        if self._told != str(exc):
            self._told = str(exc)
            log.warning("amqp.witness_refused", queue=self.queue_name, reason=self._told)


async def look(connection: Connection, witnesses: Iterable[Witness]) -> Mapping[Witness, bool]:
    """Tell which witnesses stand; one that cannot be told about is not in the answer. Raises AMQPError.

    What is asked for is the binding: so a witness whose maker was interrupted gets it, too.
    """
    left, found = list(witnesses), dict[Witness, bool]()
    while left:
        async with channel_on(connection, confirms=False) as channel:
            try:
                while left:
                    queue = await channel.get_queue(left[-1].queue_name, ensure=False)
                    await queue.bind(left[-1].exchange_name)
                    found[left.pop()] = True
            except ChannelNotFoundEntity:  # Which closes the channel.
                found[left.pop()] = False
            except ChannelClosed as exc:
                left.pop().refused(exc)
    return found
