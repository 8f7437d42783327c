"""What is broken, one function each. Every one returns the count that follows from it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import aio_pika

from tests.chaos.client import ResumingClient
from tests.chaos.cluster import Cluster, eventually, token
from tests.chaos.ledger import Tally
from tests.chaos.stage import Stage
from tests.proxy import Proxy

FAULTY = "tests.chaos.faulty_node"

Scenario = Callable[[Stage], Awaitable[Tally]]


async def node_killed(stage: Stage) -> Tally:
    """Kill -9 of one of three nodes under load; it comes back later."""
    nodes = [await stage.cluster.add() for _ in range(3)]
    await stage.connect_clients()
    async with stage.under_load():
        await nodes[0].kill()
        await nodes[0].start()
    return await stage.settle()


async def killed_between_append_and_ack(stage: Stage) -> Tally:
    """The active consumer dies exactly after the log has confirmed a batch and before the ack."""
    await stage.cluster.add(module=FAULTY, settings={"FAULT": "die-before-ack:5"})
    await stage.cluster.add()
    await stage.connect_clients(lambda: [stage.cluster.nodes[1].url])
    async with stage.under_load():
        await stage.cluster.nodes[0].gone()
    return await stage.settle()


async def broker_restarted(stage: Stage) -> Tally:
    """The broker is stopped in order and started again, under load."""
    await _two_nodes_and_clients(stage)
    async with stage.under_load():
        await asyncio.to_thread(stage.broker.stop)
        await asyncio.to_thread(stage.broker.start)
    return await stage.settle()


async def broker_killed(stage: Stage) -> Tally:
    """Kill -9 of the broker under load."""
    await _two_nodes_and_clients(stage)
    async with stage.under_load():
        await asyncio.to_thread(stage.broker.kill)
        await asyncio.to_thread(stage.broker.start)
    return await stage.settle()


async def broker_gone(stage: Stage) -> Tally:
    """The broker is gone for a minute; sockets stay open all the while."""
    await _two_nodes_and_clients(stage)
    async with stage.under_load():
        await asyncio.to_thread(stage.broker.stop)
        await asyncio.sleep(stage.scale.outage_seconds)
        await asyncio.to_thread(stage.broker.start)
    return await stage.settle()


async def broker_link_cut(stage: Stage) -> Tally:
    """The TCP connections between one node and the broker are reset."""
    return await _broker_link(stage, lambda proxy: proxy.cut())


async def broker_link_swallowed(stage: Stage) -> Tally:
    """The TCP connections between one node and the broker go silent: a black hole."""

    async def swallow(proxy: Proxy) -> None:
        proxy.swallow()
        await asyncio.sleep(stage.scale.outage_seconds / 3)
        await proxy.cut()
        proxy.forward()

    return await _broker_link(stage, swallow)


async def client_link_cut(stage: Stage) -> Tally:
    """The TCP connections between clients and nodes are reset, several times."""

    async def cut(proxy: Proxy) -> None:
        for _ in range(5):
            await proxy.cut()
            await asyncio.sleep(0.5)

    return await _client_link(stage, cut)


async def client_link_swallowed(stage: Stage) -> Tally:
    """The TCP connections between clients and nodes go silent, then end."""

    async def swallow(proxy: Proxy) -> None:
        proxy.swallow()
        await asyncio.sleep(stage.scale.outage_seconds / 3)
        await proxy.cut()
        proxy.forward()

    return await _client_link(stage, swallow)


async def client_stops_reading(stage: Stage) -> Tally:
    """One client reads nothing more; nobody else is to notice."""
    node = await stage.cluster.add(settings={"BRIDGE_WS__OUTBOX_BYTES_MAX": "65536"})
    await stage.connect_clients()
    deaf_reader, deaf_writer = await _deaf_socket(node.port, stage.users[0])
    async with stage.under_load():
        await asyncio.sleep(0)
    del deaf_reader
    deaf_writer.close()
    return await stage.settle()


async def clients_flap(stage: Stage) -> Tally:
    """A hundred clients connect and go at once, over and over."""
    await _two_nodes_and_clients(stage)
    flapping = [asyncio.create_task(_flap(stage.cluster, number)) for number in range(stage.scale.clients)]
    try:
        async with stage.under_load():
            await asyncio.sleep(0)
    finally:
        for task in flapping:
            task.cancel()
        await asyncio.gather(*flapping, return_exceptions=True)
    return await stage.settle()


async def stream_deleted(stage: Stage) -> Tally:
    """The log is deleted between two loads: a new life, told to every client, and nothing lost in it."""
    await _two_nodes_and_clients(stage)
    async with stage.under_load(stage.scale.events // 2):
        await asyncio.sleep(0)
    await stage.settle()
    connects = [client.receipts.connects for client in stage.clients]
    await _delete_queue(stage, f"{stage.cluster.prefix}.log")

    async def all_back() -> bool:
        return all(
            client.receipts.connects > before for client, before in zip(stage.clients, connects, strict=True)
        )

    await eventually(all_back, seconds=30, what="every client to come back to the new log")
    for node in stage.cluster.nodes:
        await node.ready()
    async with stage.under_load(stage.scale.events // 2):
        await asyncio.sleep(0)
    return await stage.settle()


async def queue_deleted(stage: Stage) -> Tally:
    """A domain's queue is deleted under the consumer, while it is empty."""
    await _two_nodes_and_clients(stage)
    async with stage.under_load(stage.scale.events // 2):
        await asyncio.sleep(0)
    await stage.settle()
    await _delete_queue(stage, f"{stage.cluster.prefix}.billing")
    async with stage.under_load(stage.scale.events // 2):
        await asyncio.sleep(0)
    return await stage.settle()


async def dead_letter_queue_full(stage: Stage) -> Tally:
    """The dead-letter queue refuses; what cannot be buried waits, and all goes on once there is room."""
    await _two_nodes_and_clients(stage)
    dead = f"{stage.cluster.prefix}.dead"
    policy = json.dumps({"max-length": 2, "overflow": "reject-publish"})
    await asyncio.to_thread(
        stage.broker.ctl, "set_policy", "full", f"^{dead}$", policy, "--apply-to", "queues"
    )
    await _publish_raw(stage, "order.completed", [b"no json"] * 20)
    async with stage.under_load():
        await asyncio.to_thread(stage.broker.ctl, "clear_policy", "full")
    tally = await stage.settle()

    async def buried() -> bool:
        return await _queue_length(stage, dead) == 20

    await eventually(buried, seconds=30, what="every dead letter to be kept")
    return tally


async def clock_jumps(stage: Stage) -> Tally:
    """The wall clock of a node jumps by an hour."""
    node = await stage.cluster.add(module=FAULTY, settings={"FAULT": "clock"})
    await stage.connect_clients()
    async with stage.under_load():
        node.send(signal.SIGUSR1)
    return await stage.settle()


async def rolling_restart(stage: Stage) -> Tally:
    """Three nodes are restarted in order, one after the other, under load."""
    nodes = [await stage.cluster.add() for _ in range(3)]
    await stage.connect_clients()
    async with stage.under_load():
        for node in nodes:
            await node.stop()
            await node.start()
    return await stage.settle()


async def node_joins(stage: Stage) -> Tally:
    """A node starts during load, and clients move to it."""
    await stage.cluster.add()
    await stage.connect_clients()
    async with stage.under_load():
        await stage.cluster.add()
        await stage.cluster.nodes[0].stop()
    return await stage.settle()


SCENARIOS: dict[str, Scenario] = {
    "node killed": node_killed,
    "consumer killed between append and ack": killed_between_append_and_ack,
    "broker restarted": broker_restarted,
    "broker killed": broker_killed,
    "broker gone": broker_gone,
    "broker link cut": broker_link_cut,
    "broker link black hole": broker_link_swallowed,
    "client link cut": client_link_cut,
    "client link black hole": client_link_swallowed,
    "client stops reading": client_stops_reading,
    "clients flap": clients_flap,
    "stream deleted": stream_deleted,
    "queue deleted": queue_deleted,
    "dead-letter queue full": dead_letter_queue_full,
    "clock jumps": clock_jumps,
    "rolling restart": rolling_restart,
    "node joins": node_joins,
}


async def _two_nodes_and_clients(stage: Stage) -> None:
    await stage.cluster.add()
    await stage.cluster.add()
    await stage.connect_clients()


async def _broker_link(stage: Stage, hurt: Callable[[Proxy], Awaitable[None]]) -> Tally:
    """Put a proxy between the first node and the broker, and hurt it under load."""
    async with Proxy("127.0.0.1", stage.broker.port) as proxy:
        url = urlsplit(stage.broker.url)
        through = url._replace(netloc=f"guest:guest@127.0.0.1:{proxy.port}").geturl()
        await stage.cluster.add(settings={"RABBITMQ_URL": through})
        await stage.cluster.add()
        await stage.connect_clients()
        async with stage.under_load():
            await hurt(proxy)
        return await stage.settle()


async def _client_link(stage: Stage, hurt: Callable[[Proxy], Awaitable[None]]) -> Tally:
    """Put a proxy between the clients and one of two nodes, and hurt it under load."""
    first, second = await stage.cluster.add(), await stage.cluster.add()
    async with Proxy("127.0.0.1", first.port) as proxy:
        through = f"ws://127.0.0.1:{proxy.port}/ws"
        await stage.connect_clients(lambda: [through, second.url])
        async with stage.under_load():
            await hurt(proxy)
        return await stage.settle()


async def _deaf_socket(port: int, user: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a WebSocket that never reads past the handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {token(user)}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def _flap(cluster: Cluster, number: int) -> None:
    """Connect, stay for a moment, go without a word; until cancelled."""
    while True:
        client = ResumingClient(cluster.urls, f"flap{number}", token(f"flap{number}"))
        running = asyncio.create_task(client.run())
        try:
            await client.connected.wait()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def _delete_queue(stage: Stage, name: str) -> None:
    async with await aio_pika.connect(stage.broker.url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(name)


async def _queue_length(stage: Stage, name: str) -> int:
    async with await aio_pika.connect(stage.broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(name, passive=True)
        return queue.declaration_result.message_count or 0


async def _publish_raw(stage: Stage, routing_key: str, bodies: list[bytes]) -> None:
    async with await aio_pika.connect(stage.broker.url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        exchange = await channel.get_exchange(stage.cluster.exchange, ensure=False)
        for body in bodies:
            await exchange.publish(aio_pika.Message(body), routing_key)
