"""One client: what it says, who it is, what it gets, and when its token ends.

message ──► dialect ──► Session ──► effects ──► hub, outbox, close
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from math import inf
from typing import TYPE_CHECKING

import structlog

from bridge.core.access import Principal
from bridge.core.close import BAD_PROTOCOL, GOODBYE, SLOW, UNAUTHENTICATED, CloseReason
from bridge.core.commands import (
    Command,
    CommandError,
    Connected,
    Hello,
    Notice,
    Subscribe,
    Subscribed,
    Unread,
)
from bridge.core.effects import Ask, Close, Effect, Join, Leave, Resume, Say, Verify
from bridge.core.entry import Logged
from bridge.core.errors import BadMessage, KeyMissing, TokenRejected
from bridge.core.outbox import Frame
from bridge.core.policy import Policy
from bridge.core.presence import TIME_MAX, SocketStatus
from bridge.core.questions import Answer, Question
from bridge.core.revocation import Change
from bridge.core.session import Session, State
from bridge.ws.dialects import bridge_v1
from bridge.ws.endpoint import Endpoint
from bridge.ws.framing import text_frame

if TYPE_CHECKING:
    from bridge.ws.server import SocketServer

log = structlog.get_logger()

AHEAD_SECONDS_MAX = 2.0  # How long a client that has seen more of the log waits for this node.
AHEAD_POLL_SECONDS = 0.02
UNREAD_KEY = "unread"  # No event's: those begin with a type, which has a dot.
SHOWN_MAX, SHOWN_CHARACTERS_MAX = 200, 256  # Of a socket's rooms and roles, to an operator.
REPLAY_ENTRIES_MAX = 64  # Sent in one turn of the event loop.


def event_frame(logged: Logged, room: str) -> Frame:
    """Return the frame of an event as the sockets of one room get it."""
    entry = logged.entry
    data = text_frame(bridge_v1.encode_event(logged, room))
    return Frame(data, entry.policy, entry.conflate_key, logged.offset)


def traced_event_frame(logged: Logged, room: str) -> Frame:
    """Return the frame of an event with its trace."""
    entry = logged.entry
    data = text_frame(bridge_v1.encode_traced_event(logged, room))
    return Frame(data, entry.policy, entry.conflate_key, logged.offset)


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    """Return a few texts, none too long; a token's JSON can hold half a character."""
    return tuple(
        text[:SHOWN_CHARACTERS_MAX].encode(errors="replace").decode() for text in islice(texts, SHOWN_MAX)
    )


