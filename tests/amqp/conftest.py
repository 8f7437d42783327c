"""What the tests of the event-bus edge share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bridge.amqp.link import Reader, connect
from bridge.amqp.topology import Names, Topology
from bridge.core.catalogue import Domain
from tests.amqp.bus import Bus
from tests.servers import Prefix, SharedBroker

DELIVERY_LIMIT = 3


@pytest.fixture
def names(prefix: Prefix) -> Names:
    """The names of everything under this test's prefix."""
    prefix.queues |= {f"{prefix}.alpha", f"{prefix}.beta"}
    return Names(f"{prefix}.events", prefix)


@pytest.fixture
def reader() -> Reader:
    """How deliveries are read on the bus's connection; see BOTH_READERS."""
    return "bulk"


@pytest.fixture
async def bus(rabbitmq: SharedBroker, names: Names, reader: Reader) -> AsyncIterator[Bus]:
    """A connection of the test's own to the shared broker."""
    async with await connect(rabbitmq.url, "test", reader) as connection:
        yield Bus(connection, await connection.channel(on_return_raises=True), names)


@pytest.fixture
def alpha() -> Domain:
    """A domain that binds alpha.# only."""
    return Domain("alpha", "alpha-service", topics=("alpha.#",))


@pytest.fixture
async def topology(names: Names, alpha: Domain, bus: Bus) -> Topology:
    """Two domains and the one that catches the rest, declared."""
    beta = Domain("beta", "beta-service", topics=("beta.#",))
    unrouted = Domain("unrouted", "anybody", topics=(), catches_unrouted=True)
    topology = Topology(names, (alpha, beta, unrouted), delivery_limit=DELIVERY_LIMIT)
    await topology.declare(bus.channel)
    return topology
