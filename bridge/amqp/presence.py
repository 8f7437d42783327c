"""Nodes of one cluster know of each other, and ask each other, over a fanout exchange. Never vital.

    bridge.nodes (fanout) ──► bridge.nodes.<random id>, one for each attachment of each node
    default exchange ──────► the same, for an answer to who asked

The queue is exclusive: nobody else reads it, and the broker deletes it with the connection, however
that ends. Its name is drawn anew each time, so that a node which comes back does not meet the queue
of a connection that the broker has not given up yet; and it begins with the prefix, so that a user who
may declare everything else of ours may declare it, too.

On a connection of its own: it publishes all the time, and a broker that is short of memory or disk
stops reading from connections that do. The other two are not to wait for that.

Sources: https://www.rabbitmq.com/docs/queues (exclusive queues), /docs/ttl, /docs/maxlength, /docs/alarms.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

import structlog
from aio_pika import DeliveryMode, ExchangeType, Message as AmqpMessage
from aio_pika.abc import AbstractExchange

from bridge.amqp.bulk import source_on
from bridge.amqp.channels import channel_on
from bridge.amqp.faults import SourceLostError, honest
from bridge.amqp.link import RETRYABLE, Channel, Connection, first_reason, is_open
from bridge.amqp.source import StockSource
from bridge.amqp.topology import Names
from bridge.cancellation import obey_cancellation
from bridge.core.backoff import Backoff
from bridge.core.health import Health
from bridge.core.limits import TokenBucket
from bridge.core.presence import (
    STATUSES_MISSED_MAX,
    Answer,
    Asked,
    Farewell,
    Heard,
    MalformedError,
    Message,
    NodeAnswer,
    Nodes,
    NodeSeen,
    NodeStatus,
    Question,
    SocketStatus,
    Status,
    answer_to,
    decode,
    encode,
    status_seconds,
)
from bridge.core.rooms import parse_room, user_room
from bridge.core.stats import Stats
from bridge.core.trace import where

log = structlog.get_logger()

ANSWER_SECONDS_MAX = 1.0
LEAVE_SECONDS_MAX = 1.0
ATTACH_SECONDS_MAX = 10.0
QUESTIONS_MAX = 8  # Of this node, on their way at once.
ANSWERS_PER_SECOND_MAX = 20
CHANGES_TOLD_PER_SECOND, CHANGES_TOLD_BURST = 1.0, 100  # So that no flood of made-up nodes fills the log.
INBOX_MESSAGES_MAX = 2_000  # What waits on the broker for a node that does not read; the oldest go.
INBOX_BYTES_MAX = 16_777_216
PREFETCH = 50  # With MESSAGE_BYTES_MAX this bounds what is in hand.
STATUS_LIFE_SECONDS = 4.0  # One that has waited so long says nothing about now.
UNHEARD_MAX = 3  # Own statuses that may be missed: then the queue is deaf, unbound or gone.
BACKOFF_SECONDS_FIRST = 0.5
BACKOFF_SECONDS_MAX = 60.0  # Who has not the permission may get it; others wait for nothing here.
STEADY_SECONDS = 10.0
REMEDY = (
    "see Permissions in docs/operations.md; until then the console shows this node only, the rest goes on"
)


class Presence:
    """This node's part in the cluster. `run` is the only work of a Link of its own."""

    def __init__(
        self,
        names: Names,
        *,
        status: Callable[[], NodeStatus],
        sockets_of: Callable[[str], Sequence[SocketStatus]],
        stats: Stats,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Attach to nothing yet.

        `status` tells how this node is now, always with the same `id`: `uuid4().hex`, drawn at the start.
        `sockets_of` tells the sockets that a user has here. Neither may block, and both are called on the
        event loop, `sockets_of` for other nodes too.
        """
        self._names = names
        self._status = status
        self._sockets_of = sockets_of
        self._stats = stats
        self._clock = clock
        self._nodes = Nodes()
        self._asked: dict[str, tuple[Asked, asyncio.Event]] = {}  # By question; at most QUESTIONS_MAX.
        self._answers = TokenBucket(rate_per_second=ANSWERS_PER_SECOND_MAX, burst=ANSWERS_PER_SECOND_MAX)
        self._changes = TokenBucket(rate_per_second=CHANGES_TOLD_PER_SECOND, burst=CHANGES_TOLD_BURST)
        self._id = ""  # This node's; set once, before the first message.
        self._post: _Post | None = None  # Set while this node tells, and hears itself.
        self._unheard = 0  # Own statuses that were published and have not come back.
        self._unheard_at = 0.0  # From then on silence is trouble, by the clock.
        self._leaving = False  # Set once.
        self._full = False  # Whether the table was at the last newcomer.
        self._trouble = "not attached yet"
        self._told = ""  # The trouble that was logged last; empty when there is none.

    def health(self) -> Health:
        """Tell whether this node hears the cluster. Not vital: without it the node is degraded."""
        if self._post is None:
            return Health("nodes", ok=False, detail=self._trouble, vital=False)
        ok = self._clock() < self._unheard_at
        detail = f"{len(self._nodes) + 1} known" if ok else "the broker does not pass on what is told"
        return Health("nodes", ok, detail, vital=False)

    def nodes(self) -> list[NodeSeen]:
        """Return every node that is known, this one first, the others by name and id."""
        return [NodeSeen(self._status(), 0.0, own=True), *self._nodes.seen(self._clock())]

    async def ask_sockets(self, user_id: str) -> list[NodeAnswer]:
        """Ask every node for the sockets of a user; return what each said, this one first.

        Takes ANSWER_SECONDS_MAX at most. A known node that does not answer, or cannot be asked, is there
        with `answered=False`; one that joined a moment ago may be missing.

        Raises:
            ValueError: no user can have this id.
        """
        if parse_room(user_room(user_id)) is None:
            raise ValueError(f"no user can have the id {user_id!r}")
        own = self._status()
        answer = NodeAnswer(own.id, own.name, answered=True, sockets=self._sockets_of(user_id), own=True)
        asked = Asked({seen.status.id: seen.status.name for seen in self._nodes.seen(self._clock())})
        if asked.names and self._post is not None and len(self._asked) < QUESTIONS_MAX:
            question = Question(
                question_id=uuid4().hex, node_id=own.id, inbox=self._post.inbox, user_id=user_id
            )
            await self._ask(question, asked, self._post)
        return [answer, *asked.answers()]

    async def run(self, connection: Connection) -> None:
        """Tell, listen and answer over this connection until cancelled; attach again after every trouble."""
        self._id = self._status().id
        backoff = Backoff(seconds_first=BACKOFF_SECONDS_FIRST, seconds_max=BACKOFF_SECONDS_MAX)
        while is_open(connection):  # Else the link makes a new one and calls again.
            try:
                await asyncio.create_task(self._attend(connection, backoff))
            except* RETRYABLE as group:
                self._trouble = first_reason(group)
            except* Exception as group:  # noqa: BLE001 - whatever it is, the node goes on without
                self._trouble = "a fault of ours, see the log"
                for exc in group.exceptions:
                    log.error("presence.failed", error=type(exc).__name__, where=where(exc))  # noqa: TRY400 - it may quote
            obey_cancellation()
            if is_open(connection):
                self._tell_trouble()
                await asyncio.sleep(backoff.next())

    async def leave(self) -> None:
        """Say goodbye, if there is anybody to say it to, and tell nothing more.

        Takes LEAVE_SECONDS_MAX at most. Call it when the node has drained, before `run` is cancelled.
        """
        self._leaving = True
        if self._post is None:
            return
        with contextlib.suppress(*RETRYABLE):
            async with asyncio.timeout(LEAVE_SECONDS_MAX):
                await self._post.tell(Farewell(node_id=self._id), seconds_max=STATUS_LIFE_SECONDS)

    def _tell_trouble(self) -> None:
        """Log the trouble, once."""
        if self._trouble != self._told:
            self._told = self._trouble
            log.warning("presence.off", reason=self._trouble, remedy=REMEDY)

    async def _ask(self, question: Question, asked: Asked, post: _Post) -> None:
        """Ask, and wait until all have answered, or for so long as that may take."""
        complete = asyncio.Event()
        self._asked[question.question_id] = asked, complete
        try:
            with contextlib.suppress(*RETRYABLE):
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    await post.tell(question, seconds_max=ANSWER_SECONDS_MAX)
                    await complete.wait()
        finally:
            del self._asked[question.question_id]

    async def _attend(self, connection: Connection, backoff: Backoff) -> None:
        inbox = uuid4().hex
        async with (
            channel_on(connection, confirms=False) as channel,
            channel_on(connection, confirms=True) as publishing,
        ):
            async with asyncio.timeout(ATTACH_SECONDS_MAX):
                await self._declare(channel, inbox)
                source = source_on(connection, channel, self._queue(inbox), prefetch=PREFETCH)
                await source.start()
                exchange = await publishing.get_exchange(self._names.nodes, ensure=False)
            post = _Post(inbox, exchange, publishing.default_exchange)
            self._unheard = 0
            steady = asyncio.get_running_loop().call_later(STEADY_SECONDS, backoff.reset)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._tell(post))
                    tasks.create_task(self._listen(source, post))
            finally:
                self._post = None
                steady.cancel()

    async def _declare(self, channel: Channel, inbox: str) -> None:
        exchange = await channel.declare_exchange(self._names.nodes, ExchangeType.FANOUT, durable=True)
        queue = await channel.declare_queue(
            self._queue(inbox),
            exclusive=True,
            auto_delete=True,
            arguments={
                "x-queue-type": "classic",  # Whatever the virtual host's default is: no other is exclusive.
                "x-max-length": INBOX_MESSAGES_MAX,
                "x-max-length-bytes": INBOX_BYTES_MAX,
            },
        )
        await queue.bind(exchange)

    def _queue(self, inbox: str) -> str:
        return f"{self._names.nodes}.{inbox}"

    async def _tell(self, post: _Post) -> None:
        """Tell how this node is, again and again."""
        while True:
            every_seconds = status_seconds(len(self._nodes) + 1)
            if not self._leaving:
                status = Status(node=self._status(), every_seconds=every_seconds)
                # For as long as it takes: under an alarm the broker takes nothing, and is no worse for it.
                await post.tell(status, seconds_max=STATUS_LIFE_SECONDS)
                obey_cancellation()
                self._unheard += 1
            if self._unheard > UNHEARD_MAX:
                raise SourceLostError(f"this node does not hear itself over {self._names.nodes}")
            await asyncio.sleep(every_seconds)
            for gone in self._nodes.forget_silent(self._clock()):
                if self._tells():
                    log.warning("presence.node_silent", node=gone.name, node_id=gone.id)

    async def _listen(self, source: StockSource, post: _Post) -> None:
        while batch := await source.read():
            for delivery in batch:
                try:
                    await self._take(decode(delivery.body), post)
                except MalformedError:
                    self._stats.node_messages_ignored["malformed"] += 1
            await source.ack(batch[-1])

    async def _take(self, message: Message, post: _Post) -> None:
        match message:
            case Status(node=node) if node.id == self._id:
                self._heard_own(message, post)
            case Status():
                self._hear(message)
            case Farewell(node_id=node_id):
                gone = self._nodes.forget(node_id)
                if gone is not None and self._tells():
                    log.info("presence.node_left", node=gone.name, node_id=gone.id)
            case Question() if message.node_id != self._id:
                await self._answer(message, post)
            case Answer():
                asked, complete = self._asked.get(message.question_id, (None, None))
                if asked is not None and complete is not None and asked.take(message):
                    complete.set()

    def _heard_own(self, status: Status, post: _Post) -> None:
        """Note that what is told is heard: only now this node is there."""
        self._unheard = 0
        self._unheard_at = self._clock() + STATUSES_MISSED_MAX * status.every_seconds
        if self._post is not post:
            self._post = post
            self._told = ""
            log.info("presence.on", exchange=self._names.nodes)

    def _hear(self, status: Status) -> None:
        heard = self._nodes.hear(status, self._clock())
        if heard is Heard.NEW and self._tells():
            self._full = False
            log.info("presence.node_joined", node=status.node.name, node_id=status.node.id)
        elif heard is Heard.NO_ROOM:
            self._stats.node_messages_ignored["full"] += 1
            if not self._full:
                self._full = True
                log.warning("presence.nodes_full", nodes=len(self._nodes))

    def _tells(self) -> bool:
        """Tell whether one more change of the table may be logged."""
        return not self._changes.take(self._clock())

    async def _answer(self, question: Question, post: _Post) -> None:
        if self._answers.take(self._clock()):
            self._stats.node_messages_ignored["busy"] += 1
            return
        answer = answer_to(question, self._status(), self._sockets_of(question.user_id))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await post.answer(self._queue(question.inbox), answer)


class _Post:
    """Publishes to the nodes, and knows where answers to this one go."""

    def __init__(self, inbox: str, exchange: AbstractExchange, default_exchange: AbstractExchange) -> None:
        """Both exchanges are of one channel with confirms, so that a refusal comes to light."""
        self.inbox = inbox
        self._exchange = exchange
        self._default_exchange = default_exchange

    async def tell(self, message: Message, *, seconds_max: float) -> None:
        """Publish to all nodes what is worth reading for so long."""
        with honest():
            await self._exchange.publish(_amqp(message, seconds_max), "", mandatory=False)

    async def answer(self, queue_name: str, answer: Answer) -> None:
        """Publish to one node's queue; when that is gone, so is who asked."""
        message = _amqp(answer, ANSWER_SECONDS_MAX)
        with honest():
            await self._default_exchange.publish(message, queue_name, mandatory=False)


def _amqp(message: Message, seconds_max: float) -> AmqpMessage:
    return AmqpMessage(
        encode(message),
        content_type="application/json",
        delivery_mode=DeliveryMode.NOT_PERSISTENT,
        expiration=seconds_max,
    )