class Connection(Endpoint):
    """One client's socket. Made by the server for each TCP connection it accepts."""

    __slots__ = ("opened_at", "session", "slot")

    def __init__(self, server: SocketServer, client_id: str) -> None:
        """Begin without a session worth the name: nobody has said hello."""
        super().__init__(server)
        self.session = Session(client_id, server.rules)
        self.slot: set[Connection] | None = None  # Of the keep-alive sweep; set by the server, once.
        self.opened_at = 0.0  # In seconds since the Unix epoch; set once.

    def identity(self) -> dict[str, str]:
        """Return the ids that go into a log line about this socket."""
        return {
            "client_id": self.session.client_id,
            "user_id": self.session.user_id,
            "address": self.address,
        }

    def status(self) -> SocketStatus:
        """Return what an operator wants to know of this socket."""
        session, principal = self.session, self.session.principal
        expires_at = principal.expires_at if principal is not None else inf
        return SocketStatus(
            client_id=session.client_id,
            opened_at=self.opened_at,
            address=self.address,
            rooms=_texts(session.rooms),
            token_expires_at=expires_at if expires_at <= TIME_MAX else None,
            roles=_texts(sorted(principal.roles)) if principal is not None else (),
            state=session.state.name.lower() if session.live else "replaying",
            outbox_frames=len(self.outbox),
            outbox_bytes=self.outbox.bytes_waiting,
            dialect=bridge_v1.SUBPROTOCOL,
            compressed=self._coding is not None,
        )

    # What the server calls.

    def say(self, notice: Notice) -> None:
        """Queue a notice; it goes out with the next flush."""
        if isinstance(notice, CommandError):
            self._server.stats.errors[notice.code] += 1
        elif isinstance(notice, Connected | Subscribed):
            self._server.stats.resumes_recovered += notice.recovered
        # Of several counts that wait only the newest is worth keeping.
        key = UNREAD_KEY if isinstance(notice, Unread) else ""
        frame = text_frame(bridge_v1.encode_notice(notice))
        self.queue(Frame(frame, Policy.MUST_DELIVER, conflate_key=key))

    def tell(self, notice: Unread) -> None:
        """Have the client know how much is unread."""
        self._act(self.session.unread_changed(notice))
        self.flush()

    def access_changed(self, change: Change) -> None:
        """Obey a change of what the user may."""
        self._act_late(self.session.access_changed(change, time.time()))

    def sweep(self, now: float) -> None:
        """Do what is due once in each ping interval. `now`: seconds since the Unix epoch."""
        if self._retired:
            return
        if not self.ping():
            log.info("ws.ping_timeout", **self.identity())
            self.abort()
            return
        self._tick(now)

    def replay(self) -> None:
        """Send some of what the session is owed, and ask for another turn if there is more."""
        if self._retired or not self._writable:
            return
        owed = self.session.owed(
            entries_max=min(REPLAY_ENTRIES_MAX, max(1, self._server.limits.outbox.frames_max // 2)),
            bytes_max=self._server.limits.outbox.bytes_max // 2,
        )
        if owed is None:
            self.close(SLOW.because("slow consumer: what it has missed is no longer kept"))
            return
        now = time.time()
        for logged, room in owed:
            if logged.entry.expires_at is None or now <= logged.entry.expires_at:
                self.queue(
                    self._server.event_frame(logged, room)
                )  # As it is: compressed, it would be for this socket alone.
        if self.session.live:
            self._server.audience.replaying.discard(self)
            self._join(self.session.rooms)
        else:
            self._server.replay_soon(self)
        self.flush()

    # What the event loop and the endpoint call.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many already."""
        super().connection_made(transport)
        self._server.accepted(self)

    def resume_writing(self) -> None:
        """Go on, with what is owed as well."""
        super().resume_writing()
        if not self.session.live:
            self._server.replay_soon(self)

    def on_open(self, hello: Hello | BadMessage | None) -> None:
        """Greet the client, or wait until it introduces itself, but not for long."""
        self.opened_at = time.time()
        self._server.opened(self)
        if isinstance(hello, BadMessage):
            self.close(BAD_PROTOCOL.because(hello.message))
        elif hello is not None:
            self._obey(hello, self.opened_at)
        if self.session.state is State.AWAITING_HELLO:
            self._set_deadline(self._server.limits.hello_seconds_max, self._no_hello)

    def on_message(self, message: bytes) -> None:
        """Have the session handle a command."""
        now = time.time()
        try:
            command = bridge_v1.parse(message)
        except BadMessage as bad:
            self._act(self.session.refuse(bad, now))
            return
        self._obey(command, now)

    def _obey(self, command: Command, now: float) -> None:
        stats = self._server.stats
        stats.commands[type(command).__name__.lower()] += 1
        if isinstance(command, Hello | Subscribe) and command.since is not None:
            stats.resumes_asked += 1
        self._act(self.session.receive(command, now))
        if self.session.backed_up:
            self._transport.pause_reading()

    def on_retire(self) -> None:
        """Leave every room, so that fan-out has no more to do with this socket."""
        self.session.close(GOODBYE)  # Without effect on the wire: that is closing, or gone.
        self._server.hub.leave(self, self.session.rooms)
        self._server.audience.replaying.discard(self)
        self._server.desk.leave(self)

    def on_lost(self, code: int | None, *, by_client: bool) -> None:
        """Let the server forget this socket."""
        self._server.lost(self, code, by_client=by_client)

    def close(self, reason: CloseReason) -> None:
        """Begin the closing handshake; the transport is aborted if it takes too long. Idempotent."""
        self._act(self.session.close(reason))

    # Inside: what the session decides.

    def _act(self, effects: Sequence[Effect]) -> None:
        """Carry out what the session decided, in order."""
        for effect in effects:
            match effect:
                case Say(notice):
                    self.say(notice)
                case Join(rooms):
                    self._join(rooms)
                case Resume():
                    self._replay_rest()
                case Leave(rooms):
                    self._server.hub.leave(self, rooms)
                case Verify(token):
                    self._act(self._verify(token))
                case Ask(question) if not self._retired:  # By an effect before this one, as in `_join`.
                    self._wait()
                    self._server.desk.ask(self, question)
                case Close(reason):
                    self.shut(reason)

    def _join(self, rooms: Iterable[str]) -> None:
        if not self._retired:  # The effect before this one may have been one too much for the outbox.
            for room in rooms:
                self._server.hub.join(self, room)

    def _replay_rest(self) -> None:
        if not self._retired:
            self._server.audience.replaying.add(self)
            self._server.replay_soon(self)

    def _verify(self, token: str, *, again: bool = False) -> list[Effect]:
        try:
            principal = self._server.verify(token)
        except KeyMissing as missing:
            if again:
                return self._reject(missing)
            self._wait()
            self._server.desk.fetch_keys(
                self, missing.kid, lambda: self._act_late(self._verify(token, again=True))
            )
            return []
        except TokenRejected as rejected:
            return self._reject(rejected)
        return self._identify(principal, patience_until=self._server.loop.time() + AHEAD_SECONDS_MAX)

    def _reject(self, rejected: TokenRejected) -> list[Effect]:
        self._server.stats.tokens_rejected[rejected.reason] += 1
        log.info("ws.token_rejected", **self.identity(), reason=rejected.reason)
        return self.session.rejected(rejected, time.time())

    def _identify(self, principal: Principal, patience_until: float) -> list[Effect]:
        """Tell the session who the client is, as soon as this node knows what the client has seen."""
        if self.session.ahead and self._server.loop.time() < patience_until:
            self._set_deadline(
                AHEAD_POLL_SECONDS, lambda: self._act_late(self._identify(principal, patience_until))
            )
            return []
        return self._advance(self.session.identified, principal)

    def answered(self, question: Question, answer: Answer) -> None:
        """Go on with an answer from the desk."""
        self._act_late(self._advance(self.session.answered, question, answer))

    def _advance(self, step: Callable[..., list[Effect]], *known: object) -> list[Effect]:
        """Have the session go on with what is known now; see to the sockets of its user, and its token."""
        before, now = self.session.principal, time.time()
        effects = step(*known, now)
        principal = self.session.principal
        if principal is not None and before is None:
            limit = self._server.claim_socket(self, principal)
            if limit is not None:
                return self.session.turn_away(limit)
        if principal is not before:
            self._watch_token(now, fresh=True)
        return effects

    def _wait(self) -> None:
        """Stop the clock of the hello: the desk has its own."""
        if self.session.principal is None:
            self._set_deadline(None)

    def _act_late(self, effects: Sequence[Effect]) -> None:
        """Act outside of what the client sends."""
        self._act(effects)
        self.flush()
        if self._writable and not self.session.backed_up:
            self._transport.resume_reading()

    def _watch_token(self, now: float, *, fresh: bool = False) -> None:
        """Be there in time to say that the token ends, and when it does, unless a sweep comes first."""
        if self.session.principal is None or self._retired:
            return
        left_seconds = self.session.principal.expires_at - now
        notice_seconds = self._server.rules.expiring_notice_seconds
        if fresh:  # Even a token of a short life is not near its end from the start.
            notice_seconds = min(notice_seconds, left_seconds / 2)
        is_notice_due = left_seconds > notice_seconds
        due_seconds = left_seconds - notice_seconds if is_notice_due else self.session.ends_at - now
        soon = due_seconds < self._server.rules.ping_interval_seconds
        self._set_deadline(max(0.0, due_seconds) if soon else None, self._tick)

    def _tick(self, now: float | None = None) -> None:
        now = time.time() if now is None else now
        self._act(self.session.tick(now))
        self._watch_token(now)
        self.flush()

    def _no_hello(self) -> None:
        self.close(UNAUTHENTICATED.because("missing: no hello with a token came in time"))
