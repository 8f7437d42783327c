"""The load generator: many WebSocket clients in one process of their own, reading and counting.

    python -m benchmarks.load '{"host": …}'   the fields of `Plan`

It prints a line when every socket has been greeted, then answers questions (see `counting`). Raw
sockets under one edge-triggered epoll: about 2 µs of CPU per frame, so that it is not what is measured.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jwt

from benchmarks.client import Client, OpenFailedError
from benchmarks.counting import READ_BYTES, Counting, SlowReading, say
from benchmarks.machine import Cpu, allow_files
from benchmarks.peers.openings import OPENINGS, Opening, greeted
from benchmarks.wire import upgrade

__all__ = ["OPEN_SECONDS_MAX", "READ_BYTES", "Client", "OpenFailedError", "Plan", "open_clients"]

HANDSHAKES_MAX = 100  # At a time: well below any listen backlog.
OPEN_SECONDS_MAX = 60.0
SOURCES_MAX = 200
FILES_SPARE = 64
IP_BIND_ADDRESS_NO_PORT = 24  # ip(7): choose the port at connect, when source and target are known.
TOKEN_SECONDS = 3_600
RECEIVE_BUFFER_BYTES = 1  # The kernel takes its minimum instead, 2,304 bytes.


@dataclass(frozen=True, slots=True)
class Plan:
    """What to open. `{index}` in `path` and `user` is the number of the socket.

    With `users` the sockets are those of so many users, in turns, and `{index}` in `user` is the user's.
    `rooms` is the token's rooms claim; without a `secret` there is no token. `greetings` is how many
    data frames a socket gets before it counts as open, unless `opening` names another way in.
    `deflate` offers compression. `watched` keeps the time at which each event came. Sockets with a
    `read_bytes_per_second` take no more than that, through a receive buffer as small as can be.
    """

    host: str
    port: int
    sockets: int
    path: str
    secret: str = ""
    user: str = "load-{index}"
    users: int | None = None
    rooms: tuple[str, ...] = ()
    greetings: int = 1
    opening: str = ""
    deflate: bool = False
    watched: bool = False
    read_bytes_per_second: int | None = None

    def request(self, index: int) -> bytes:
        """Return the upgrade request of a socket, with a token of its own (HS256)."""
        token = ""
        if self.secret:
            user = self.user.format(index=index % self.users if self.users else index)
            claims = {"sub": user, "exp": int(time.time()) + TOKEN_SECONDS, "rooms": list(self.rooms)}
            token = jwt.encode(claims, self.secret, algorithm="HS256")
        return upgrade(
            self.host,
            self.path.format(index=index),
            token,
            subprotocol=self.way_in.subprotocol,
            deflate=self.deflate,
        )

    def requests(self) -> list[bytes]:
        """Return the upgrade requests of all sockets. Signing their tokens takes a while."""
        return [self.request(index) for index in range(self.sockets)]

    @property
    def way_in(self) -> Opening:
        """How a socket gets from the upgrade to its events."""
        return OPENINGS[self.opening] if self.opening else greeted(self.greetings)

    def as_json(self) -> dict[str, Any]:
        """Return plain data for a command line."""
        return asdict(self)


def _sources() -> Iterator[str]:
    yield from (f"127.0.0.{last}" for last in range(1, 1 + SOURCES_MAX))


def open_clients(
    plan: Plan, seconds_max: float = OPEN_SECONDS_MAX, *, requests: Sequence[bytes] | None = None
) -> list[Client]:
    """Open every socket of a plan and wait until each was greeted.

    `requests` are the plan's, if they are there already.

    Raises:
        OpenFailedError: not all could be opened in time.
    """
    if plan.sockets + FILES_SPARE > allow_files():
        raise OpenFailedError(f"{plan.sockets} sockets are more than this process may open (ulimit -n)")
    if requests is None:
        requests = plan.requests()
    deadline = time.monotonic() + seconds_max
    sources = _sources()
    source = next(sources)
    opening, buffer_bytes = plan.way_in, None if plan.read_bytes_per_second is None else RECEIVE_BUFFER_BYTES
    opened: list[Client] = []
    waiting: dict[int, Client] = {}
    buffer = bytearray(READ_BYTES)
    with select.epoll() as epoll:
        while len(opened) < plan.sockets:
            while len(waiting) < HANDSHAKES_MAX and len(opened) + len(waiting) < plan.sockets:
                request = requests[len(opened) + len(waiting)]
                while (sock := _connect(source, plan.host, plan.port, buffer_bytes)) is None:
                    source = next(sources)  # All of its ports to this server are in use.
                waiting[sock.fileno()] = Client(sock, request, opening)
                epoll.register(sock, select.EPOLLOUT)
            ready = epoll.poll(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise OpenFailedError(f"{len(opened)} of {plan.sockets} sockets open after {seconds_max:g} s")
            for fd, _ in ready:
                client = waiting[fd]
                if _advance(client, epoll, buffer) and client.open:
                    epoll.unregister(fd)
                    opened.append(waiting.pop(fd))
    return opened


def _connect(source: str, host: str, port: int, buffer_bytes: int | None) -> socket.socket | None:
    """Begin to connect from a source address; None when it has no port left."""
    sock = socket.socket()
    sock.settimeout(0)
    if buffer_bytes is not None:  # Before the connection is made: it decides the window (tcp(7)).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((source, 0))
    status = sock.connect_ex((host, port))
    if status in (0, errno.EINPROGRESS):
        return sock
    sock.close()
    if status == errno.EADDRNOTAVAIL:
        return None
    raise OpenFailedError(f"connecting from {source}: {os.strerror(status)}")


def _advance(client: Client, epoll: select.epoll, buffer: bytearray) -> bool:
    """Go on with a handshake; return whether it has got to reading."""
    if client.request:
        status = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            raise OpenFailedError(f"connecting: {os.strerror(status)}")
        sent = client.sock.send(client.request)
        assert sent == len(client.request), "an upgrade request fits any send buffer"
        client.request = b""
        epoll.modify(client.sock, select.EPOLLIN)
        return False
    if not client.read(buffer):
        raise OpenFailedError("the server closed a socket during the handshake")
    return True


def main() -> None:
    """Open the sockets, then count."""
    plan = Plan(**json.loads(sys.argv[1]))
    requests = plan.requests()  # Before time counts: tokens are signed.
    began, before = time.monotonic(), Cpu.now()
    try:
        clients = open_clients(plan, requests=requests)
    except OpenFailedError as exc:
        say(error=str(exc))
        return
    seconds = time.monotonic() - began
    say(
        sockets=len(clients),
        frames=sum(client.frames for client in clients),
        deflate=sum(client.deflate for client in clients),
        seconds=seconds,
        busy=sum(Cpu.now().since(before)) / seconds,
    )
    if plan.read_bytes_per_second is not None:
        SlowReading(clients, plan.read_bytes_per_second).run()
    else:
        Counting(clients, watched=plan.watched).run()


if __name__ == "__main__":
    main()
