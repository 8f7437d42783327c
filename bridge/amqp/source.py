"""One queue's deliveries in batches, and confirmed publishing over the channel they come from.

This one goes through aio-pika in all it does; `bulk.BulkSource` reads and writes the frames that come
by the thousand by itself. aio-pika's own ways of consuming do not fit either: callbacks run as tasks
that may interleave, its iterator has no batches, and `message.process()` rejects a message when it is
cancelled. Here a callback only collects; acks are explicit and for many deliveries at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as AbstractUnderlayChannel

from bridge.amqp.faults import SourceLostError
from bridge.amqp.properties import ANONYMOUS
from bridge.amqp.publisher import PASSED_ON, publish_confirmed
from bridge.cancellation import obey_cancellation
from bridge.core.delivery import Delivery

_OTHERS = tuple((name, "message_type" if name == "type" else name) for name in PASSED_ON)  # And aiormq's.


class StockSource:
    """Consumes one queue over one channel. Owned by one task; start, read and ack, stop."""

    def __init__(
        self,
        channel: AbstractChannel,
        queue_name: str,
        *,
        prefetch: int,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        """`prefetch` bounds how many deliveries can wait here unacked; `arguments` are basic.consume's."""
        self._channel = channel
        self._queue_name = queue_name
        self._prefetch = prefetch
        self._arguments = arguments
        self._waiting: list[Delivery] = []  # At most `prefetch`.
        self._in_hand: list[Delivery] = []  # Read and not acked yet.
        self._changed = asyncio.Event()  # Set when `read` has something to look at.
        self._lost = ""  # Set once, to the reason.
        self._stopped = False

    @property
    def alive(self) -> bool:
        """Whether the consumer is still known to be there."""
        return not self._lost

    @property
    def oldest_unacked_at(self) -> float | None:
        """When the oldest delivery that is not acked came in; seconds since the Unix epoch."""
        held = self._in_hand or self._waiting
        return held[0].received_at if held else None

    async def start(self) -> None:
        """Attach to the queue. Raises AMQPError."""
        await self._channel.set_qos(prefetch_count=self._prefetch)
        underlay = await self._channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _: self.lose("cancelled by the broker"))
        underlay.closing.add_done_callback(self._closed)
        self._prepare(underlay)
        await underlay.basic_consume(self._queue_name, self._collect, arguments=self._arguments)
        obey_cancellation()  # Lost, perhaps, with one of the answers so far; what follows waits without end.

    async def read(self) -> Sequence[Delivery]:
        """Return the waiting deliveries, at least one; none at all once stopped.

        Raises:
            SourceLostError: the consumer is gone.
        """
        while not (self._waiting or self._lost or self._stopped):
            self._changed.clear()
            await self._changed.wait()
        if self._lost:
            # What waits will be delivered again; working on it now would only double the effort.
            raise SourceLostError(self._lost)
        if self._stopped:
            return ()
        batch, self._waiting = self._waiting, []
        self._in_hand = [*self._in_hand, *batch] if self._in_hand else batch
        return batch

    async def ack(self, up_to: Delivery) -> None:
        """Settle this and every earlier unsettled delivery. Raises AMQPError."""
        underlay = await self._channel.get_underlay_channel()
        await underlay.basic_ack(up_to.tag, multiple=True, wait=False)
        self._settled(up_to)

    def _settled(self, up_to: Delivery) -> None:
        """Note that this and every earlier delivery is settled."""
        last = bool(self._in_hand) and self._in_hand[-1] is up_to
        self._in_hand = [] if last else [one for one in self._in_hand if one.tag > up_to.tag]

    async def requeue(self, delivery: Delivery) -> None:
        """Give one delivery back. Raises AMQPError."""
        underlay = await self._channel.get_underlay_channel()
        await underlay.basic_nack(delivery.tag, requeue=True, wait=False)
        self._in_hand = [other for other in self._in_hand if other is not delivery]

    def stop(self) -> None:
        """Have `read` return nothing more; what was read can still be acked.

        The consumer stays until its channel is closed: only then does the broker give the rest back,
        in order, and make another node's consumer the active one.
        """
        self._stopped = True
        self._changed.set()

    def lose(self, reason: str) -> None:
        """Make `read` raise: nothing more will come."""
        self._lost = self._lost or reason
        self._changed.set()

    async def publish(
        self, exchange: str, routing_key: str, body: bytes, properties: Mapping[str, Any]
    ) -> None:
        """Publish over the channel, which has confirms; as `publish_confirmed`."""
        await publish_confirmed(self._channel, exchange, routing_key, body, properties)

    def _prepare(self, underlay: AbstractUnderlayChannel) -> None:
        """Get ready: deliveries come as soon as the broker knows of the consumer."""

    def _closed(self, closing: asyncio.Future[Any]) -> None:
        said = "" if closing.cancelled() else str(closing.exception() or "")
        self.lose(f"channel closed: {said}" if said else "channel closed")

    async def _collect(self, message: Any) -> None:  # noqa: ANN401 - aiormq's DeliveredMessage
        properties = message.header.properties
        headers = properties.headers or {}
        frame = message.delivery
        self._waiting.append(
            Delivery(
                routing_key=frame.routing_key or "",
                body=message.body,
                received_at=time.time(),
                tag=frame.delivery_tag or 0,
                redelivered=bool(frame.redelivered),
                message_id=None if ANONYMOUS in headers else properties.message_id,
                content_type=properties.content_type,
                content_encoding=properties.content_encoding,
                timestamp=properties.timestamp,
                headers=headers,
                others={
                    ours: value for ours, name in _OTHERS if (value := getattr(properties, name)) is not None
                },
            )
        )
        self._changed.set()
