"""From publish to socket: how long an event takes through RabbitMQ and the bridge to its user.

This process publishes, at a steady rate, events addressed to one user each, and holds the sockets
of all users; so one monotonic clock tells both times. The bridge is a process of its own with all
of its parts, the broker is a real one. In turns with it, the same events go at the same rate
through a quorum queue to a consumer in this process: what the broker and the client take by
themselves. A time counts from just before the publish; nobody waits for an answer before the next.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage

from benchmarks.broker import remove
from benchmarks.children import Child
from benchmarks.figures import Bar, Figure, Limit, Spread, percentile, ratios
from benchmarks.load import READ_BYTES, Client, open_clients
from benchmarks.subject import START_SECONDS_MAX, Options, plan, settings, start_bridge
from benchmarks.wire import MessageReader
from bridge.amqp.topology import Topology
from bridge.app import catalogue_of, topology_of
from bridge.settings import Settings
from consumers.wallet import DepositCompleted
from devel.rabbitmq import find_or_start

ROUTING_KEY = "wallet.deposit_completed"
USERS = 200
EVENTS_PER_SECOND = 200
ROUND_SECONDS, ROUND_SECONDS_QUICK = 3.5, 1.0
ROUNDS = 3
ARRIVE_SECONDS_MAX = 10.0
WARM_UP_EVENTS = 400
P99_MILLISECONDS_MAX = 10.0


@dataclass(slots=True)
class Journeys:
    """Events on their way, and how long those took that have arrived."""

    left_at: dict[str, float] = field(default_factory=dict)  # By event id; gone on arrival.
    milliseconds: list[float] = field(default_factory=list)

    def leave(self, event_id: str) -> None:
        """Note that an event leaves now."""
        self.left_at[event_id] = time.monotonic()

    def arrive(self, event_id: str, at: float) -> None:
        """Note the first arrival of an event; ids of others are ignored."""
        left_at = self.left_at.pop(event_id, None)
        if left_at is not None:
            self.milliseconds.append((at - left_at) * 1e3)

    async def all_arrived(self) -> None:
        """Wait until nothing is on its way. Raises TimeoutError."""
        async with asyncio.timeout(ARRIVE_SECONDS_MAX):
            while self.left_at:  # noqa: ASYNC110 - coarse is good enough, and costs the readers nothing
                await asyncio.sleep(0.05)


@dataclass(slots=True)
class Route:
    """One of the two ways: where to publish, and every round's times, sorted."""

    exchange: AbstractExchange
    routing_key: str
    journeys: Journeys
    rounds: list[list[float]] = field(default_factory=list)

    async def publish(self, events: int) -> list[float]:
        """Publish at the steady rate; return the times of all once they have arrived."""
        self.journeys.milliseconds = []
        began = time.monotonic()
        for number in range(events):
            await asyncio.sleep(max(0.0, began + number / EVENTS_PER_SECOND - time.monotonic()))
            event_id = secrets.token_hex(8)
            body = _body(event_id, f"load-{random.randrange(USERS)}")  # noqa: S311 - any user will do
            self.journeys.leave(event_id)
            await self.exchange.publish(aio_pika.Message(body, message_id=event_id), self.routing_key)
        await self.journeys.all_arrived()
        return sorted(self.journeys.milliseconds)


def _body(event_id: str, user_id: str) -> bytes:
    fields = {
        "userId": user_id,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "transactionId": event_id,  # One of its own: a deposit is announced once.
    }
    return json.dumps(DepositCompleted.EXAMPLE | fields).encode()


