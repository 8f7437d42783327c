"""How long a revocation takes: from the publish until the last socket of the users is closed.

Two nodes share a stream log, and each user has sockets on both. All users are disabled in one go, by
events that reach the nodes as any other does: queue, ingest, log, and every node's reading of it. One
process publishes and holds the sockets, so one clock tells both times. A socket counts as closed when
the client has read the close frame, with its code; the client then answers, and waits for the connection's
end. Other users have sockets on both nodes, too, which have to be open afterwards.
"""

from __future__ import annotations

import json
import select
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import NamedTuple

from pamqp import body, commands, header

from benchmarks.amqp.client import Client as Publisher
from benchmarks.amqp.frames import marshal, new_series
from benchmarks.client import Client
from benchmarks.figures import Bar, Figure, Spread
from benchmarks.load import READ_BYTES, Plan, open_clients
from benchmarks.machine import Cpu
from benchmarks.nodes import Pair, pair
from benchmarks.subject import Options, plan
from benchmarks.wire import MessageReader, client_close, client_frame, close_code, frame_end

SOCKETS, SOCKETS_QUICK = 5_000, 1_000
USERS = 100
OTHERS = 100  # Sockets of other users, on each node.
ROUNDS, ROUNDS_QUICK = 5, 2
BLOCKED = 4403
CLOSED_SECONDS_MAX = 30.0
ANSWER_SECONDS_MAX = 10.0
MILLISECONDS_MAX = 1_000.0
ROUTING_KEY = "user.disabled"


class Taken(NamedTuple):
    """What a round took, in ms. `busy` is how much of a core the client's process used meanwhile."""

    from_first: float
    from_last: float
    until_first: float
    until_ended: float
    busy: float


@dataclass(slots=True)
class Farewells:
    """Reads sockets until every connection has ended, and notes with which code and when each was closed."""

    clients: dict[int, Client]  # By descriptor, those whose connection goes on.
    codes: Counter[int] = field(default_factory=Counter)
    closed_at: list[float] = field(default_factory=list)  # When each close frame was read.
    ended_at: list[float] = field(default_factory=list)
    unread: dict[int, bytes] = field(default_factory=dict)  # Less than a frame.

    def wait(self, epoll: select.epoll, seconds_max: float) -> None:
        """Read until all have ended, or time is over."""
        deadline = time.monotonic() + seconds_max
        while self.clients and (left := deadline - time.monotonic()) > 0:
            for fd, _ in epoll.poll(left):
                if not self._read(fd):
                    self.ended_at.append(time.monotonic())
                    epoll.unregister(fd)
                    self.clients.pop(fd).sock.close()

    def _read(self, fd: int) -> bool:
        """Take what has come on one socket; return whether the connection goes on."""
        sock = self.clients[fd].sock
        try:
            data = sock.recv(READ_BYTES)
        except ConnectionError:
            return False
        if not data:
            return False
        data, position = self.unread.pop(fd, b"") + data, 0
        while (end := frame_end(data, position, len(data))) and end <= len(data):
            code = close_code(data, position, end)
            if code is not None:
                self.codes[code] += 1
                self.closed_at.append(time.monotonic())
                sock.send(client_close(code))
            position = end
        self.unread[fd] = data[position:]
        return True


