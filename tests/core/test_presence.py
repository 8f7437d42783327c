"""The table of nodes, and what nodes tell each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from bridge.core.presence import (
    MESSAGE_BYTES_MAX,
    SOCKETS_PER_ANSWER_MAX,
    Answer,
    Asked,
    Farewell,
    Heard,
    MalformedError,
    Message,
    Nodes,
    NodeStatus,
    Question,
    SocketStatus,
    Status,
    answer_to,
    decode,
    encode,
    status_seconds,
)


def node_id(number: int) -> str:
    """Return the id of a node."""
    return f"{number:032x}"


def status(number: int = 1, *, name: str = "node", every_seconds: float = 2.0, **values: Any) -> Status:  # noqa: ANN401
    """Return what a node says of itself."""
    node = NodeStatus(
        id=node_id(number),
        name=name,
        version="1.0",
        **{
            "started_at": 1.5,
            "sockets": 3,
            "users": 2,
            "events_per_second": 1.0,
            "ready": True,
            "draining": False,
            **values,
        },
    )
    return Status(node=node, every_seconds=every_seconds)


def socket(**values: Any) -> SocketStatus:  # noqa: ANN401
    """Return one socket."""
    return SocketStatus(
        **{
            "client_id": "c1",
            "opened_at": 1.0,
            "address": "10.0.0.1",
            "rooms": ("user:u1",),
            "token_expires_at": None,
            "roles": (),
            "state": "open",
            "outbox_frames": 0,
            "outbox_bytes": 0,
            "dialect": "bridge.v1",
            "compressed": False,
            **values,
        }
    )


def question() -> Question:
    """Return a question of node 1."""
    return Question(question_id=node_id(7), node_id=node_id(1), inbox=node_id(8), user_id="u1")


def answer(number: int, *sockets: SocketStatus) -> Answer:
    """Return a node's answer."""
    return answer_to(question(), status(number).node, sockets)


@pytest.mark.parametrize(
    "message",
    [status(), Farewell(node_id=node_id(1)), question(), answer(1, socket())],
    ids=lambda message: message.kind,
)
def test_what_is_written_is_read(message: Message) -> None:
    """A message of a node is read as it was written, with camelCase names on the way."""
    assert decode(encode(message)) == message
    assert not any("_" in key for key in json.loads(encode(message)))


def test_fields_of_a_newer_version_are_passed_over() -> None:
    """A node that runs a newer version is understood by the older ones."""
    newer = json.loads(encode(status())) | {"mood": "good"}

    assert decode(json.dumps(newer).encode()) == status()


WHOLE = json.loads(encode(status()))


def without(key: str) -> dict[str, Any]:
    """Return a status that lacks something."""
    return {name: value for name, value in WHOLE.items() if name != key}


