"""The load generator: many WebSocket clients in one process of their own, reading and counting.

    python -m benchmarks.load '{"host": …}'   the fields of `Plan`

It prints a line when every socket has been greeted, then answers each line `{"frames": n,
"seconds": s}` as soon as `n` data frames have arrived in all, or `s` seconds are over. Raw sockets
under one edge-triggered epoll: about 2 µs of CPU per frame, so that it is not what is measured.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import jwt

from benchmarks.machine import Cpu, allow_files
from benchmarks.wire import HEAD_END, SWITCHING, FrameCounter, upgrade

HANDSHAKES_MAX = 100  # At a time: well below any listen backlog.
OPEN_SECONDS_MAX = 60.0
SOURCES_MAX = 200
FILES_SPARE = 64
READ_BYTES = 262_144
IP_BIND_ADDRESS_NO_PORT = 24  # ip(7): choose the port at connect, when source and target are known.
TOKEN_SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class Plan:
    """What to open. `{index}` in `path` and `user` is the number of the socket.

    `greetings` is how many data frames a socket gets before it counts as open. `rooms` is the
    token's rooms claim.
    """

    host: str
    port: int
    sockets: int
    path: str
    secret: str
    user: str = "load-{index}"
    rooms: tuple[str, ...] = ()
    greetings: int = 1

    def request(self, index: int) -> bytes:
        """Return the upgrade request of a socket, with a token of its own (HS256)."""
        user = self.user.format(index=index)
        claims = {"sub": user, "exp": int(time.time()) + TOKEN_SECONDS, "rooms": list(self.rooms)}
        token = jwt.encode(claims, self.secret, algorithm="HS256")
        return upgrade(self.host, self.path.format(index=index), token)

    def as_json(self) -> dict[str, Any]:
        """Return plain data for a command line."""
        return asdict(self)


class OpenFailedError(Exception):
    """A socket could not be opened."""


class Client:
    """One socket: connecting, then upgrading, then counting."""

    __slots__ = ("_head", "_head_read", "counter", "frames", "received", "request", "sock")

    def __init__(self, sock: socket.socket, request: bytes) -> None:
        self.sock = sock
        self.request = request  # Empty once it has been sent.
        self.received = 0
        self.frames = 0
        self.counter = FrameCounter()
        self._head = b""
        self._head_read = False

    def read(self, buffer: bytearray) -> bool:
        """Take what has arrived; return whether the server is still there."""
        while True:
            try:
                size = self.sock.recv_into(buffer)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not size:
                return False
            if self._head_read:
                self.received += size
                self.frames += self.counter.feed(buffer, size)
            else:
                self._read_head(bytes(buffer[:size]))
            if size < len(buffer):
                return True

    def _read_head(self, data: bytes) -> None:
        head, end, rest = (self._head + data).partition(HEAD_END)
        self._head = head
        if not end:
            return
        if not head.startswith(SWITCHING):
            raise OpenFailedError(f"the server answers {(head + HEAD_END + rest)[:300]!r}")
        self._head, self._head_read = b"", True
        self.received = len(rest)
        self.frames = self.counter.feed(rest, len(rest))


def _sources() -> Iterator[str]:
    yield from (f"127.0.0.{last}" for last in range(1, 1 + SOURCES_MAX))


def open_clients(plan: Plan, seconds_max: float = OPEN_SECONDS_MAX) -> list[Client]:
    """Open every socket of a plan and wait until each was greeted.

    Raises:
        OpenFailedError: not all could be opened in time.
    """
    if plan.sockets + FILES_SPARE > allow_files():
        raise OpenFailedError(f"{plan.sockets} sockets are more than this process may open (ulimit -n)")
    deadline = time.monotonic() + seconds_max
    sources = _sources()
    source = next(sources)
    opened: list[Client] = []
    waiting: dict[int, Client] = {}
    buffer = bytearray(READ_BYTES)
    with select.epoll() as epoll:
        while len(opened) < plan.sockets:
            while len(waiting) < HANDSHAKES_MAX and len(opened) + len(waiting) < plan.sockets:
                request = plan.request(len(opened) + len(waiting))
                while (sock := _connect(source, plan.host, plan.port)) is None:
                    source = next(sources)  # All of its ports to this server are in use.
                waiting[sock.fileno()] = Client(sock, request)
                epoll.register(sock, select.EPOLLOUT)
            ready = epoll.poll(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise OpenFailedError(f"{len(opened)} of {plan.sockets} sockets open after {seconds_max:g} s")
            for fd, _ in ready:
                client = waiting[fd]
                if _advance(client, epoll, buffer) and client.frames >= plan.greetings:
                    epoll.unregister(fd)
                    opened.append(waiting.pop(fd))
    return opened


def _connect(source: str, host: str, port: int) -> socket.socket | None:
    """Begin to connect from a source address; None when it has no port left."""
    sock = socket.socket()
    sock.settimeout(0)
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


class Counting:
    """Reads from all sockets for as long as standard input is open, and answers what it is asked."""

    def __init__(self, clients: list[Client]) -> None:
        """Take over open sockets."""
        self._clients = {client.sock.fileno(): client for client in clients}
        self._frames = sum(client.frames for client in clients)
        self._gone = 0
        self._last_frame_at = time.monotonic()
        self._wanted: int | None = None  # Set while a question waits for its answer.
        self._deadline = 0.0
        self._questions = b""

    def run(self) -> None:
        """Work until the end of standard input."""
        commands = sys.stdin.fileno()
        clients, buffer = self._clients, bytearray(READ_BYTES)
        with select.epoll() as epoll:
            epoll.register(commands, select.EPOLLIN)
            for fd in clients:
                epoll.register(fd, select.EPOLLIN | select.EPOLLET)
            while True:
                wait_seconds = None if self._wanted is None else max(0.0, self._deadline - time.monotonic())
                frames_before = self._frames
                for fd, _ in epoll.poll(wait_seconds):
                    if fd == commands:
                        if not self._read_questions(commands):
                            return
                        continue
                    client = clients[fd]
                    self._frames -= client.frames
                    if not client.read(buffer):
                        epoll.unregister(fd)
                        self._gone += 1
                    self._frames += client.frames
                if self._frames != frames_before:
                    self._last_frame_at = time.monotonic()
                self._answer()

    def _read_questions(self, commands: int) -> bool:
        data = os.read(commands, READ_BYTES)
        self._questions += data
        while b"\n" in self._questions:
            line, _, self._questions = self._questions.partition(b"\n")
            question = json.loads(line)
            self._wanted = int(question["frames"])
            self._deadline = time.monotonic() + float(question["seconds"])
        return bool(data)

    def _answer(self) -> None:
        if self._wanted is None or (self._frames < self._wanted and time.monotonic() < self._deadline):
            return
        self._wanted = None
        _say(
            frames=self._frames,
            bytes=sum(client.received for client in self._clients.values()),
            gone=self._gone,
            last_frame_at=self._last_frame_at,
            cpu_seconds=sum(Cpu.now()),
        )


def _say(**answer: object) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Open the sockets, then count."""
    plan = Plan(**json.loads(sys.argv[1]))
    began = time.monotonic()
    try:
        clients = open_clients(plan)
    except OpenFailedError as exc:
        _say(error=str(exc))
        return
    counting = Counting(clients)
    _say(
        sockets=len(clients),
        frames=sum(client.frames for client in clients),
        seconds=time.monotonic() - began,
    )
    counting.run()


if __name__ == "__main__":
    main()