def run(options: Options) -> list[Figure]:
    """Measure revocation. Raises ChildError, OpenFailedError, or DevelError without a broker."""
    sockets = SOCKETS_QUICK if options.quick else SOCKETS
    with pair(options) as nodes, Publisher(nodes.bus.url) as publisher:
        _round(nodes, publisher, sockets // 10, "first")  # Warm up.
        rounds = [
            _round(nodes, publisher, sockets, f"r{number}")
            for number in range(options.rounds(ROUNDS, ROUNDS_QUICK))
        ]
    options.notes.append(
        f"Each round: {sockets:,} sockets of {USERS} users on two nodes, all closed with {BLOCKED}, and "
        f"{2 * OTHERS} sockets of others, all open and answering afterwards. The client's process used "
        f"{max(taken.busy for taken in rounds):.0%} of a core at most."
    )
    from_first, from_last, until_first, until_ended, _ = (
        list(values) for values in zip(*rounds, strict=True)
    )
    return [
        Figure(
            f"{sockets:,} sockets of disabled users, first publish to last close",
            "ms",
            Spread.of(from_first),
            bar=Bar(MILLISECONDS_MAX, "value"),
            details={"rounds": from_first, "users": USERS},
        ),
        Figure("the same, last publish to last close", "ms", Spread.of(from_last)),
        Figure("the same, first publish to first close", "ms", Spread.of(until_first)),
        Figure("the same, first publish to the last connection's end", "ms", Spread.of(until_ended)),
    ]


def _round(nodes: Pair, publisher: Publisher, sockets: int, name: str) -> Taken:
    """Open all sockets, disable their users, and see that these and no others are closed."""
    ports = (nodes.first.port, nodes.second.port)
    leaving = _opened(replace(plan(port, sockets // 2, user=_user(name)), users=USERS) for port in ports)
    staying = _opened(plan(port, OTHERS, user=f"{name}-other-{{index}}") for port in ports)
    farewells = Farewells({client.sock.fileno(): client for client in leaving})
    events = _events(nodes.bus.exchange, [_user(name).format(index=index) for index in range(USERS)])
    with select.epoll() as epoll:
        for fd in farewells.clients:
            epoll.register(fd, select.EPOLLIN)
        first_at, before = time.monotonic(), Cpu.now()
        assert publisher.offer(events), "so few events fit any send buffer"
        last_at = time.monotonic()
        farewells.wait(epoll, CLOSED_SECONDS_MAX)
    seconds = time.monotonic() - first_at
    busy = sum(Cpu.now().since(before)) / seconds
    publisher.fill(())  # Wait for what the broker has to say.
    closed = dict(farewells.codes)
    assert closed == {BLOCKED: len(leaving)}, f"of {len(leaving)} sockets were closed {closed}"
    assert len(farewells.ended_at) == len(leaving), f"{len(farewells.clients)} connections go on"
    _are_open(staying)
    return Taken(
        (farewells.closed_at[-1] - first_at) * 1e3,
        (farewells.closed_at[-1] - last_at) * 1e3,
        (farewells.closed_at[0] - first_at) * 1e3,
        (farewells.ended_at[-1] - first_at) * 1e3,
        busy,
    )


def _user(name: str) -> str:
    """Return the name of a round's users, as `load.Plan` writes them."""
    return f"{name}-{{index}}"


def _opened(plans: Iterable[Plan]) -> list[Client]:
    return list(chain.from_iterable(map(open_clients, plans)))


def _events(exchange: str, users: Sequence[str]) -> list[bytes]:
    """Return the frames that publish one event for each user."""
    method = marshal(commands.Basic.Publish(exchange=exchange, routing_key=ROUTING_KEY))
    events = []
    for user in users:
        text = json.dumps({"userId": user, "timestamp": datetime.now(UTC).isoformat()}).encode()
        properties = commands.Basic.Properties(
            content_type="application/json", delivery_mode=2, message_id=new_series()
        )
        content = header.ContentHeader(body_size=len(text), properties=properties)
        events.append(b"".join((method, marshal(content), marshal(body.ContentBody(text)))))
    return events


def _are_open(clients: Sequence[Client]) -> None:
    """See that every socket still answers, and close it."""
    for client in clients:
        client.sock.settimeout(ANSWER_SECONDS_MAX)
        client.sock.sendall(client_frame(b'{"op":"ping"}'))
        reader, answers = MessageReader(), list[bytes]()
        while not answers:  # The server's own pings come in between.
            data = client.sock.recv(READ_BYTES)
            assert data, "another user's socket is gone"
            answers += reader.feed(data)
        assert [json.loads(answer)["type"] for answer in answers] == ["pong"], f"it answers {answers}"
        client.sock.close()
