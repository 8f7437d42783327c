"""A queue that somebody deletes and makes again at once: its consumers are deaf, and that is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack

import pytest
from aio_pika.exceptions import ChannelNotFoundEntity
from structlog.testing import capture_logs
from yarl import URL

from bridge.amqp import probe, witness
from bridge.amqp.burial import Burial
from bridge.amqp.link import Connection
from bridge.amqp.topology import Topology
from bridge.amqp.witness import SET_UP_SECONDS, Witness, look
from bridge.app import Bridge, catalogue_of, topology_of
from bridge.core.errors import DeadLettersFullError
from devel.node import PrivateNode
from tests.amqp.bus import Bus
from tests.amqp.test_repair import bridge_on, handed_out, publish
from tests.eventually import eventually
from tests.servers import Prefix, SharedBroker

TIMES = 3
LOOK_SECONDS = 0.2
LIMITED = "limited"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nodes look often, and set witnesses up soon."""
    monkeypatch.setattr(probe, "PROBE_SECONDS", LOOK_SECONDS)
    monkeypatch.setattr(witness, "SET_UP_SECONDS", 4 * LOOK_SECONDS)


async def make_again(bus: Bus, topology: Topology) -> None:
    """Delete the queue of quota and declare it as it was, before the broker has told its consumers."""
    quota = next(domain for domain in topology.domains if domain.name == "quota")
    await bus.channel.queue_delete(bus.queue("quota"))
    await topology.declare_queue(bus.channel, quota)
    await topology.declare(bus.channel)


def topology_for(bridge: Bridge) -> Topology:
    """Return what stands on the broker for this node."""
    return topology_of(bridge.settings, catalogue_of(bridge.settings))


async def all_hand_out(nodes: Sequence[Bridge], numbers: Sequence[int]) -> None:
    """Wait until every node has handed out exactly these, each once and in order."""
    await eventually(lambda: all(handed_out(node) == list(numbers) for node in nodes), f"{numbers}")


@pytest.mark.parametrize("nodes", [1, 2])
async def test_queue_made_again_at_once_is_heard(
    nodes: int, rabbitmq: SharedBroker, prefix: Prefix, bus: Bus
) -> None:
    """Time after time a queue is deleted and made again within milliseconds, and no event is missed."""
    log = "memory" if nodes == 1 else "stream"
    async with AsyncExitStack() as stack:
        bridges = [
            await stack.enter_async_context(bridge_on(rabbitmq.url, prefix, log=log)) for _ in range(nodes)
        ]
        for number in range(TIMES):
            await make_again(bus, topology_for(bridges[0]))
            await publish(bus, 2 * number, 2 * number + 1)
            await all_hand_out(bridges, range(2 * number + 2))

        # When all has settled, the witness stands, everybody is vouched for and stays attached.
        consumers = [one for bridge in bridges for one in bridge._consumers if one.domain.name == "quota"]
        await eventually(lambda: all(one.witness._vouched and one.attached for one in consumers))
        assert [bridge.stats.reconnects for bridge in bridges] == [0] * nodes


