"""RabbitMQ's Web-STOMP plug-in in a private node: pages subscribe to a topic of the broker."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import aio_pika
from aio_pika.abc import AbstractExchange

from benchmarks.peers.driver import pids_of
from benchmarks.peers.openings import ROOM
from benchmarks.servers.lines import obey
from devel.rabbitmq import PrivateNode, find_server

PLUGIN = "rabbitmq_web_stomp"
PROGRAM = "beam.smp"


def missing() -> str | None:
    """Say what is not installed, and the remedy."""
    server = find_server()
    if server is None:
        return "rabbitmq-server: `make bench-peers` installs it"
    if not list(server.parent.parent.glob(f"plugins/{PLUGIN}-*")):
        return f"the plug-in {PLUGIN} in this RabbitMQ: install a whole one"
    return None


class Topic:
    """The topic /topic/…, which is a routing key of amq.topic."""

    def __init__(self, exchange: AbstractExchange) -> None:
        self._exchange = exchange
        self._body = b""

    async def prepare(self, message: str) -> dict[str, Any]:
        """Take the message."""
        self._body = message.encode()
        return {}

    async def fanout(self, batches: int, events: int) -> dict[str, Any]:
        """Publish the message so many times, confirmed."""
        for _ in range(batches):
            for _ in range(events):
                await self._exchange.publish(
                    aio_pika.Message(self._body, content_type="application/json"), ROOM
                )
        return {}

    async def settle(self) -> dict[str, Any]:
        """Nothing to wait for: a receipt says that a subscription stands."""
        return {"sockets": None}


async def main() -> None:
    """Serve until the end of standard input."""
    server = find_server()
    assert server is not None, missing()
    with (
        tempfile.TemporaryDirectory(prefix="bench-stomp-") as name,
        PrivateNode(Path(name), server, plugins=[PLUGIN], as_shipped=True) as node,
    ):
        async with await aio_pika.connect(node.url) as connection:
            channel = await connection.channel(publisher_confirms=True)
            exchange = await channel.get_exchange("amq.topic", ensure=False)
            topic = Topic(exchange)
            await obey(
                {"prepare": topic.prepare, "fanout": topic.fanout, "settle": topic.settle},
                pids=pids_of(PROGRAM),
                port=node.plugin_ports[PLUGIN],
            )


if __name__ == "__main__":
    asyncio.run(main())
