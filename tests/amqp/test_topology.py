"""What stands on the broker once the topology is declared, and where events go."""

from __future__ import annotations

import re

import pytest
from aio_pika import ExchangeType
from aio_pika.exceptions import ChannelPreconditionFailed
from pamqp.common import FieldTable

from bridge.amqp.topology import DEAD_DELIVERY_LIMIT, Names, Topology, TopologyError
from bridge.core.catalogue import Domain
from consumers.wallet import DOMAIN as WALLET
from tests.amqp.bus import Bus
from tests.amqp.conftest import DELIVERY_LIMIT

OTHER_VALUES: FieldTable = {
    "x-queue-type": "classic",
    "x-single-active-consumer": False,
    "x-delivery-limit": 1,
    "x-dead-letter-exchange": "elsewhere",
    "x-dead-letter-routing-key": "elsewhere",
    "x-dead-letter-strategy": "at-most-once",
    "x-overflow": "drop-head",
}


def domain_arguments(names: Names) -> FieldTable:
    """Return what a domain's queue has to be declared with."""
    return {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": names.dead,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


@pytest.mark.usefixtures("topology")
@pytest.mark.parametrize("name", ["alpha", "unrouted"])
async def test_domain_queue_is_declared_with(name: str, bus: Bus) -> None:
    """A domain's queue is a durable quorum queue with one active consumer, a limit and a way out."""
    await bus.channel.declare_queue(bus.queue(name), durable=True, arguments=domain_arguments(bus.names))


@pytest.mark.usefixtures("topology")
@pytest.mark.parametrize("argument", list(OTHER_VALUES))
async def test_broker_holds_the_queue_to_each_argument(argument: str, bus: Bus) -> None:
    """None of those arguments could be another: the broker refuses the queue with any of them changed."""
    arguments = domain_arguments(bus.names) | {argument: OTHER_VALUES[argument]}
    channel = await bus.connection.channel()

    with pytest.raises(ChannelPreconditionFailed, match=argument):
        await channel.declare_queue(bus.queue("alpha"), durable=True, arguments=arguments)


@pytest.mark.usefixtures("topology")
async def test_dead_letters_and_exchanges_are_declared(bus: Bus, names: Names) -> None:
    """The dead-letter queue is a quorum queue that looking at does not wear out; the exchanges last."""
    arguments: FieldTable = {"x-queue-type": "quorum", "x-delivery-limit": DEAD_DELIVERY_LIMIT}
    await bus.channel.declare_queue(names.dead, durable=True, arguments=arguments)
    await bus.channel.declare_exchange(names.exchange, ExchangeType.TOPIC, durable=True)
    await bus.channel.declare_exchange(names.unrouted, ExchangeType.FANOUT, durable=True)
    await bus.channel.declare_exchange(
        names.inbound, ExchangeType.TOPIC, durable=True, arguments={"alternate-exchange": names.unrouted}
    )


async def test_declaring_again_changes_nothing(topology: Topology, bus: Bus) -> None:
    """Declaring is idempotent: what waits in the queues stays there, and nothing comes twice."""
    await bus.publish("alpha.happened", b"before")

    await topology.declare(bus.channel)

    await bus.publish("alpha.happened", b"after")
    assert (await bus.take("alpha")).body == b"before"
    assert (await bus.take("alpha")).body == b"after"
    assert await bus.waiting("alpha") == 0


@pytest.mark.parametrize("part", ["events", "in", "unrouted", "alpha", "dead"])
async def test_conflict_is_named(part: str, bus: Bus, alpha: Domain) -> None:
    """If an exchange or a queue of that name exists with other arguments, the error says which."""
    name = bus.queue(part)
    if part in ("alpha", "dead"):
        await bus.channel.declare_queue(name, durable=True)
    else:
        await bus.channel.declare_exchange(name, ExchangeType.HEADERS)
    topology = Topology(bus.names, [alpha], delivery_limit=DELIVERY_LIMIT)

    with pytest.raises(TopologyError, match=re.escape(f"'{name}'")):
        await topology.declare(bus.channel)


@pytest.mark.usefixtures("topology")
@pytest.mark.parametrize(
    ("routing_key", "queue"),
    [
        ("alpha.happened", "alpha"),
        ("alpha.thing.changed", "alpha"),
        ("beta.happened", "beta"),
        ("user.alpha.happened", "unrouted"),
        ("alphaHappened", "unrouted"),
        ("gamma.happened", "unrouted"),
        ("", "unrouted"),
    ],
)
async def test_event_goes_to(routing_key: str, queue: str, bus: Bus) -> None:
    """An event goes to the one domain that binds its name; a misnamed or unknown one to `unrouted`."""
    await bus.publish(routing_key)

    assert (await bus.take(queue)).routing_key == routing_key
    for other in {"alpha", "beta", "unrouted"} - {queue}:
        assert await bus.waiting(other) == 0


async def test_events_of_a_missing_queue_are_caught(topology: Topology, bus: Bus) -> None:
    """What is published while a domain's queue is gone waits in `unrouted`; later events in the queue."""
    await bus.channel.queue_delete(bus.queue("alpha"))
    await bus.publish("alpha.early", b"caught")

    await topology.declare(bus.channel)
    await bus.publish("alpha.late", b"routed")

    assert (await bus.take("unrouted")).body == b"caught"
    assert (await bus.take("alpha")).body == b"routed"


async def test_old_names_are_bound(bus: Bus) -> None:
    """The aliases that no topic covers have bindings of their own."""
    old = [event_type for event_type in WALLET.event_types if "deposit_completed:v1" in event_type.aliases]
    alpha = Domain("alpha", "alpha-service", topics=(), event_types=old)
    await Topology(bus.names, [alpha], delivery_limit=DELIVERY_LIMIT).declare(bus.channel)

    await bus.publish("deposit_completed:v1")

    assert (await bus.take("alpha")).routing_key == "deposit_completed:v1"


@pytest.mark.usefixtures("topology")
async def test_other_consumers_of_the_bus_are_left_alone(bus: Bus) -> None:
    """Somebody else's queue on the publishers' exchange gets every event too."""
    theirs = await bus.channel.declare_queue(bus.queue("beta.theirs"), exclusive=True)
    await theirs.bind(bus.names.exchange, "alpha.#")

    await bus.publish("alpha.happened")

    await bus.take("beta.theirs")
    await bus.take("alpha")
