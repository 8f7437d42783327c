"""What the nodes of one cluster tell each other: how they are, and which sockets a user has on each.

    every 2 s       Status ────► all nodes ──► Nodes, a table that forgets who is silent
    on the way out  Farewell ──► all nodes
    now and then    Question ──► all nodes ──► an Answer each, to who asked

Nothing rests on this, no event and no revocation: it is for people who look at a cluster. Ages are
counted from when a status came in, by the clock of whoever got it, so clocks may differ. Nodes are told
apart by an id that each draws at its start; names are for people, and may be the same.

What others say is read strictly, except that fields not known yet are passed over: while a cluster is
updated, nodes of two versions run beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from bridge.core.rooms import ROOM_ID_PATTERN

MESSAGE_BYTES_MAX = 262_144  # Of one message between nodes; an answer leaves out what does not fit.
MESSAGE_FRAME_BYTES_MAX = 4_096  # Of an answer without its sockets.
NODES_MAX = 200
SOCKETS_PER_ANSWER_MAX = 100
STATUS_SECONDS = 2.0
STATUSES_PER_SECOND_MAX = 25  # From all nodes together; more nodes tell of themselves less often.
TIME_MAX = 253_402_300_799.0  # The end of the year 9999: what is later cannot be written as a date.
STATUSES_MISSED_MAX = 3.5  # After so many a silent node counts as gone.

NodeId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
UserId = Annotated[str, Field(pattern=ROOM_ID_PATTERN)]
Text = Annotated[str, Field(max_length=256)]
Texts = Annotated[tuple[Text, ...], Field(max_length=1_000)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]  # Exact in a browser.
Time = Annotated[float, Field(ge=0, le=TIME_MAX)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class MalformedError(Exception):
    """What came is no message of a node."""


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


class NodeStatus(_Part):
    """How one node is, by its own account. Times are in seconds since the Unix epoch, by its clock."""

    id: NodeId
    name: Text
    version: Text
    started_at: Time
    sockets: Count
    users: Count
    events_per_second: Rate
    ready: bool
    draining: bool


class SocketStatus(_Part):
    """One socket of a user. Times are in seconds since the Unix epoch, by the clock of its node."""

    client_id: Text
    opened_at: Time
    address: Text
    rooms: Texts
    token_expires_at: Time | None
    roles: Texts
    state: Text
    outbox_frames: Count
    outbox_bytes: Count
    dialect: Text
    compressed: bool


class Status(_Part):
    """Says how the sender is, and when it will say so again."""

    kind: Literal["status"] = "status"
    node: NodeStatus
    every_seconds: Annotated[float, Field(ge=0.1, le=60.0)]


class Farewell(_Part):
    """Says that the sender leaves, and is not to be missed."""

    kind: Literal["farewell"] = "farewell"
    node_id: NodeId


class Question(_Part):
    """Asks every node for the sockets of a user. `inbox` is where the answers go."""

    kind: Literal["question"] = "question"
    question_id: NodeId
    node_id: NodeId
    inbox: NodeId
    user_id: UserId


class Answer(_Part):
    """Answers a question. So many sockets as fit are in it; the others are counted."""

    kind: Literal["answer"] = "answer"
    question_id: NodeId
    node_id: NodeId
    name: Text
    sockets: Annotated[tuple[SocketStatus, ...], Field(max_length=SOCKETS_PER_ANSWER_MAX)]
    sockets_left_out: Count


Message = Status | Farewell | Question | Answer
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def encode(message: Message) -> bytes:
    """Write a message."""
    return message.model_dump_json(by_alias=True).encode()


def decode(body: bytes) -> Message:
    """Read a message.

    Raises:
        MalformedError: it is too large, or none that `encode` wrote.
    """
    if len(body) > MESSAGE_BYTES_MAX:
        raise MalformedError(f"it has {len(body)} bytes, and {MESSAGE_BYTES_MAX} at most are read")
    try:
        return _MESSAGE.validate_json(body)
    except ValidationError as exc:
        where = ".".join(map(str, exc.errors(include_input=False)[0]["loc"]))
        raise MalformedError(f"it is none of ours{f': {where}' if where else ''}") from exc


def answer_to(question: Question, node: NodeStatus, sockets: Sequence[SocketStatus]) -> Answer:
    """Return the answer to a question, with so many of the sockets as fit."""
    bytes_left, fit = MESSAGE_BYTES_MAX - MESSAGE_FRAME_BYTES_MAX, 0
    for socket in sockets[:SOCKETS_PER_ANSWER_MAX]:
        bytes_left -= len(socket.model_dump_json(by_alias=True).encode()) + 1
        if bytes_left < 0:
            break
        fit += 1
    return Answer(
        question_id=question.question_id,
        node_id=node.id,
        name=node.name,
        sockets=tuple(sockets[:fit]),
        sockets_left_out=len(sockets) - fit,
    )


def status_seconds(nodes: int) -> float:
    """Return how often each of so many nodes is to tell of itself."""
    return max(STATUS_SECONDS, nodes / STATUSES_PER_SECOND_MAX)


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node of the cluster, and how long ago its status came in."""

    status: NodeStatus
    seen_seconds_ago: float
    own: bool = False  # Whether it is this very node.


