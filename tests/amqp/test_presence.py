"""Nodes of one cluster know of each other, and ask each other, over a real RabbitMQ."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest
from aio_pika import Message as AmqpMessage
from aio_pika.exceptions import ChannelNotFoundEntity
from structlog.testing import capture_logs
from yarl import URL

from bridge.amqp import presence as module
from bridge.amqp.link import Link, Reader
from bridge.amqp.presence import CHANGES_TOLD_BURST, Presence
from bridge.amqp.topology import Names
from bridge.core.limits import TokenBucket
from bridge.core.presence import (
    Answer,
    Farewell,
    Message,
    NodeAnswer,
    NodeSeen,
    NodeStatus,
    Question,
    SocketStatus,
    encode,
)
from bridge.core.stats import Stats
from devel.node import PrivateNode
from tests.amqp.bus import BOTH_READERS, Bus
from tests.core.test_presence import socket, status
from tests.eventually import eventually
from tests.servers import Prefix, SharedBroker

OFTEN_SECONDS = 0.1  # Between two statuses, here.
LIMITED = "limited"


@dataclass
class Node:
    """One node of a cluster, as far as presence goes."""

    id: str
    presence: Presence
    stats: Stats
    links: Link

    def others(self) -> list[NodeSeen]:
        """Return the nodes that it knows beside itself."""
        return [seen for seen in self.presence.nodes() if not seen.own]

    def names(self) -> list[str]:
        """Return the names of the nodes that it knows beside itself."""
        return [seen.status.name for seen in self.others()]


@asynccontextmanager
async def node_on(
    url: str,
    names: Names,
    name: str = "node",
    *,
    sockets_of: Callable[[str], Sequence[SocketStatus]] = lambda _: (),
    reader: Reader = "bulk",
    attached: bool = True,
    goodbye: bool = True,
) -> AsyncIterator[Node]:
    """Run a node's part in the cluster for the length of the context; it hears itself at the beginning."""
    id_, stats = uuid4().hex, Stats()

    def own() -> NodeStatus:
        return status(name=name).node.model_copy(update={"id": id_})

    presence = Presence(names, status=own, sockets_of=sockets_of, stats=stats)
    link = Link(url, f"{names.prefix} nodes", works=[presence.run], stats=stats, reader=reader)
    running = asyncio.create_task(link.run())
    try:
        if attached:
            await eventually(lambda: presence.health().ok, f"{name} attached")
        yield Node(id_, presence, stats, link)
        if goodbye:
            await presence.leave()
    finally:
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled(), running.exception()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch, prefix: Prefix) -> None:
    """Have nodes tell of themselves often, and be attached again soon."""
    prefix.exchanges.add(f"{prefix}.nodes")
    monkeypatch.setattr(module, "status_seconds", lambda _: OFTEN_SECONDS)
    monkeypatch.setattr(module, "BACKOFF_SECONDS_FIRST", 0.05)
    monkeypatch.setattr(module, "BACKOFF_SECONDS_MAX", 0.05)


async def tell(bus: Bus, *messages: Message | bytes) -> None:
    """Publish to all nodes, as a node does."""
    exchange = await bus.channel.get_exchange(bus.names.nodes, ensure=False)
    for message in messages:
        body = message if isinstance(message, bytes) else encode(message)
        await exchange.publish(AmqpMessage(body), "", mandatory=False)


def told(answers: Sequence[NodeAnswer]) -> list[tuple[str, bool, list[str]]]:
    """Return who said what: name, whether they answered, and the client ids."""
    return [(one.name, one.answered, [of.client_id for of in one.sockets]) for one in answers]


