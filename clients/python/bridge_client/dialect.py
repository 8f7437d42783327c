"""The dialect bridge.v1 as a client speaks it. Pure: no I/O, no await, no clock.

The dialect is told what was heard and returns what is to be done about it; `client.py` does it. It knows
one socket at a time and what has to be kept from one to the next: rooms, position, and failures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from bridge_client.closing import (
    BROKEN,
    LATER_FAILURES_MIN,
    STEADY_SECONDS,
    End,
    Verdict,
    delay_seconds,
    hint_of_reason,
    limited,
    verdict_of,
)
from bridge_client.rooms import Rooms

HELLO_ROOMS_MAX = 200
COMMAND_ROOMS_MAX = 100
RENEWALS_MAX = 5  # So many times in vain; then the bridge ends the socket.
PING_SECONDS_MIN, PING_SECONDS_MAX = 1.0, 60.0
# One of each is under way at most, so the kind is the id.
HELLO, ROOMS, AUTH, PING = "hello", "rooms", "auth", "ping"

NOT_OF_THE_DIALECT = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
"""What reading a message that is not of bridge.v1 raises. The socket is of no use then."""

TokenReason: TypeAlias = Literal["connect", "refused", "expiring"]
Cause: TypeAlias = Literal["first", "lost", "gap", "rooms"]
Message: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the log. The epoch names one life of it."""

    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class Event:
    """An event as the bridge sent it. `timestamp` is ISO 8601 in UTC; money in `data` is text.

    `trace` is the publisher's W3C traceparent, if the event has one and the operator shows it.
    """

    type: str
    version: int
    id: str
    room: str
    timestamp: str
    data: Mapping[str, Any]
    position: Position
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Stale:
    """Events may have been missed: read the state anew. What comes after `position` comes as events.

    - `first`: the first connection, without a position; what happened before it was not sent
    - `lost`: what was missed cannot all be sent, or the user is another one
    - `gap`: the program read too slowly, and some events were dropped
    - `rooms`: these rooms were joined just now; what happened in them before was not sent
    """

    cause: Cause
    position: Position
    rooms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passed:
    """The log has come so far, though not for this client."""

    position: Position


