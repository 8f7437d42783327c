"""One socket: an asyncio.Protocol around the Sans-I/O layer of websockets.

Why not the library's own connection object: it costs four times the CPU per message and twice
the memory per socket (see docs/guarantees.md). This one has no task and no queue of its own;
everything happens in the callbacks of the event loop.

    bytes ──► ServerProtocol ──► dialect ──► Session ──► effects ──► hub, outbox, close
    Frame ──► Outbox ──► one write
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import structlog
from websockets.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT
from websockets.frames import Frame as WireFrame
from websockets.http11 import Request
from websockets.protocol import State as WireState

from bridge.core.close import BAD_PROTOCOL, UNAUTHENTICATED, CloseReason
from bridge.core.commands import CommandError, Notice
from bridge.core.errors import BadMessage, TokenRejected
from bridge.core.outbox import Frame, Outbox
from bridge.core.session import Close, Effect, Join, Leave, Say, Session, State, Verify
from bridge.ws.dialects import bridge_v1
from bridge.ws.handshake import hello_from

if TYPE_CHECKING:
    from bridge.ws.server import SocketServer

log = structlog.get_logger()

_CONTROL = (PING, PONG, CLOSE)
ABNORMAL_CLOSURE = 1006  # RFC 6455 section 7.4.1: never sent, only reported.


def text_frame(data: bytes) -> bytes:
    """Wrap the bytes of a text message as an unmasked WebSocket frame (RFC 6455 section 5.2)."""
    return WireFrame(TEXT, data).serialize(mask=False)


class Connection(asyncio.Protocol):
    """One client's socket. Made by the server for each TCP connection it accepts."""

    __slots__ = (
        "_awaiting_pong",
        "_deadline",
        "_fragments",
        "_loop",
        "_paused",
        "_server",
        "_transport",
        "_wire",
        "address",
        "outbox",
        "session",
        "slot",
    )

    def __init__(self, server: SocketServer, client_id: str) -> None:
        """Wait for the transport. `server` holds what all connections share."""
        self._server = server
        self._loop = server.loop
        self._transport = cast(asyncio.Transport, None)  # Set once, in connection_made.
        self._wire = server.wire_protocol()
        self._fragments: list[bytes] | None = None  # Set while a fragmented message arrives.
        self._deadline: asyncio.TimerHandle | None = None  # Of the phase the connection is in.
        self._paused = False
        self._awaiting_pong = False
        self.address = ""
        self.slot: set[Connection] = set()  # Of the keep-alive sweep; the server sets it once it is open.
        self.outbox = Outbox(server.limits.outbox)
        self.session = Session(client_id, server.rules)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock of the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        # The outbox is the buffer with limits; the transport is to hold one write and no more.
        self._transport.set_write_buffer_limits(high=0)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        self._server.accepted(self)
        self._set_deadline(self._server.limits.handshake_seconds_max, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Handle whatever arrived."""
        self._awaiting_pong = False
        self._wire.receive_data(data)
        for event in self._wire.events_received():
            if isinstance(event, Request):
                self._handshake(event)
            else:
                self._receive(cast(WireFrame, event))
        self.flush()
        self._write_wire()

    def eof_received(self) -> bool:
        """Let the transport close: a WebSocket has no use for a half-open connection."""
        self._wire.receive_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Let go of everything; called exactly once."""
        self._set_deadline(None, None)
        self.session.close(UNAUTHENTICATED)
        self.outbox.clear()
        sent = self._wire.close_sent  # Ours, or the echo of the client's.
        self._server.lost(self, sent.code if sent else ABNORMAL_CLOSURE)

    def pause_writing(self) -> None:
        """Hold frames back, and read no more from a client that does not read."""
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on; that the client has taken bytes proves that it lives."""
        self._paused = False
        self._awaiting_pong = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self.flush()

    # What fan-out calls.

    def offer(self, frame: Frame) -> None:
        """Queue a frame; the caller must flush afterwards. Closes the socket if it cannot be held."""
        reason = self.outbox.offer(frame)
        if reason is not None:
            log.warning("ws.slow_consumer", **self.identity(), reason=reason.text)
            self.close(reason)

    def flush(self) -> None:
        """Write all that waits in one go, unless the client is behind."""
        if self._paused or not self.outbox or self._wire.state is not WireState.OPEN:
            return
        gap, frames = self.outbox.take()
        if gap is None and len(frames) == 1:
            data = frames[0].data
        else:
            parts = [frame.data for frame in frames]
            if gap is not None:
                parts.insert(0, text_frame(bridge_v1.encode_notice(gap)))
            data = b"".join(parts)
        self._transport.write(data)
        stats = self._server.stats
        stats.frames_sent += len(frames)
        stats.bytes_sent += len(data)

    # What the server calls.

    def say(self, notice: Notice) -> None:
        """Queue a notice; it goes out with the next flush."""
        if isinstance(notice, CommandError):
            self._server.stats.errors[notice.code] += 1
        self.offer(Frame(text_frame(bridge_v1.encode_notice(notice))))

    def sweep(self, now: float) -> None:
        """Do what is due now and then: keep-alive and the end of the token. `now`: Unix seconds."""
        if self._wire.state is not WireState.OPEN:
            return
        if self._awaiting_pong:
            log.info("ws.ping_timeout", **self.identity())
            self._transport.abort()
            return
        self._act(self.session.tick(now))
        if self._wire.state is WireState.OPEN:
            self._watch_expiry(now)
            self._awaiting_pong = True
            self._wire.send_ping(b"")
            self.flush()
            self._write_wire()

    def close(self, reason: CloseReason) -> None:
        """Begin the closing handshake; the transport is aborted if it takes too long. Idempotent."""
        self._act(self.session.close(reason))

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    def identity(self) -> dict[str, str]:
        """Return the ids that go into a log line about this socket."""
        principal = self.session.principal
        return {
            "client_id": self.session.client_id,
            "user_id": principal.user_id if principal else "",
            "address": self.address,
        }

    # Inside.

    def _handshake(self, request: Request) -> None:
        answer = self._server.admit(self, self._wire, request)
        self._wire.send_response(answer.response)
        self._write_wire()
        if not answer.accepted:
            return
        # The request and its headers (tokens among them) are not needed for the life of the socket.
        self._server.opened(self)
        try:
            hello = hello_from(
                request, cookie_name=self._server.cookie_name, cookie_trusted=answer.cookie_trusted
            )
        except BadMessage as bad:
            self.close(BAD_PROTOCOL.because(bad.message))
            return
        if hello is not None:
            self._act(self.session.receive(hello, time.time()))
        if self.session.state is State.AWAITING_HELLO:
            self._set_deadline(self._server.limits.hello_seconds_max, self._no_hello)

    def _receive(self, frame: WireFrame) -> None:
        if frame.opcode in _CONTROL:
            return  # The Sans-I/O layer has answered it already.
        if frame.opcode is BINARY:
            self.close(BAD_PROTOCOL.because("text messages only"))
            return
        message = self._assemble(frame)
        if message is None:
            return
        now = time.time()
        try:
            command = bridge_v1.parse(message)
        except BadMessage as bad:
            self._act(self.session.refuse(bad, now))
            return
        self._server.stats.commands[type(command).__name__.lower()] += 1
        self._act(self.session.receive(command, now))

    def _assemble(self, frame: WireFrame) -> bytes | None:
        """Return a whole message, None while fragments are missing. The wire limits its size."""
        if frame.opcode is CONT:
            fragments = self._fragments or []
            fragments.append(bytes(frame.data))
            if not frame.fin:
                return None
            self._fragments = None
            return b"".join(fragments)
        if frame.fin:
            return bytes(frame.data)
        self._fragments = [bytes(frame.data)]
        return None

    def _act(self, effects: Sequence[Effect]) -> None:
        """Carry out what the session decided, in order."""
        for effect in effects:
            match effect:
                case Say(notice):
                    self.say(notice)
                case Join(rooms):
                    for room in rooms:
                        self._server.hub.join(self, room)
                case Leave(rooms):
                    self._server.hub.leave(self, rooms)
                case Verify(token):
                    self._act(self._verify(token))
                case Close(reason):
                    self._shut(reason)

    def _verify(self, token: str) -> list[Effect]:
        now = time.time()
        try:
            principal = self._server.verify(token)
        except TokenRejected as rejected:
            self._server.stats.tokens_rejected[rejected.reason] += 1
            log.info("ws.token_rejected", **self.identity(), reason=rejected.reason)
            return self.session.rejected(rejected, now)
        if self.session.principal is None:
            limit = self._server.claim_socket(principal)
            if limit is not None:
                return self.session.close(limit)
        effects = self.session.identified(principal, now)
        self._set_deadline(None, None)
        self._watch_expiry(now)
        return effects

    def _watch_expiry(self, now: float) -> None:
        """Be there in time if the token ends before the next sweep."""
        principal = self.session.principal
        if principal is not None and principal.expires_at < now + self._server.rules.ping_interval_seconds:
            self._set_deadline(max(0.0, principal.expires_at - now), self._expire)

    def _no_hello(self) -> None:
        self.close(UNAUTHENTICATED.because("missing: no hello with a token came in time"))

    def _expire(self) -> None:
        self._act(self.session.tick(time.time()))

    def _shut(self, reason: CloseReason) -> None:
        if self._wire.state is WireState.CONNECTING:
            self._transport.abort()
            return
        if self._wire.state is not WireState.OPEN:
            return
        self.flush()
        self._wire.send_close(reason.code, reason.text)
        self._set_deadline(self._server.limits.close_seconds_max, self._transport.abort)
        self._write_wire()

    def _write_wire(self) -> None:
        """Write what the Sans-I/O layer wants written; an empty string ends the stream."""
        for data in self._wire.data_to_send():
            if data:
                self._transport.write(data)
            else:
                # Closing after what was written: half-closing would wait for the client's mercy.
                self._transport.close()
                self._set_deadline(self._server.limits.close_seconds_max, self._transport.abort)

    def _set_deadline(self, seconds: float | None, action: Callable[[], Any] | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if seconds is not None and action is not None:
            self._deadline = self._loop.call_later(seconds, action)
