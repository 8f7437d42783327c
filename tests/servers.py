"""Brokers for tests: the one that is given, a container, or a private node on free ports."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

import aio_pika

from consumers import domains
from devel.docker import engine_answers
from devel.node import PrivateNode
from devel.rabbitmq import find_or_install_server

IMAGE = "rabbitmq:4-alpine"
AMQP_PORT = 5672


@dataclass(frozen=True)
class SharedBroker:
    """A RabbitMQ that all tests of a run share. Every test keeps to names with its own prefix."""

    url: str
    origin: str  # For people.
    given: bool = False  # It outlives the tests, which must leave nothing behind in it.


class Prefix(str):
    """A test's own start of names on the shared broker, for `amqp.prefix` and for anything else.

    If the broker outlives the tests, what a bridge of this prefix declares is deleted after the test, with
    the exchange `PREFIX.events`, and whatever the test has added to `queues` and `exchanges`.
    """

    __slots__ = ("exchanges", "queues")

    exchanges: set[str]
    queues: set[str]

    def __new__(cls) -> Self:
        """Return a new one every time."""
        prefix = super().__new__(cls, f"test-{uuid4().hex[:12]}")
        queues = (*(domain.name for domain in domains()), "unrouted", "dead", "log")
        prefix.queues = {f"{prefix}.{name}" for name in queues}
        prefix.exchanges = {f"{prefix}.{name}" for name in ("events", "in", "unrouted", "nodes")}
        return prefix

    async def delete_all(self, url: str) -> None:
        """Delete what the test may have made. RabbitMQ does not mind when it is not there."""
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            for queue in self.queues:
                await channel.queue_delete(queue)
            for exchange in self.exchanges:
                await channel.exchange_delete(exchange)


@contextmanager
def shared_broker() -> Iterator[SharedBroker]:
    """Yield the broker for a run of tests: RABBITMQ_TEST_URL's, else a container, else a private node.

    Raises:
        DevelError: there is none, with what to do about it.
    """
    if url := os.environ.get("RABBITMQ_TEST_URL"):
        yield SharedBroker(url, "the one of RABBITMQ_TEST_URL", given=True)
    elif engine_answers():
        yield from _container()
    else:
        with private_node() as node:
            node.start()
            yield SharedBroker(node.url, f"a private node in {node.folder}")


@contextmanager
def private_node() -> Iterator[PrivateNode]:
    """Yield a node that is not started yet. In the end it is stopped, and its folder removed.

    Raises:
        DevelError: there is no RabbitMQ here, and none can be installed.
    """
    server = find_or_install_server()
    with tempfile.TemporaryDirectory(prefix="bridge-test-") as folder:
        node = PrivateNode(Path(folder), server)
        try:
            yield node
        finally:
            node.kill(flush=False)  # Its data goes too, so nothing is gained by stopping gracefully.


def _container() -> Iterator[SharedBroker]:
    # Only here: importing it already looks for an engine's settings.
    from testcontainers.community.rabbitmq import RabbitMqContainer  # noqa: PLC0415

    with RabbitMqContainer(IMAGE) as container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(AMQP_PORT)
        yield SharedBroker(f"amqp://guest:guest@{host}:{port}/", f"a container of {IMAGE}")