@dataclass(frozen=True, slots=True)
class Send:
    """Write this command."""

    command: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Renew:
    """Fetch a newer token, after a delay if it was tried so many times in vain, and give it to `auth`."""

    failures: int


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Some rooms could not be looked up: call `ask_again` in a while."""


Effect: TypeAlias = Event | Stale | Passed | Send | Renew | AskAgain | End


class Dialect:
    """A client's side of all its sockets, one after another: `hello`, then `receive` …, then `ended`."""

    def __init__(self, rooms: Iterable[str], since: Position | None) -> None:
        """Raises ValueError for what cannot be a room."""
        self.rooms = Rooms()
        self.rooms.want(rooms)
        self.since = since  # What has been read so far.
        self.user_id: str | None = None
        self.is_open = False
        self.ping_seconds = PING_SECONDS_MAX
        self.why: TokenReason = "connect"  # The next token is wanted.
        self._had_position = since is not None
        self._failures = 0
        self._renewals = 0
        self._renewal: Literal["none", "fetching", "asked"] = "none"
        self._hint: float | None = None
        self._asking: tuple[str, ...] | None = None  # Rooms of a command that waits for its answer.
        self._pausing = False  # Until `ask_again`.

    def hello(self, token: str) -> Send:
        """Begin with a new socket."""
        self._asking, self._pausing, self._hint = None, False, None
        self._renewals, self._renewal = 0, "none"
        command: dict[str, object] = {
            "op": "hello",
            "id": HELLO,
            "token": token,
            "rooms": self.rooms.begin(HELLO_ROOMS_MAX),
        }
        if self.since is not None:
            command["since"] = {"epoch": self.since.epoch, "offset": self.since.offset}
        return Send(command)

    def ping(self) -> Send:
        """Find out whether the link still carries something, and how far the log has come."""
        return Send({"op": "ping", "id": PING})

    def auth(self, token: str) -> Send:
        """Go on with this token."""
        self._renewal = "asked"
        return Send({"op": "auth", "id": AUTH, "token": token})

    def renewal_failed(self) -> Sequence[Effect]:
        """There is no newer token, or it was refused. In the end the bridge ends the socket."""
        self._renewals += 1
        if self._renewals >= RENEWALS_MAX:
            self._renewal = "none"
            return []
        self._renewal = "fetching"
        return [Renew(self._renewals)]

    def want(self, rooms: Iterable[str]) -> Sequence[Effect]:
        """Be in these rooms, on every socket. Raises ValueError for what cannot be a room."""
        self.rooms.want(rooms)
        return self._sync()

    def drop(self, rooms: Iterable[str]) -> Sequence[Effect]:
        """Be in these rooms no more."""
        self.rooms.drop(rooms)
        return self._sync()

    def ask_again(self) -> Sequence[Effect]:
        """Ask for the rooms that could not be looked up."""
        self._pausing = False
        return self._sync()

    def receive(self, message: Message) -> Sequence[Effect]:
        """Take a message. Raises NOT_OF_THE_DIALECT."""
        if "offset" in message:
            return [self._event(message)]
        effects: Sequence[Effect] = []
        data = message.get("data") or {}
        match message["type"]:
            case "connected":
                effects = self._connected(data)
            case "pong" if data:
                self.since = _position(data["position"])
                effects = [Passed(self.since)]
            case "gap":
                effects = [Stale("gap", self._known_position())]
            case "expiring" if self._renewal == "none":
                self._renewals, self._renewal = 0, "fetching"
                effects = [Renew(0)]
            case "draining":
                self._hint = limited(data["retryAfterMs"] / 1_000)
            case "error":
                effects = self._error(message.get("id"), data)
            case kind:
                effects = self._rooms_changed(kind, data)
        return effects

    def ended(self, end: End, *, open_seconds: float, random: float) -> float | None:
        """The socket, or the attempt, is over: return the delay until the next; None for the final end."""
        self.is_open = False
        verdict = verdict_of(end.code)
        if verdict is Verdict.FINAL:
            return None
        if verdict is Verdict.RENEW:
            self.why = "refused"
        if open_seconds >= STEADY_SECONDS:
            self._failures = 0
        if verdict is Verdict.LATER:
            self._failures = max(self._failures, LATER_FAILURES_MIN)
        hints = (end.hint_seconds, self._hint, hint_of_reason(end.reason))
        self._hint = None  # Counts once.
        delay = delay_seconds(self._failures, random)
        self._failures += 1
        return next((hint for hint in hints if hint is not None), delay)

    def _event(self, message: Message) -> Event:
        position = Position(self._known_position().epoch, int(message["offset"]))
        fields = {name: message[name] for name in ("type", "version", "id", "room", "timestamp", "data")}
        self.since = position
        return Event(**fields, position=position, trace=message.get("trace"))

    def _connected(self, data: Message) -> Sequence[Effect]:
        first, another = self.user_id is None, self.user_id not in (None, data["userId"])
        self.user_id, self.since, self.is_open = data["userId"], _position(data["position"]), True
        self.ping_seconds = min(PING_SECONDS_MAX, max(PING_SECONDS_MIN, float(data["pingInterval"])))
        self.why = "connect"
        fresh = self.rooms.note_joined(data["rooms"])
        if another or not data["recovered"]:
            stale: list[Effect] = [Stale("lost" if self._had_position else "first", self.since)]
        else:
            # A position that was kept is that of the rooms that the program begins with.
            stale = [] if first else self._stale_rooms(fresh)
        self._had_position = True
        return [Passed(self.since), *stale, *self._answered(data["refused"])]

    def _rooms_changed(self, kind: str, data: Message) -> Sequence[Effect]:
        match kind:
            case "subscribed":
                # All are new, those of the last socket too: they were asked for without a position.
                self.rooms.note_joined(data["rooms"])
                return [*self._stale_rooms(tuple(data["rooms"])), *self._answered(data["refused"])]
            case "unsubscribed":
                self.rooms.note_left(self._asking or ())
                return self._answered()
            case "authenticated":
                self._renewal = "none"
                self.rooms.note_left(data["left"], "forbidden")
                return self._stale_rooms(self.rooms.note_joined(data["rooms"]))
            case "revoked":
                self.rooms.note_left(data["rooms"], "revoked")
        return []  # And what a later bridge may say.

    def _error(self, command: object, data: Message) -> Sequence[Effect]:
        code = data["code"]
        match command:
            case "hello":
                if code == "bad_position":
                    self.since = None
                return [End(BROKEN, f"{code}: {data['message']}")]
            case "rooms":
                # If every room is refused, the error has the code of the first.
                return self._answered([{"room": room, "code": code} for room in self._asking or ()])
            case "auth" if code == "wrong_user":
                return [End(BROKEN, "the new token is another user's")]
            case "auth" if self._renewal == "asked":
                return self.renewal_failed()
        return []

    def _answered(self, refused: Iterable[Message] = ()) -> Sequence[Effect]:
        self._asking = None
        if self.rooms.note_refused({each["room"]: each["code"] for each in refused}):
            again, self._pausing = not self._pausing, True
            return [AskAgain()] if again else []
        return self._sync()

    def _sync(self) -> Sequence[Effect]:
        """Bring the rooms that the socket is in to those that are wanted, one command at a time."""
        if not self.is_open or self._asking is not None or self._pausing:
            return []
        if rooms := self.rooms.to_leave(COMMAND_ROOMS_MAX):
            op = "unsubscribe"
        elif rooms := self.rooms.to_join(COMMAND_ROOMS_MAX):
            op = "subscribe"
        else:
            return []
        self._asking = tuple(rooms)
        return [Send({"op": op, "id": ROOMS, "rooms": rooms})]

    def _stale_rooms(self, fresh: tuple[str, ...]) -> list[Effect]:
        return [Stale("rooms", self._known_position(), fresh)] if fresh else []

    def _known_position(self) -> Position:
        if self.since is None:
            raise ValueError("an event before the server has said where the log is")
        return self.since


def _position(data: Message) -> Position:
    return Position(str(data["epoch"]), int(data["offset"]))
