"""The bytes of one client's connection: an asyncio.Protocol around the Sans-I/O layer of websockets.

Why not the library's own connection object: it costs four times the CPU per message and twice
the memory per socket (see docs/guarantees.md). This one has no task and no queue of its own;
everything happens in the callbacks of the event loop.

    bytes ──► gate, once ──► wire ──► messages
    frames ──► coding ──► outbox ──► one write

Its life: the head of a request is collected, until the gate answers it; then the wire is open, until
one side begins to close; then it is retired, gets nothing more, and waits for the client to go, not for long.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from os import write
from typing import TYPE_CHECKING, Any, cast

import structlog
from websockets.frames import CloseCode
from websockets.protocol import OPEN, SEND_EOF

from bridge.core.close import FAULT, CloseReason
from bridge.core.commands import Hello
from bridge.core.errors import BadMessage
from bridge.core.outbox import Frame, Outbox
from bridge.core.run import Coding, Run
from bridge.core.trace import where
from bridge.ws.address import plain_address
from bridge.ws.dialects import bridge_v1
from bridge.ws.framing import text_frame
from bridge.ws.gate import HEAD_BYTES_MAX, HEAD_END
from bridge.ws.wire import PING_FRAME, Wire

if TYPE_CHECKING:
    from bridge.ws.server import SocketServer

log = structlog.get_logger()


class Endpoint(asyncio.Protocol):
    """One client's connection. A subclass says what the messages mean."""

    __slots__ = (
        "_awaiting_pong",
        "_coding",
        "_deadline",
        "_fd",
        "_head",
        "_next",
        "_retired",
        "_server",
        "_transport",
        "_wire",
        "_writable",
        "address",
        "outbox",
    )

    def __init__(self, server: SocketServer) -> None:
        """Wait for the transport. `server` holds what all connections share."""
        self._server = server
        self._transport = cast(asyncio.Transport, None)  # Set once, in connection_made.
        self._head: bytearray | None = bytearray()  # Of the HTTP request, until it is answered.
        self._fd: int | None = None  # Of the socket, while it is open; None where TLS is spoken.
        self._wire: Wire | None = None  # Set once, when the gate has let the client in.
        self._coding: Coding | None = None  # Set with it, if the client takes compressed messages.
        self._deadline: asyncio.TimerHandle | None = None  # Of the phase the connection is in.
        self._writable = False  # While the wire is open and the client keeps up.
        self._next: Frame | None = None  # Written next; all that waits behind it is in the outbox.
        self._retired = False  # Set once, when one side begins to close.
        self._awaiting_pong = False
        self.address = ""
        self.outbox = Outbox(server.limits.outbox, server.pool)

    # What a subclass says.

    @abstractmethod
    def on_open(self, hello: Hello | BadMessage | None) -> None:
        """Begin: the connection has become a WebSocket. `hello` is the one in the request, if any."""

    @abstractmethod
    def on_message(self, message: bytes) -> None:
        """Handle a text message (UTF-8)."""

    @abstractmethod
    def on_retire(self) -> None:
        """End: the client gets nothing more. Called exactly once."""

    @abstractmethod
    def on_lost(self, code: int | None, *, by_client: bool) -> None:
        """Note that the connection is gone. `code` is the close code, None if it was never a WebSocket."""

    @abstractmethod
    def close(self, reason: CloseReason) -> None:
        """Let the client go for a reason, by way of `shut`. Idempotent."""

    @abstractmethod
    def identity(self) -> dict[str, str]:
        """Return the ids that go into a log line about this connection."""

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock of the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = plain_address(peer[0]) if isinstance(peer, tuple) else ""
        if transport.get_extra_info("sslcontext") is None:
            self._fd = transport.get_extra_info("socket").fileno()
        self._set_deadline(self._server.limits.handshake_seconds_max, self.abort)

    def data_received(self, data: bytes) -> None:
        """Handle whatever arrived."""
        self._awaiting_pong = False
        self.guarded(self._receive, data)

    def eof_received(self) -> bool:
        """Let the transport close: a WebSocket has no use for a half-open connection."""
        self._retire()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Let go of everything; called exactly once."""
        self._retire()
        self._fd = None  # The number will be another socket's.
        self._set_deadline(None)
        code, by_client = None, False
        if self._wire is not None:
            self._wire.end()
            sent = self._wire.close_sent  # Ours, or the echo of the client's.
            code = sent.code if sent else CloseCode.ABNORMAL_CLOSURE.value
            by_client = bool(self._wire.close_rcvd_then_sent)
        self.on_lost(code, by_client=by_client)

    def pause_writing(self) -> None:
        """Hold frames back, and read no more from a client that does not read."""
        self._writable = False
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on; that the client has taken bytes proves that it lives."""
        self._awaiting_pong = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
        if self._wire is not None and not self._retired:
            self._writable = True
            self._write_waiting()

    # What fan-out calls.

    def offer(self, run: Run) -> None:
        """Queue frames; the caller must flush afterwards. Closes the socket if they cannot be held."""
        if self._coding is not None:
            run = run.coded(self._coding)
        for frame in run.frames:
            self.queue(frame)

    def send(self, run: Run) -> int:
        """Queue frames and flush.

        Returns how many bytes were written at once, which the caller then has to count; else 0.
        """
        if self._writable and self._next is None:  # So nothing is in the outbox, either.
            if self._coding is not None:
                run = run.coded(self._coding)
            self._write(run.data)
            return len(run.data)
        self.offer(run)
        self.flush()
        return 0

    # While the client keeps up, the first frame that waits is `_next` and further ones are in the outbox;
    # `flush` empties both. While it does not, frames wait in the outbox alone, behind a `_next` that may be
    # left over; `resume_writing` empties both. So `_next` is always the oldest.

    def queue(self, frame: Frame) -> None:
        """Queue a frame as it is; the caller must flush afterwards. Closes the socket if it is too much."""
        if self._writable:
            if self._next is not None and self._is_full_for(frame):
                self.flush()  # The limits are for clients that are behind, not for large batches.
            if self._next is None and self._writable:
                self._next = frame
                return
        if self._retired:
            return  # As of the rest of a batch that was too much for the outbox.
        outbox, stats = self.outbox, self._server.stats
        reason = outbox.offer(frame)
        if outbox.conflated or outbox.dropped:
            stats.frames_conflated += outbox.conflated
            stats.frames_dropped += outbox.dropped
            outbox.conflated = outbox.dropped = 0
        if reason is not None:
            log.warning("ws.slow_consumer", **self.identity(), reason=reason.text)
            self.close(reason)

    def flush(self) -> None:
        """Write all that waits in one go, unless the client is behind."""
        frame = self._next
        if frame is None or not self._writable:
            return
        if self.outbox:
            self._write_waiting()
            return
        self._next = None
        self._write(frame.data)
        stats = self._server.stats
        stats.frames_sent += 1
        stats.bytes_sent += len(frame.data)

    # What the server and a subclass call.

    def guarded(self, action: Callable[..., None], *args: Any) -> None:  # noqa: ANN401 - the action's
        """Do something. A fault of ours in it is logged and ends this connection, and touches no other."""
        try:
            action(*args)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the others are served
            # Without its text, which may quote a token.
            log.error("ws.failed", error=type(exc).__name__, where=where(exc), **self.identity())  # noqa: TRY400
            self.shut(FAULT)

    def ping(self) -> bool:
        """Ask for a sign of life. False if there was none since it was asked for last: nothing is written."""
        if self._awaiting_pong:
            return False
        self._awaiting_pong = True
        if self._wire is not None:
            self._wire.frames_read = 0
        if self._writable:  # Else what the client takes of the bytes that wait is the sign.
            self._transport.write(PING_FRAME)
        return True

    def shut(self, reason: CloseReason) -> None:
        """Begin the closing handshake, or just go if there is nobody to shake hands with."""
        if self._wire is None:
            self._transport.abort()
        elif self._wire.state is OPEN:
            self.flush()
            self._wire.send_close(reason.code, reason.text)
            self._write_wire(self._wire)
            self._retire()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    def _set_deadline(self, seconds: float | None, action: Callable[[], None] | None = None) -> None:
        """Have something done after so many seconds, unless a later call says otherwise."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if seconds is not None and action is not None:
            self._deadline = self._server.loop.call_later(seconds, self.guarded, action)

    # Inside.

    def _receive(self, data: bytes) -> None:
        if self._head is not None:
            data = self._read_head(self._head, data)
        if self._wire is not None:
            self._read(self._wire, data)

    def _read_head(self, head: bytearray, data: bytes) -> bytes:
        """Collect the head of the request and have it answered. Returns what came behind it."""
        head += data
        end = head.find(HEAD_END) + len(HEAD_END)
        if end < len(HEAD_END):
            if len(head) <= HEAD_BYTES_MAX:
                return b""
            end = len(head)
        self._head = None
        admission = self._server.gate.admit(bytes(head[:end]), self.address, self._server.loop.time())
        self.address = admission.address
        if not admission.accepted:
            self._transport.write(admission.response)
            self._retire()
            self._end_stream()
            return b""
        self._wire, self._coding = self._server.wire(admission.deflate)
        self._writable = True
        self._transport.write(admission.response)
        # The outbox is the buffer with limits: the transport is to hold one write and no more, `_writable`
        # to be false while it holds anything. With TLS not high=0, which asyncio's TLS transport takes for
        # being full when it is empty; and not before there is a write, which makes it send what its
        # handshake has left over.
        self._transport.set_write_buffer_limits(high=1 if self._fd is None else 0)
        self.on_open(admission.hello)
        return bytes(head[end:])

    def _read(self, wire: Wire, data: bytes) -> None:
        for message in wire.messages(data):
            if not self._retired:
                self.on_message(message)
        self.flush()
        self._write_wire(wire)
        if wire.state is not OPEN:
            self._retire()

    def _is_full_for(self, frame: Frame) -> bool:
        """Tell whether the outbox, or all outboxes together, cannot take this frame as they are."""
        outbox, limits, pool = self.outbox, self._server.limits.outbox, self._server.pool
        size = len(frame.data)
        return (
            len(outbox) >= limits.frames_max
            or outbox.bytes_waiting + size > limits.bytes_max
            or pool.bytes_held + size > pool.bytes_max
        )

    def _write_waiting(self) -> None:
        """Write the frames that wait, and before them what was dropped of them, in one go."""
        gap, frames = self.outbox.take()
        if gap is not None:
            frames.insert(0, Frame(text_frame(bridge_v1.encode_notice(gap))))
        if self._next is not None:
            frames.insert(0, self._next)
            self._next = None
        data = b"".join([frame.data for frame in frames])
        self._write(data)
        self._server.stats.frames_sent += len(frames)
        self._server.stats.bytes_sent += len(data)

    def _write(self, data: bytes) -> None:
        """Write what the kernel takes, and have the transport keep the rest. Only while `_writable`.

        The transport holds nothing then, and can be passed by: its own `write` costs a tenth of a fan-out.
        What goes wrong here goes wrong there again, and is dealt with there.
        """
        sent = 0
        if self._fd is not None:
            try:
                sent = write(self._fd, data)
            except OSError:
                sent = 0
        if sent != len(data):
            self._transport.write(data[sent:])

    def _write_wire(self, wire: Wire) -> None:
        """Write what the Sans-I/O layer wants written."""
        writes = wire.data_to_send()
        if writes:
            self._transport.write(b"".join(writes))
            if writes[-1] == SEND_EOF:
                self._end_stream()

    def _end_stream(self) -> None:
        """Write nothing more, and close once the client has, or at the deadline.

        Closing while the client still sends would have the kernel answer with a reset, which can overtake
        the close frame or the HTTP response (RFC 9112 section 9.6). TLS cannot be closed by half.
        """
        if self._wire is not None and self._wire.close_rcvd is not None:
            if not self._transport.is_closing():
                self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    def _retire(self) -> None:
        """Give the client nothing more, and see to it that it goes in time. Idempotent."""
        if self._retired:
            return
        self._retired = True
        self._writable = False
        self._next = None
        self.outbox.clear()
        self._set_deadline(self._server.limits.close_seconds_max, self.abort)
        self.on_retire()