class Heard(Enum):
    """What a status is to the table."""

    NEW = "new"
    KNOWN = "known"
    NO_ROOM = "no room"


@dataclass(slots=True)
class _Row:
    status: NodeStatus
    seen_at: float
    silent_at: float


class Nodes:
    """The other nodes that have told of themselves lately. Times are of one clock that never goes back."""

    def __init__(self, *, nodes_max: int = NODES_MAX) -> None:
        """Know nobody yet, and never more than `nodes_max`."""
        self._nodes_max = nodes_max
        self._rows: dict[str, _Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def hear(self, status: Status, now: float) -> Heard:
        """Take what a node says of itself. When the table is full a newcomer is not taken in.

        Those who are in it stay, or a flood of made-up nodes would drive out the real ones.
        """
        known = status.node.id in self._rows
        if not known and len(self._rows) >= self._nodes_max:
            return Heard.NO_ROOM
        silent_at = now + STATUSES_MISSED_MAX * status.every_seconds
        self._rows[status.node.id] = _Row(status.node, now, silent_at)
        return Heard.KNOWN if known else Heard.NEW

    def forget(self, node_id: str) -> NodeStatus | None:
        """Drop a node that leaves; return what it said last, None if it was not known."""
        row = self._rows.pop(node_id, None)
        return row.status if row else None

    def forget_silent(self, now: float) -> list[NodeStatus]:
        """Drop the nodes that have missed too many statuses; return what they said last."""
        silent = [row.status for row in self._rows.values() if now >= row.silent_at]
        for status in silent:
            del self._rows[status.id]
        return silent

    def seen(self, now: float) -> list[NodeSeen]:
        """Return those who are not silent, by name and id."""
        rows = sorted(self._rows.values(), key=lambda row: (row.status.name, row.status.id))
        return [NodeSeen(row.status, max(0.0, now - row.seen_at)) for row in rows if now < row.silent_at]


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What one node said of a user's sockets; `answered` is False if it said nothing in time."""

    node_id: str
    name: str
    answered: bool
    sockets: Sequence[SocketStatus] = ()
    sockets_left_out: int = 0
    own: bool = False  # Whether it is this very node.


@dataclass(slots=True)
class Asked:
    """A question on its way: who is to answer, by id and name, and who has."""

    names: Mapping[str, str]
    nodes_max: int = NODES_MAX
    _answers: dict[str, Answer] = field(default_factory=dict)

    def take(self, answer: Answer) -> bool:
        """Take an answer, the first of each node; tell whether all have answered who were to.

        One that was not known when the question was asked may have answered, too.
        """
        if len(self._answers) < self.nodes_max:
            self._answers.setdefault(answer.node_id, answer)
        return self._answers.keys() >= self.names.keys()

    def answers(self) -> list[NodeAnswer]:
        """Return what each node said, by name and id."""
        silent = [
            NodeAnswer(node_id, name, answered=False)
            for node_id, name in self.names.items()
            if node_id not in self._answers
        ]
        said = [
            NodeAnswer(
                node_id,
                answer.name,
                answered=True,
                sockets=answer.sockets,
                sockets_left_out=answer.sockets_left_out,
            )
            for node_id, answer in self._answers.items()
        ]
        return sorted((*said, *silent), key=lambda answer: (answer.name, answer.node_id))
