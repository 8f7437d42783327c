"""A broker with names of its own on it, and the settings of a bridge that uses them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.amqp import PREFETCH
from benchmarks.amqp.frames import ROUTING_KEY, new_series
from benchmarks.broker import remove
from benchmarks.children import PROJECT, Child
from benchmarks.load import Plan
from benchmarks.subject import Options, settings
from bridge.app import catalogue_of, topology_of
from bridge.settings import Settings
from devel.rabbitmq import find_or_start

READERS = ("bulk", "stock")
"""The ways in which the bridge can read a queue, its own first."""


@dataclass(frozen=True, slots=True)
class Bus:
    """Where to publish and to consume. `queue` is that of the domain that the bench's events belong to."""

    url: str
    prefix: str

    @property
    def exchange(self) -> str:
        """What events are published to."""
        return f"{self.prefix}.events"

    @property
    def queue(self) -> str:
        """Where they come to stand."""
        return f"{self.prefix}.{ROUTING_KEY.partition('.')[0]}"

    @property
    def own_queue(self) -> str:
        """A quorum queue beside the bridge's."""
        return f"{self.prefix}.own"

    def settings(self, *, reader: str = READERS[0], event_log: str = "memory") -> dict[str, Any]:
        """Return the settings of a bridge on this bus."""
        chosen = settings(self.url, self.exchange, self.prefix) | {"event_log": {"kind": event_log}}
        chosen["amqp"] |= {"prefetch": PREFETCH, "reader": reader}
        return chosen

    def gateway(self, *, sources: bool = False, **choices: str) -> Child:
        """Start a bridge whose domain is attached on demand; `choices` are those of `settings`.

        With `sources` it is that of this checkout, also where a compiled one is measured.
        """
        environment = {"PYTHONPATH": str(PROJECT)} if sources else None
        return Child.of_module("benchmarks.amqp.gateway", {"settings": self.settings(**choices)}, environment)

    def publisher(self, users: int = 1, *, wrapped: bool = False) -> Child:
        """Start a process that fills the queue."""
        argument = {"url": self.url, "exchange": self.exchange, "series": new_series(), "users": users}
        return Child.of_module("benchmarks.amqp.publisher", argument | {"wrapped": wrapped})

    def driver(self, sockets: Plan, *, past: bool = False) -> Child:
        """Start a process that holds these sockets and publishes to their users; `past` the bridge, too."""
        argument = {
            "url": self.url,
            "exchange": self.exchange,
            "queue": self.own_queue if past else "",
            "plan": sockets.as_json(),
        }
        return Child.of_module("benchmarks.amqp.driver", argument)


@contextmanager
def bus(options: Options) -> Iterator[Bus]:
    """Find or start a broker; leave nothing behind. Raises DevelError."""
    with find_or_start(options.scratch / "rabbitmq", as_shipped=True) as broker:
        chosen = Bus(broker.url, f"bench-{secrets.token_hex(3)}")
        whole = Settings.model_validate(chosen.settings())
        try:
            yield chosen
        finally:
            asyncio.run(remove(broker.url, topology_of(whole, catalogue_of(whole)), chosen.own_queue))
