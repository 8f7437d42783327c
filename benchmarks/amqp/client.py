"""One connection to a broker for a process that has nothing else to do: blocking, or led by an epoll.

It has one channel, with confirms. Sources: AMQP 0-9-1, section 4.2; https://www.rabbitmq.com/docs/confirms.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import unquote, urlsplit

from pamqp import base, commands, frame, header
from pamqp.common import FieldTable

from benchmarks.amqp.frames import BODY, CHANNEL, HEAD_BYTES, METHOD, Confirms, FrameReader, marshal

READ_BYTES = 262_144
WAIT_SECONDS_MAX = 30.0
WRITE_FRAMES = 64  # Joined into one write while a queue is filled: about 20 KB.
UNCONFIRMED_MAX = 10_000
CONNECT_SECONDS_MAX = 10.0
_DELIVER = b"\x00\x3c\x00\x3c"  # Class and method: basic.deliver, too many to be looked at.

M = TypeVar("M", bound=base.Frame)


class BrokerError(Exception):
    """The broker closed the connection or the channel, refused an event, or said nothing for long."""


class Client:
    """A connection. `unconfirmed` is how many events the broker has not confirmed yet."""

    def __init__(self, url: str) -> None:
        """Connect.

        Raises:
            OSError, BrokerError: that is not possible.
        """
        parts = urlsplit(url)
        if parts.scheme != "amqp":
            raise BrokerError(f"the bench publishes over plain amqp://, not {parts.scheme}://")
        self.sock = socket.create_connection(
            (parts.hostname or "127.0.0.1", parts.port or 5672), CONNECT_SECONDS_MAX
        )
        self.sock.settimeout(WAIT_SECONDS_MAX)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = FrameReader()
        self._methods: deque[base.Frame] = deque()  # Read while something else was waited for.
        self._sent = 0
        self._confirms = Confirms()
        self._acking = False
        self._taken = 0  # Deliveries that were acked.
        self._unsent = bytearray()  # Bounded by what whoever offers has built.
        self._open(unquote(parts.username or "guest"), unquote(parts.password or "guest"), parts.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    @property
    def unconfirmed(self) -> int:
        """How many events were published and not confirmed."""
        return self._sent - self._confirms.count

    def declare(self, queue: str) -> None:
        """Have a durable quorum queue."""
        arguments: FieldTable = {"x-queue-type": "quorum"}
        self._send(commands.Queue.Declare(queue=queue, durable=True, arguments=arguments))
        self._await(commands.Queue.DeclareOk)

    def consume(self, queue: str, *, prefetch: int = 0) -> None:
        """Have all that is in a queue sent: with a `prefetch` so many until `take` has acked them."""
        self._acking = prefetch > 0
        if self._acking:
            self._send(commands.Basic.Qos(prefetch_count=prefetch))
            self._await(commands.Basic.QosOk)
        self._send(commands.Basic.Consume(queue=queue, no_ack=not self._acking, consumer_tag="bench"))

    def fill(self, events: Iterable[bytes]) -> int:
        """Publish events and wait until each is confirmed; return how many.

        Raises:
            BrokerError: one was refused, or the confirmations did not come.
        """
        before = self._sent
        waiting: list[bytes] = []
        for event in events:
            waiting.append(event)
            if len(waiting) == WRITE_FRAMES:
                self._write(waiting)
                waiting = []
                while self.unconfirmed > UNCONFIRMED_MAX:
                    self._receive()
        self._write(waiting)
        while self.unconfirmed:
            self._receive()
        return self._sent - before

    def offer(self, events: list[bytes]) -> bool:
        """Publish without waiting; return whether the kernel took it all. Else call `flush` when writable."""
        self._sent += len(events)
        self._unsent += b"".join(events)
        return self.flush()

    def flush(self) -> bool:
        """Write what is not yet written, as far as that goes; return whether nothing is left."""
        if self._unsent:
            try:
                del self._unsent[: self.sock.send(self._unsent, socket.MSG_DONTWAIT)]
            except BlockingIOError:
                return False
        return not self._unsent

    def take(self) -> list[bytes]:
        """Read once what has come, without waiting; return the bodies of deliveries.

        With a prefetch it acks them at once; so nothing may be `offer`ed on the same connection.
        """
        try:
            bodies = self._receive(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        if bodies and self._acking:
            self._taken += len(bodies)  # Tags count from 1.
            self._send(commands.Basic.Ack(self._taken, multiple=True))
        return bodies

    def record(self, events: int) -> bytes:
        """Read so many deliveries and return all bytes that came, as they came."""
        tape, bodies = bytearray(), 0
        while bodies < events:
            data = self._read()
            tape += data
            bodies += len(self._take_apart(data))
        return bytes(tape)

    def _write(self, events: list[bytes]) -> None:
        self._sent += len(events)
        self.sock.sendall(b"".join(events))

    def _receive(self, flags: int = 0) -> list[bytes]:
        return self._take_apart(self._read(flags))

    def _read(self, flags: int = 0) -> bytes:
        try:
            data = self.sock.recv(READ_BYTES, flags)
        except TimeoutError as exc:
            raise BrokerError(f"the broker said nothing for {WAIT_SECONDS_MAX:g} s") from exc
        if not data:
            raise BrokerError("the broker closed the connection")
        return data

    def _take_apart(self, data: bytes) -> list[bytes]:
        """Count confirmations, keep other methods, and return the bodies of deliveries."""
        bodies = []
        for kind, whole in self._reader.feed(data):
            if kind == BODY:
                bodies.append(whole)
            elif kind == METHOD:
                self._take_method(whole)
        return bodies

    def _take_method(self, whole: bytes) -> None:
        if whole.startswith(_DELIVER, HEAD_BYTES):
            return
        _, _, method = frame.unmarshal(whole)
        match method:
            case commands.Basic.Ack():
                self._confirms.note(method.delivery_tag or 0, multiple=bool(method.multiple))
            case commands.Basic.Nack():
                raise BrokerError("the broker refused an event")
            case commands.Channel.Close() | commands.Connection.Close():
                raise BrokerError(f"the broker closed: {method.reply_code} {method.reply_text}")
            case base.Frame():
                self._methods.append(method)

    def _open(self, user: str, password: str, path: str) -> None:
        """Shake hands (section 4.2.2), without heartbeats: this process is not always there to answer."""
        self.sock.sendall(header.ProtocolHeader().marshal())
        self._await(commands.Connection.Start)
        response = f"\0{user}\0{password}"
        self._send(commands.Connection.StartOk({}, "PLAIN", response, "en_US"), channel=0)
        tune = self._await(commands.Connection.Tune)
        self._send(commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0), channel=0)
        self._send(commands.Connection.Open(unquote(path.removeprefix("/")) or "/"), channel=0)
        self._await(commands.Connection.OpenOk)
        for request, answer in (
            (commands.Channel.Open(), commands.Channel.OpenOk),
            (commands.Confirm.Select(), commands.Confirm.SelectOk),
        ):
            self._send(request)
            self._await(answer)

    def _send(self, method: base.Frame, channel: int = CHANNEL) -> None:
        self.sock.sendall(marshal(method, channel))

    def _await(self, kind: type[M]) -> M:
        while True:
            while self._methods:
                method = self._methods.popleft()
                if isinstance(method, kind):
                    return method
            self._receive()