def with_node(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a status with something else in it."""
    return {**WHOLE, "node": {**WHOLE["node"], **values}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"kind": "order"}',
        json.dumps(without("node")).encode(),
        json.dumps(without("everySeconds")).encode(),
        json.dumps({**WHOLE, "everySeconds": 0}).encode(),
        json.dumps({**WHOLE, "everySeconds": 1e9}).encode(),
        json.dumps(with_node({"id": "../quota"})).encode(),
        json.dumps(with_node({"sockets": "3"})).encode(),
        json.dumps(with_node({"sockets": -1})).encode(),
        json.dumps(with_node({"sockets": 2**53})).encode(),
        json.dumps(with_node({"eventsPerSecond": -1})).encode(),
        json.dumps(with_node({"startedAt": float("nan")})).encode(),
        json.dumps(with_node({"startedAt": -1})).encode(),
        json.dumps(with_node({"startedAt": 1e15})).encode(),
        json.dumps(with_node({"name": "n" * 257})).encode(),
        json.dumps({**json.loads(encode(question())), "inbox": "bridge.quota"}).encode(),
        json.dumps({**json.loads(encode(question())), "userId": "a b"}).encode(),
        b'{"kind": ' + b"[" * 100_000,
        b" " * (MESSAGE_BYTES_MAX + 1),
    ],
)
def test_what_no_node_writes_is_malformed(body: bytes) -> None:
    """Whatever else comes from the exchange is malformed, and nothing but that; it is not quoted."""
    with pytest.raises(MalformedError) as caught:
        decode(body)
    assert "quota" not in str(caught.value)


def test_an_answer_leaves_out_what_does_not_fit() -> None:
    """An answer holds so many sockets as fit, by number and by bytes, and counts the others."""
    large = socket(rooms=tuple(f"room:{number:0>120}" for number in range(200)))

    many = answer(1, *[socket()] * (SOCKETS_PER_ANSWER_MAX + 5))
    heavy = answer(1, *[large] * 20)

    assert (len(many.sockets), many.sockets_left_out) == (SOCKETS_PER_ANSWER_MAX, 5)
    assert 0 < len(heavy.sockets) < 20
    assert len(heavy.sockets) + heavy.sockets_left_out == 20
    assert len(encode(heavy)) <= MESSAGE_BYTES_MAX


def test_nodes_are_told_apart_by_id() -> None:
    """Two nodes of one name are two; their age counts from when they were heard last."""
    nodes = Nodes()
    assert nodes.hear(status(2, name="a"), now=10.0) is Heard.NEW
    assert nodes.hear(status(1, name="a"), now=11.0) is Heard.NEW
    assert nodes.hear(status(2, name="a", sockets=9), now=12.0) is Heard.KNOWN

    seen = [(one.status.id, one.status.sockets, one.seen_seconds_ago) for one in nodes.seen(13.0)]

    assert seen == [(node_id(1), 3, 2.0), (node_id(2), 9, 1.0)]


def test_a_silent_node_is_gone() -> None:
    """A node that misses three statuses is gone; one that speaks less often has more time."""
    nodes = Nodes()
    nodes.hear(status(1), now=0.0)
    nodes.hear(status(2, every_seconds=4.0), now=0.0)

    assert [seen.status.id for seen in nodes.seen(6.9)] == [node_id(1), node_id(2)]
    assert [seen.status.id for seen in nodes.seen(7.0)] == [node_id(2)]
    assert [silent.id for silent in nodes.forget_silent(7.0)] == [node_id(1)]
    assert len(nodes) == 1


def test_a_node_that_says_goodbye_is_gone() -> None:
    """A farewell ends it at once; another one changes nothing."""
    nodes = Nodes()
    nodes.hear(status(1, name="a"), now=0.0)

    left = nodes.forget(node_id(1))

    assert left is not None
    assert left.name == "a"
    assert nodes.forget(node_id(1)) is None
    assert nodes.seen(0.0) == []


def test_a_full_table_keeps_those_it_knows() -> None:
    """A table that is full takes no newcomer, and goes on with the others; with room again it does."""
    nodes = Nodes(nodes_max=2)
    nodes.hear(status(1), now=0.0)
    nodes.hear(status(2), now=1.0)

    assert nodes.hear(status(3), now=2.0) is Heard.NO_ROOM
    assert nodes.hear(status(2), now=2.0) is Heard.KNOWN
    nodes.forget_silent(7.5)
    assert nodes.hear(status(3), now=7.5) is Heard.NEW
    assert len(nodes) == 2


def test_more_nodes_tell_less_often() -> None:
    """However many nodes there are, one hears no more than 25 statuses a second."""
    assert status_seconds(1) == status_seconds(50) == 2.0
    assert status_seconds(200) == 8.0


def test_an_answer_is_complete_when_all_have_answered() -> None:
    """Who answers counts once, those who were not expected as well; who does not is named."""
    asked = Asked({node_id(1): "b", node_id(2): "a"})

    assert not asked.take(answer(1, socket(client_id="first")))
    assert not asked.take(answer(1))
    assert not asked.take(answer(3))
    assert [(one.node_id, one.answered) for one in asked.answers()] == [
        (node_id(2), False),
        (node_id(1), True),
        (node_id(3), True),
    ]
    assert [one.client_id for one in asked.answers()[1].sockets] == ["first"]
    assert asked.take(answer(2))


def test_answers_are_bounded() -> None:
    """No more nodes are heard out than a cluster can have."""
    asked = Asked({}, nodes_max=2)
    for number in range(5):
        asked.take(answer(number))

    assert len(asked.answers()) == 2