def run(options: Options, *, event_log: str = "memory") -> list[Figure]:
    """Measure latency with either log. Raises ChildError, or DevelError without a broker."""
    prefix = f"bench-{secrets.token_hex(3)}"
    with find_or_start(options.scratch / "rabbitmq") as broker:
        url = broker.url
        chosen = settings(url, f"{prefix}.events", prefix) | {"event_log": {"kind": event_log}}
        whole = Settings.model_validate(chosen)
        topology = topology_of(whole, catalogue_of(whole))
        own_queue = f"{prefix}.own"
        try:
            with start_bridge(chosen, with_broker=True) as server:
                port = server.answer(START_SECONDS_MAX)["port"]
                clients = open_clients(plan(port, USERS))
                try:
                    figures = asyncio.run(_measure(url, topology, own_queue, clients, server, options))
                    return [replace(figure, name=f"{figure.name}, {event_log} log") for figure in figures]
                finally:
                    for client in clients:
                        client.sock.close()
        finally:
            asyncio.run(remove(url, topology, own_queue))


async def _measure(  # noqa: PLR0917 - called once
    url: str, topology: Topology, own_queue: str, clients: Sequence[Client], server: Child, options: Options
) -> list[Figure]:
    through, past = Journeys(), Journeys()
    events = int(EVENTS_PER_SECOND * (ROUND_SECONDS_QUICK if options.quick else ROUND_SECONDS))
    async with _channel(url) as channel, _listening(clients, through):
        await _consume(channel, own_queue, past)
        ours = Route(await channel.get_exchange(topology.names.exchange, ensure=False), ROUTING_KEY, through)
        bare = Route(channel.default_exchange, own_queue, past)
        for route in (ours, bare):
            await route.publish(WARM_UP_EVENTS)
        cpu_micros: list[float] = []
        for _ in range(ROUNDS):
            before = sum(server.ask(START_SECONDS_MAX, do="cpu").values())
            ours.rounds.append(await ours.publish(events))
            used = sum(server.ask(START_SECONDS_MAX, do="cpu").values()) - before
            cpu_micros.append(used / events * 1e6)
            bare.rounds.append(await bare.publish(events))
    details = {
        "events": events * ROUNDS,
        "events_per_second": EVENTS_PER_SECOND,
        "bridge_cpu_us_per_event_at_this_rate": cpu_micros,
    }
    return [
        _figure("publish to socket, p50", 0.50, ours, bare, None, details),
        _figure("publish to socket, p99", 0.99, ours, bare, Bar(P99_MILLISECONDS_MAX, "value"), details),
    ]


def _figure(  # noqa: PLR0917 - as above
    name: str, share: float, ours: Route, bare: Route, bar: Bar | None, details: dict[str, Any]
) -> Figure:
    ours_ms, bare_ms = ([percentile(times, share) for times in route.rounds] for route in (ours, bare))
    return Figure(
        name,
        "ms",
        Spread.of(ours_ms),
        Limit("quorum queue to aio-pika", Spread.of(bare_ms)),
        ratios(ours_ms, bare_ms),
        bar,
        {**details, "max_ms": max(times[-1] for times in ours.rounds)},
    )


@asynccontextmanager
async def _channel(url: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(url, timeout=10) as connection:
        yield await connection.channel(publisher_confirms=False)


async def _consume(channel: AbstractChannel, queue_name: str, journeys: Journeys) -> None:
    queue = await channel.declare_queue(queue_name, durable=True, arguments={"x-queue-type": "quorum"})
    await channel.set_qos(prefetch_count=500)

    async def on_message(message: AbstractIncomingMessage) -> None:
        journeys.arrive(message.message_id or "", time.monotonic())
        await message.ack()

    await queue.consume(on_message)


@asynccontextmanager
async def _listening(clients: Sequence[Client], journeys: Journeys) -> AsyncIterator[None]:
    """Note what arrives at the sockets while the context is open."""
    loop = asyncio.get_running_loop()

    def listen(client: Client) -> None:
        reader = MessageReader()

        def on_readable() -> None:
            data = client.sock.recv(READ_BYTES)
            at = time.monotonic()
            if not data:
                loop.remove_reader(client.sock)  # The events that are missed will tell.
            for payload in reader.feed(data):
                journeys.arrive(json.loads(payload)["data"].get("transactionId", ""), at)

        loop.add_reader(client.sock, on_readable)

    for client in clients:
        listen(client)
    try:
        yield
    finally:
        for client in clients:
            loop.remove_reader(client.sock)
