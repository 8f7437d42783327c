"""What the nodes of one cluster tell each other: how they are, and which sockets a user has on each.

    every 2 s      Status ──► all nodes ──► Nodes, a table that forgets who is silent
    on the way out Farewell ──► all nodes
    now and then   Question ──► all nodes, each ──► Answer ──► who asked

Nothing rests on this: no event, no revocation. It is for people who look at a cluster. Ages are
counted from when a status came in, by the clock of whoever got it, so that clocks may differ. Nodes
are told apart by an id that each draws at its start; names are for people, and may be the same.

What comes from others is read strictly, except that fields not known yet are passed over: nodes of two
versions run beside each other while a cluster is updated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MESSAGE_BYTES_MAX = 262_144  # Of one message between nodes; a longer answer is cut.
NODES_MAX = 500
SOCKETS_PER_ANSWER_MAX = 100
ROOMS_PER_SOCKET_MAX = 1_000
SILENT_SECONDS_MAX = 7.0  # Three statuses, and some.

NodeId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Text = Annotated[str, Field(max_length=256)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]


class MalformedError(Exception):
    """What came from the exchange is no message of a node."""


class _Message(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


class NodeStatus(_Message):
    """How one node is, by its own account. Times are in seconds since the Unix epoch, by its clock."""

    id: NodeId
    name: Text
    version: Text
    started_at: Seconds
    sockets: Count
    users: Count
    events_per_second: Seconds
    ready: bool
    draining: bool
    workers: Count | None = None


class SocketStatus(_Message):
    """One socket of a user. Times are in seconds since the Unix epoch, by the clock of its node."""

    client_id: Text
    opened_at: Seconds
    address: Text
    rooms: Annotated[tuple[Text, ...], Field(max_length=ROOMS_PER_SOCKET_MAX)]
    token_expires_at: Seconds | None
    roles: Annotated[tuple[Text, ...], Field(max_length=ROOMS_PER_SOCKET_MAX)]
    state: Text
    outbox_frames: Count
    outbox_bytes: Count
    dialect: Text
    compressed: bool


class Status(_Message):
    """Says how the sender is."""

    kind: Literal["status"] = "status"
    node: NodeStatus


class Farewell(_Message):
    """Says that the sender is leaving, and need not be missed."""

    kind: Literal["farewell"] = "farewell"
    node_id: NodeId


class Question(_Message):
    """Asks every node for the sockets of a user. `inbox` names the asker's queue, see `NodesQueue`."""

    kind: Literal["question"] = "question"
    question_id: NodeId
    node_id: NodeId
    inbox: Text
    user_id: Text


class Answer(_Message):
    """Answers a question. So many sockets as fit are in it; the others are counted."""

    kind: Literal["answer"] = "answer"
    question_id: NodeId
    node_id: NodeId
    name: Text
    sockets: Annotated[tuple[SocketStatus, ...], Field(max_length=SOCKETS_PER_ANSWER_MAX)]
    sockets_left_out: Count


Message = Status | Farewell | Question | Answer


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node of the cluster, and how long ago its status came in."""

    status: NodeStatus
    seen_seconds_ago: float
    own: bool = False  # Whether it is this very node.


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What one node said of a user's sockets; `answered` is False if it said nothing in time."""

    node_id: str
    name: str
    answered: bool
    sockets: Sequence[SocketStatus] = ()
    sockets_left_out: int = 0
    own: bool = False