@BOTH_READERS
async def test_nodes_know_and_ask_each_other(rabbitmq: SharedBroker, names: Names, reader: Reader) -> None:
    """Every node knows the others, and gets from each the sockets that a user has there; its own first."""
    async with (
        node_on(rabbitmq.url, names, "b", sockets_of=lambda user: [socket(client_id=f"{user} b")]) as b,
        node_on(rabbitmq.url, names, "a", sockets_of=lambda user: [socket(client_id=f"{user} a")]) as a,
        node_on(rabbitmq.url, names, "c", reader=reader) as c,
    ):
        await eventually(lambda: (a.names(), b.names(), c.names()) == (["b", "c"], ["a", "c"], ["a", "b"]))

        answers = await c.presence.ask_sockets("u1")

        assert told(answers) == [("c", True, []), ("a", True, ["u1 a"]), ("b", True, ["u1 b"])]
        assert [one.own for one in answers] == [True, False, False]
        assert told(await a.presence.ask_sockets("u2"))[1:] == [("b", True, ["u2 b"]), ("c", True, [])]
        assert c.presence.health().detail == "3 known"
        assert all(seen.seen_seconds_ago < 5 * OFTEN_SECONDS for seen in a.others())
    assert a.stats.node_messages_ignored.total() == 0


async def test_nodes_of_one_name_are_two(rabbitmq: SharedBroker, names: Names) -> None:
    """Two nodes of the same name are told apart by their ids."""
    async with node_on(rabbitmq.url, names) as one, node_on(rabbitmq.url, names) as other:
        await eventually(lambda: [seen.status.id for seen in one.others()] == [other.id])
        assert [answer.node_id for answer in await one.presence.ask_sockets("u1")] == [one.id, other.id]


async def test_clocks_do_not_matter(rabbitmq: SharedBroker, names: Names, bus: Bus) -> None:
    """A node whose clock is years off is as old as its last status."""
    async with node_on(rabbitmq.url, names) as node:
        await tell(bus, status(1, name="from the future", started_at=9e9, every_seconds=60.0))

        [seen] = await eventually(node.others)

        assert 0 <= seen.seen_seconds_ago < 5.0


