"""One socket's state, from the first message to the last. It decides; the socket edge acts.

    AWAITING_HELLO ──Hello──► IDENTIFYING ──identified──► OPEN ──► CLOSED
          ▲                        │ rejected                        ▲
          └────────────────────────┴────────── any Close ────────────┘

Every method returns effects, to be carried out in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from bridge.core.access import AccessRules, Principal
from bridge.core.close import BAD_PROTOCOL, LIMIT, UNAUTHENTICATED, CloseReason
from bridge.core.commands import (
    Auth,
    Authenticated,
    Command,
    CommandError,
    Connected,
    Expiring,
    Hello,
    Ping,
    Pong,
    RefusedRoom,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from bridge.core.effects import Close, Effect, Join, Leave, Resume, Say, Verify
from bridge.core.entry import Position
from bridge.core.errors import BadMessage, TokenRejected
from bridge.core.limits import TokenBucket
from bridge.core.replay import Owed, Replay
from bridge.core.window import Window


class State(Enum):
    """Where a session is in its life."""

    AWAITING_HELLO = auto()
    IDENTIFYING = auto()
    OPEN = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class SessionRules:
    """What all sessions of a node share. Times in seconds."""

    access: AccessRules
    window: Window
    rooms_max: int
    commands_per_second_max: float
    commands_burst_max: int
    mistakes_max: int
    expiring_notice_seconds: float
    ping_interval_seconds: float


MISTAKES_FORGIVEN_PER_SECOND = 0.2
ROOMS_PER_CREDIT = 20  # So many rooms cost as much as one more command.


class Session:
    """The state of one socket. `principal` is None until the session is open."""

    __slots__ = (
        "_commands",
        "_expiring_said",
        "_identifying",
        "_mistakes",
        "_replay",
        "_rules",
        "client_id",
        "principal",
        "rooms",
        "state",
    )

    def __init__(self, client_id: str, rules: SessionRules) -> None:
        """Await a hello."""
        self._rules = rules
        self._identifying: Hello | Auth | None = None  # Set while a token is being verified.
        self._commands: TokenBucket | None = None  # Made with the first command: many sockets send none.
        self._mistakes: TokenBucket | None = None  # Made with the first mistake.
        self._expiring_said = False
        self._replay: Replay | None = None  # Set while older events are owed.
        self.client_id = client_id
        self.principal: Principal | None = None
        self.rooms: dict[str, int] = {}  # Each with the offset after which this session gets what goes there.
        self.state = State.AWAITING_HELLO

    def receive(self, command: Command, now: float) -> list[Effect]:
        """Handle a command. `now` is in seconds since the Unix epoch."""
        if self.state is State.CLOSED:
            return []
        wait_seconds = self._take_command(command, now)
        if wait_seconds:
            return self.refuse(
                BadMessage(
                    "rate_limited",
                    f"at most {self._rules.commands_per_second_max:g} commands a second; "
                    f"wait {wait_seconds:.1f} s",
                    command_id=command.id,
                ),
                now,
            )
        if isinstance(command, Hello) or self.state is not State.OPEN:
            return self._hello(command, now)
        return self._obey(command, now)

    def _obey(self, command: Subscribe | Unsubscribe | Ping | Auth, now: float) -> list[Effect]:
        match command:
            case Subscribe():
                return self._subscribe(command)
            case Unsubscribe():
                return self._unsubscribe(command)
            case Ping():
                return [Say(Pong(self._rules.window.position if self.live else None, command.id))]
            case Auth():
                if self._identifying is not None:
                    return self.refuse(_not_ready(command), now)
                self._identifying = command
                return [Verify(command.token)]

    def refuse(self, bad: BadMessage, now: float) -> list[Effect]:
        """Answer a message that is not a proper command; close a socket that sends nothing else."""
        if self.state is State.CLOSED:
            return []
        if self._mistakes is None:
            self._mistakes = TokenBucket(
                rate_per_second=MISTAKES_FORGIVEN_PER_SECOND, burst=self._rules.mistakes_max
            )
        if self._mistakes.take(now):
            reason = LIMIT if bad.code == "rate_limited" else BAD_PROTOCOL
            return self.close(reason.because(f"too many mistakes, the last: {bad.message}"))
        return [Say(CommandError(bad.code, bad.message, id=bad.command_id))]

    def identified(self, principal: Principal, now: float) -> list[Effect]:
        """Go on with a verified token, after `Verify`."""
        request, self._identifying = self._identifying, None
        if self.state is State.CLOSED:
            return []
        match request:
            case Hello():
                return self._open(request, principal)
            case Auth():
                return self._refresh(request, principal, now)
            case None:
                raise AssertionError("identified without a Verify")

    def rejected(self, rejected: TokenRejected, now: float) -> list[Effect]:
        """Go on with a token that proves nothing, after `Verify`."""
        request, self._identifying = self._identifying, None
        if isinstance(request, Auth):
            return self.refuse(BadMessage("unauthorized", rejected.message, command_id=request.id), now)
        return self.close(UNAUTHENTICATED.because(f"{rejected.reason}: {rejected.message}"))

    @property
    def live(self) -> bool:
        """Whether nothing is owed: events come as they are logged."""
        return self._replay is None

    @property
    def ahead(self) -> bool:
        """Whether the client has seen more of this life of the log than the node: it will catch up."""
        since = self._identifying.since if isinstance(self._identifying, Hello) else None
        window = self._rules.window
        return since is not None and since.epoch == window.epoch and since.offset > window.head

    def owed(self, *, entries_max: int, bytes_max: int) -> list[Owed] | None:
        """Return the next entries owed, in order: at least one, as long as there are any.

        The session is `live` when nothing is left after them. None means that what is owed has left
        the window: the caller must close the socket.
        """
        if self._replay is None:
            return []
        taken = self._replay.take(self.rooms, entries_max=entries_max, bytes_max=bytes_max)
        if self._replay.done:
            self._replay = None
        return taken

    def tick(self, now: float) -> list[Effect]:
        """Say or do what is due. Call now and then, and once at `principal.expires_at`."""
        if self.state is not State.OPEN or self.principal is None:
            return []
        expires_at = self.principal.expires_at
        if now >= expires_at:
            return self.close(UNAUTHENTICATED.because("token expired"))
        if not self._expiring_said and now >= expires_at - self._rules.expiring_notice_seconds:
            self._expiring_said = True
            return [Say(Expiring(expires_at))]
        return []

    def close(self, reason: CloseReason) -> list[Effect]:
        """End the session. Idempotent."""
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        return [Close(reason)]

    def _take_command(self, command: Command, now: float) -> float:
        """Charge for a command, by what it asks for; return the seconds to wait if there is no credit."""
        if self._commands is None:
            self._commands = TokenBucket(
                rate_per_second=self._rules.commands_per_second_max,
                burst=self._rules.commands_burst_max,
            )
        rooms = 0 if isinstance(command, Ping | Auth) else len(command.rooms)
        return self._commands.take(now, 1 + rooms // ROOMS_PER_CREDIT)

    def _hello(self, command: Command, now: float) -> list[Effect]:
        if self.state is State.IDENTIFYING:
            return self.refuse(_not_ready(command), now)
        if self.state is State.OPEN:
            return self.refuse(
                BadMessage(
                    "already_connected", "hello comes once; use auth or subscribe", command_id=command.id
                ),
                now,
            )
        if not isinstance(command, Hello):
            if isinstance(command, Ping):
                return [Say(Pong(None, command.id))]
            return self.refuse(
                BadMessage("not_authenticated", "send hello with a token first", command_id=command.id), now
            )
        self.state = State.IDENTIFYING
        self._identifying = command
        return [Verify(command.token)]

    def _open(self, hello: Hello, principal: Principal) -> list[Effect]:
        self.principal = principal
        self.state = State.OPEN
        since = self._reachable(hello.since)
        after = self._rules.window.head if since is None else since.offset
        self.rooms = dict.fromkeys(principal.own_rooms, after)
        _, refused = self._admit(hello.rooms, principal, after)
        rooms = tuple(self.rooms)
        answer = Connected(
            user_id=principal.user_id,
            client_id=self.client_id,
            rooms=rooms,
            refused=refused,
            position=self._rules.window.position if since is None else since,
            recovered=since is not None,
            expires_at=principal.expires_at,
            ping_interval=self._rules.ping_interval_seconds,
            id=hello.id,
        )
        if since is None:
            return [Say(answer), Join(rooms)]
        self._replay = Replay(self._rules.window, after=since.offset)
        return [Say(answer), Resume()]

    def _subscribe(self, command: Subscribe) -> list[Effect]:
        if self.principal is None:
            raise AssertionError("open without a principal")
        since = self._reachable(command.since)
        after = self._rules.window.head if since is None else since.offset
        joined, refused = self._admit(command.rooms, self.principal, after)
        unwanted = {room.room for room in refused}
        rooms = tuple(room for room in dict.fromkeys(command.rooms) if room not in unwanted)
        if refused and not rooms:
            first = refused[0]
            message = _REFUSALS.get(first.code) or self._rules.access.decide(self.principal, first.room).why
            return [Say(CommandError(first.code, f"{first.room}: {message}", room=first.room, id=command.id))]
        position = self._rules.window.position if since is None else since
        answer = Subscribed(rooms, refused, position, since is not None, command.id)
        if since is None or not joined:
            return [Say(answer), *self._join(joined)]
        was_live = self.live
        if self._replay is None:
            self._replay = Replay(self._rules.window, after=self._rules.window.head)
        before = {room: start for room, start in self.rooms.items() if room not in joined}
        self._replay.look_back(before, joined, after=since.offset)
        return [Say(answer), Leave(tuple(self.rooms)), Resume()] if was_live else [Say(answer)]

    def _join(self, rooms: Sequence[str]) -> list[Effect]:
        """Join rooms now; during a replay they come with the rest at its end."""
        return [Join(rooms)] if self.live else []

    def _reachable(self, since: Position | None) -> Position | None:
        """Return the position if everything after it can be sent again, else None."""
        return since if since is not None and self._rules.window.covers(since) else None

    def _unsubscribe(self, command: Unsubscribe) -> list[Effect]:
        if self.principal is None:
            raise AssertionError("open without a principal")
        own = self.principal.own_rooms
        left = tuple(room for room in dict.fromkeys(command.rooms) if room in self.rooms and room not in own)
        for room in left:
            del self.rooms[room]
        return [Leave(left), Say(Unsubscribed(left, command.id))]

    def _refresh(self, auth: Auth, principal: Principal, now: float) -> list[Effect]:
        if self.principal is None:
            raise AssertionError("open without a principal")
        if principal.user_id != self.principal.user_id:
            return self.refuse(
                BadMessage(
                    "wrong_user", "the token is another user's; open a new socket", command_id=auth.id
                ),
                now,
            )
        self.principal = principal
        self._expiring_said = False
        left = tuple(room for room in self.rooms if not self._rules.access.decide(principal, room).allowed)
        for room in left:
            del self.rooms[room]
        gained = tuple(room for room in principal.own_rooms if room not in self.rooms)
        self.rooms.update(dict.fromkeys(gained, self._rules.window.head))
        return [
            Leave(left),
            *self._join(gained),
            Say(Authenticated(principal.expires_at, tuple(self.rooms), left, auth.id)),
        ]

    def _admit(
        self, wanted: Sequence[str], principal: Principal, after: int
    ) -> tuple[list[str], tuple[RefusedRoom, ...]]:
        """Put the session into those rooms it may join, from an offset on; return the new and the refused."""
        joined: list[str] = []
        refused: list[RefusedRoom] = []
        for room in dict.fromkeys(wanted):
            if room in self.rooms:
                continue
            decision = self._rules.access.decide(principal, room)
            if not decision.allowed:
                refused.append(RefusedRoom(room, decision.code))
            elif len(self.rooms) >= self._rules.rooms_max:
                refused.append(RefusedRoom(room, "too_many_rooms"))
            else:
                self.rooms[room] = after
                joined.append(room)
        return joined, tuple(refused)


_REFUSALS = {"too_many_rooms": "the socket is in as many rooms as it may be; unsubscribe from one"}


def _not_ready(command: Command) -> BadMessage:
    return BadMessage("not_ready", "wait for the answer to the token sent before", command_id=command.id)