async def test_a_healthy_bridge_is_left_alone(
    rabbitmq: SharedBroker, prefix: Prefix, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one node is held up and events wait in the queue, neither it nor its follower attaches anew."""

    async def full(*_: object) -> None:
        raise DeadLettersFullError("bridge.dead is full")

    bury = Burial.bury
    monkeypatch.setattr(Burial, "bury", full)
    async with AsyncExitStack() as stack:
        bridges = [
            await stack.enter_async_context(bridge_on(rabbitmq.url, prefix, log="stream")) for _ in range(2)
        ]
        consumers = [one for bridge in bridges for one in bridge._consumers]
        before = [one.witness.attachments for one in consumers]
        with capture_logs() as logs:
            await bus.publish("quota.deduct", b"never valid")
            await publish(bus, *range(600))
            await eventually(lambda: all(one.waiting for one in consumers if one.domain.name == "quota"))
            looked: list[object] = []
            monkeypatch.setattr(probe, "look", _counting(looked))
            await eventually(lambda: len(looked) >= 10, "looks")

        monkeypatch.setattr(Burial, "bury", bury)  # Or it would hold up the way out, too.
        assert [one.witness.attachments for one in consumers] == before
        assert not [line for line in logs if line["event"] in ("amqp.queue_replaced", "amqp.consumer_lost")]


def _counting(looked: list[object]) -> Callable[..., Awaitable[Mapping[Witness, bool]]]:
    async def counting(connection: Connection, witnesses: Iterable[Witness]) -> Mapping[Witness, bool]:
        looked.append(None)
        return await look(connection, witnesses)

    return counting


@pytest.mark.parametrize(
    ("looks", "findings"),
    [
        pytest.param([(True, 0.0)], ["nothing"], id="vouched for"),
        pytest.param([(False, 0.0)], ["attach anew"], id="gone"),
        pytest.param(
            [(False, 0.0), (False, 2.0), (False, SET_UP_SECONDS), (True, 12.0)],
            ["attach anew", "nothing", "set up", "attach anew"],
            id="gone, and after a while set up",
        ),
        pytest.param(
            [(False, 0.0), (True, 2.0), (False, 4.0), (False, 4.0 + SET_UP_SECONDS - 0.1)],
            ["attach anew", "attach anew", "nothing", "nothing"],
            id="set up by another node, and gone again before this one attached",
        ),
    ],
)
def test_what_is_found(
    looks: Sequence[tuple[bool, float]], findings: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be done about a consumer that was vouched for when it was attached."""
    monkeypatch.setattr(witness, "SET_UP_SECONDS", SET_UP_SECONDS)
    subject = Witness("bridge.quota", "bridge.witness.quota")
    subject._vouched = True

    assert [subject.judge(stands=stands, now=now).value for stands, now in looks] == findings


async def test_a_witness_goes_with_its_queue(bus: Bus, topology: Topology) -> None:
    """A witness stands until its queue is deleted, also if its maker was interrupted before the binding."""
    domain = topology.domains[0]
    subject = Witness(topology.names.queue(domain), topology.names.witness(domain))
    assert await look(bus.connection, [subject]) == {subject: False}
    await bus.channel.declare_exchange(subject.exchange_name, "fanout", durable=True, auto_delete=True)

    assert await look(bus.connection, [subject]) == {subject: True}
    await bus.channel.queue_delete(subject.queue_name)
    await topology.declare_queue(bus.channel, domain)

    assert await look(bus.connection, [subject]) == {subject: False}
    assert await subject.set_up(bus.connection)
    await bus.channel.queue_delete(subject.queue_name)
    with pytest.raises(ChannelNotFoundEntity):
        await bus.channel.get_exchange(subject.exchange_name)


async def test_without_permission_it_is_consumed_all_the_same(
    broker_node: PrivateNode, prefix: Prefix
) -> None:
    """Who may declare all but the witness is told so once, and is as ready as before there was one."""
    ours = rf"^({prefix}\.(?!witness).*|amq\.default)$"
    await asyncio.to_thread(broker_node.ctl, "add_user", LIMITED, LIMITED)
    try:
        await asyncio.to_thread(broker_node.ctl, "set_permissions", LIMITED, ours, ours, ours)
        url = str(URL(broker_node.url).with_user(LIMITED).with_password(LIMITED))
        with capture_logs() as logs:
            async with bridge_on(url, prefix) as bridge:
                looked = [one.witness for one in bridge._consumers]
                await eventually(lambda: all(one._told for one in looked))
                assert bridge.ready
        refused = [line["queue"] for line in logs if line["event"] == "amqp.witness_refused"]
        assert sorted(refused) == sorted(one.queue_name for one in looked)
    finally:
        await asyncio.to_thread(broker_node.ctl, "delete_user", LIMITED)