async def test_who_says_goodbye_is_gone_at_once(
    rabbitmq: SharedBroker, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that leaves says so, and is forgotten without waiting for its silence."""
    async with node_on(rabbitmq.url, names) as stays:
        async with node_on(rabbitmq.url, names, "leaves"):
            await eventually(lambda: stays.names() == ["leaves"])
            monkeypatch.setattr(module, "status_seconds", lambda _: 60.0)
            await eventually(lambda: _promised(stays) > 100.0)

        await eventually(lambda: stays.names() == [], seconds_max=5.0)


def _promised(node: Node) -> float:
    """Return for how long the node waits for the others, in seconds."""
    now = time.monotonic()
    return max((row.silent_at - now for row in node.presence._nodes._rows.values()), default=0.0)


async def test_who_falls_silent_is_gone(rabbitmq: SharedBroker, names: Names) -> None:
    """A node that ends without a word is gone after three statuses that did not come."""
    async with node_on(rabbitmq.url, names) as stays:
        async with node_on(rabbitmq.url, names, "dies", goodbye=False):
            await eventually(lambda: stays.names() == ["dies"])
        with capture_logs() as logs:
            await eventually(lambda: stays.names() == [])
            await eventually(lambda: any(line["event"] == "presence.node_silent" for line in logs))


async def test_who_does_not_answer_is_named(rabbitmq: SharedBroker, names: Names, bus: Bus) -> None:
    """The question ends after a second; a node that did not answer by then is named as such."""
    async with node_on(rabbitmq.url, names) as node, node_on(rabbitmq.url, names, "other"):
        await tell(bus, status(1, name="mute", every_seconds=60.0))
        await eventually(lambda: node.names() == ["mute", "other"])
        started_at = time.monotonic()

        answers = await node.presence.ask_sockets("u1")

        assert told(answers)[1:] == [("mute", False, []), ("other", True, [])]
        assert time.monotonic() - started_at < module.ANSWER_SECONDS_MAX + 0.5
        assert node.presence._asked == {}


async def test_no_user_has_such_an_id(names: Names) -> None:
    """An id that no user can have is refused before anybody is asked."""
    node = Presence(names, status=lambda: status().node, sockets_of=lambda _: (), stats=Stats())

    with pytest.raises(ValueError, match="no user can have the id"):
        await node.ask_sockets("a b")
    assert told(await node.ask_sockets("u1")) == [("node", True, [])]


async def test_questions_are_bounded(
    rabbitmq: SharedBroker, names: Names, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question beyond those that may be on their way is not asked, and says so at once."""
    monkeypatch.setattr(module, "QUESTIONS_MAX", 1)
    async with node_on(rabbitmq.url, names) as node:
        await tell(bus, status(1, name="mute", every_seconds=60.0))
        await eventually(node.others)
        first = asyncio.create_task(node.presence.ask_sockets("u1"))
        await eventually(lambda: node.presence._asked)

        assert told(await node.presence.ask_sockets("u2"))[1:] == [("mute", False, [])]
        assert not first.done()
        await first


async def test_a_flood_of_questions_is_not_answered(rabbitmq: SharedBroker, names: Names, bus: Bus) -> None:
    """A node answers so many questions a second, and passes over the others."""
    asked: list[str] = []

    def sockets_of(user_id: str) -> Sequence[SocketStatus]:
        asked.append(user_id)
        return ()

    async with node_on(rabbitmq.url, names, sockets_of=sockets_of) as node:
        node.presence._answers = TokenBucket(rate_per_second=0.001, burst=2)
        await tell(bus, *(question(f"u{number}") for number in range(10)))

        await eventually(lambda: node.stats.node_messages_ignored["busy"] == 8)
        assert asked == ["u0", "u1"]
        assert node.presence.health().ok


def question(user_id: str) -> Question:
    """Return a question of a node that nobody knows."""
    return Question(question_id=uuid4().hex, node_id=uuid4().hex, inbox=uuid4().hex, user_id=user_id)


async def test_a_flood_of_nodes_fills_the_table_and_no_more(
    rabbitmq: SharedBroker, names: Names, bus: Bus
) -> None:
    """Made-up nodes fill the table; those known before stay, and the rest is counted."""
    async with node_on(rabbitmq.url, names) as node, node_on(rabbitmq.url, names, "real"):
        await eventually(lambda: node.names() == ["real"])
        nodes_max = node.presence._nodes._nodes_max
        with capture_logs() as logs:
            await asyncio.gather(
                *(tell(bus, status(number, every_seconds=60.0)) for number in range(nodes_max + 10))
            )
            await eventually(lambda: node.stats.node_messages_ignored["full"] == 11)

        assert len(node.others()) == nodes_max
        assert "real" in node.names()
        assert [line["event"] for line in logs].count("presence.nodes_full") == 2  # One of each node.


async def test_nodes_that_come_and_go_do_not_fill_the_log(
    rabbitmq: SharedBroker, names: Names, bus: Bus
) -> None:
    """However many made-up nodes come and go, so many changes are told."""
    async with node_on(rabbitmq.url, names) as node:
        with capture_logs() as logs:
            for number in range(CHANGES_TOLD_BURST):
                come = status(number, every_seconds=60.0)
                await tell(bus, come, Farewell(node_id=come.node.id))
            await tell(bus, status(0, every_seconds=60.0))
            await eventually(lambda: len(node.others()) == 1)

        assert CHANGES_TOLD_BURST <= len(logs) <= CHANGES_TOLD_BURST * 1.5


async def test_what_no_node_says_is_passed_over(rabbitmq: SharedBroker, names: Names, bus: Bus) -> None:
    """Malformed messages are counted and ignored, and so are answers that nobody awaits."""
    async with node_on(rabbitmq.url, names) as node:
        stray = Answer(question_id=uuid4().hex, node_id=uuid4().hex, name="x", sockets=(), sockets_left_out=0)
        await tell(bus, b"", b"{}", b"\xff", b"[" * 100_000, b"x" * 300_000, stray, status(1, name="next"))

        await eventually(lambda: node.names() == ["next"])
        assert node.stats.node_messages_ignored == {"malformed": 5}
        assert node.presence.health().ok


async def test_deleted_exchange_is_made_again(rabbitmq: SharedBroker, names: Names, bus: Bus) -> None:
    """When the exchange is deleted, or a queue unbound, nodes notice and find each other again."""
    async with node_on(rabbitmq.url, names, "a") as a, node_on(rabbitmq.url, names, "b") as b:
        await eventually(lambda: (a.names(), b.names()) == (["b"], ["a"]))
        await bus.channel.exchange_delete(names.nodes)

        await eventually(lambda: not a.presence.health().ok, "noticed")
        await eventually(lambda: (a.names(), b.names()) == (["b"], ["a"]), "again")
        await eventually(lambda: a.presence.health().ok and b.presence.health().ok)
        assert a.stats.reconnects == b.stats.reconnects == 0


async def test_a_node_that_does_not_hear_itself_attaches_again(
    rabbitmq: SharedBroker, names: Names, bus: Bus
) -> None:
    """When the exchange is deleted and made again within milliseconds, the node notices that it is deaf."""
    async with node_on(rabbitmq.url, names) as node:
        await bus.channel.exchange_delete(names.nodes)
        await bus.channel.declare_exchange(names.nodes, "fanout", durable=True)

        with capture_logs() as logs:
            await eventually(lambda: any(line["event"] == "presence.on" for line in logs), "again")
        assert node.presence.health().ok


async def test_no_queue_is_left_behind(rabbitmq: SharedBroker, names: Names, bus: Bus) -> None:
    """The broker deletes a node's queue with its connection, also when the node ends without a word."""
    async with node_on(rabbitmq.url, names, goodbye=False) as node:
        assert node.presence._post is not None
        queue = f"{names.nodes}.{node.presence._post.inbox}"

    async def gone() -> bool:
        async with bus.connection.channel() as channel:
            try:
                await channel.get_queue(queue)
            except ChannelNotFoundEntity:
                return True
        return False

    await eventually(gone)


async def test_a_fault_of_ours_is_not_the_end_of_the_node(rabbitmq: SharedBroker, names: Names) -> None:
    """When the node cannot say which sockets it has, that is logged without its text, and it goes on."""

    def broken(user_id: str) -> Sequence[SocketStatus]:
        raise KeyError(user_id)

    async with (
        node_on(rabbitmq.url, names, "a") as a,
        node_on(rabbitmq.url, names, "b", sockets_of=broken) as b,
    ):
        await eventually(lambda: a.names() == ["b"])
        with capture_logs() as logs:
            assert told(await a.presence.ask_sockets("secret"))[1:] == [("b", False, [])]
            await eventually(lambda: any(line["event"] == "presence.on" for line in logs))

        [failed] = [line for line in logs if line["event"] == "presence.failed"]
        assert failed["error"] == "KeyError"
        assert "secret" not in str(logs)
        assert b.presence.health().ok


async def test_without_permission_the_node_goes_on(broker_node: PrivateNode, prefix: Prefix) -> None:
    """Who may not declare the exchange is told so once, and is degraded; with the permission it is well."""
    names = Names(f"{prefix}.events", prefix)
    await asyncio.to_thread(broker_node.ctl, "add_user", LIMITED, LIMITED)
    try:
        await asyncio.to_thread(broker_node.ctl, "set_permissions", LIMITED, "^$", "^$", "^$")
        url = str(URL(broker_node.url).with_user(LIMITED).with_password(LIMITED))
        with capture_logs() as logs:
            async with node_on(url, names, attached=False) as node:
                await eventually(lambda: "ACCESS_REFUSED" in node.presence.health().detail)
                await eventually(lambda: _refusals(logs) > 0)
                assert not node.presence.health().ok
                assert not node.presence.health().vital
                assert told(await node.presence.ask_sockets("u1")) == [("node", True, [])]

                ours = f"{prefix}\\..*"  # As in docs/operations.md.
                permissions = f"^({ours})$", f"^({ours}|amq\\.default)$", f"^({ours})$"
                await asyncio.to_thread(broker_node.ctl, "set_permissions", LIMITED, *permissions)
                await eventually(lambda: node.presence.health().ok)
                assert node.stats.reconnects == 0
        assert _refusals(logs) == 1
    finally:
        await asyncio.to_thread(broker_node.ctl, "delete_user", LIMITED)


def _refusals(logs: Sequence[object]) -> int:
    return sum("ACCESS_REFUSED" in str(line) for line in logs if "presence.off" in str(line))
