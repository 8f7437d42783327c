"""What a client can ask of a session, and what a session can say, in no particular dialect."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.core.authority import InboxItem
from bridge.core.entry import Position
from bridge.core.outbox import Gap

CommandId = str | int | None
"""What a client put into `id`, repeated in the answer."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Who am I, which rooms do I want, and what did I see last?"""

    token: str
    rooms: tuple[str, ...] = ()
    since: Position | None = None
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Join rooms."""

    rooms: tuple[str, ...]
    since: Position | None = None
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Leave rooms."""

    rooms: tuple[str, ...]
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there?"""

    id: CommandId = None


@dataclass(frozen=True, slots=True)
class Auth:
    """Go on with this newer token."""

    token: str
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class Inbox:
    """What waits in my inbox after this item (0: from the oldest)?"""

    after: int = 0
    limit: int = 50
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class Read:
    """I have read these items of my inbox."""

    item_ids: tuple[int, ...]
    id: CommandId = None


Command = Hello | Subscribe | Unsubscribe | Ping | Auth | Inbox | Read


@dataclass(frozen=True, slots=True)
class RefusedRoom:
    """A room that was asked for and not joined."""

    room: str
    code: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The answer to a hello. `expires_at` in seconds since the epoch, `ping_interval` in seconds.

    `unread` counts items of the inbox; None when there is no inbox, or it cannot be read at the moment.
    """

    user_id: str
    client_id: str
    rooms: tuple[str, ...]
    refused: tuple[RefusedRoom, ...]
    position: Position
    recovered: bool
    expires_at: float
    ping_interval: float
    unread: int | None = None
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The answer to a subscribe: what was joined (or had been before) and what was not."""

    rooms: tuple[str, ...]
    refused: tuple[RefusedRoom, ...]
    position: Position
    recovered: bool
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The answer to an unsubscribe: the rooms the session is no longer in."""

    rooms: tuple[str, ...]
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping. `position` is where the session is, None before it is open."""

    position: Position | None = None
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The answer to an auth. `left` are rooms that the new token no longer opens."""

    expires_at: float
    rooms: tuple[str, ...]
    left: tuple[str, ...]
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class InboxPage:
    """The answer to an inbox: items, oldest first, and whether there may be more after the last."""

    items: tuple[InboxItem, ...]
    more: bool
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class ReadDone:
    """The answer to a read: how many items are unread now."""

    unread: int
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class CommandError:
    """A command was refused; the socket stays open."""

    code: str
    message: str
    room: str | None = None
    id: CommandId = None


@dataclass(frozen=True, slots=True)
class Expiring:
    """The token ends soon; send an auth. `expires_at` in seconds since the Unix epoch."""

    expires_at: float


@dataclass(frozen=True, slots=True)
class Revoked:
    """The user has lost these rooms; the socket has left them."""

    rooms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unread:
    """So many items of the user's inbox are unread now."""

    unread: int


@dataclass(frozen=True, slots=True)
class Draining:
    """The node is going away, or cannot tell who is who; come back after this many milliseconds."""

    retry_after_ms: int


PlainNotice = (
    Connected
    | Subscribed
    | Unsubscribed
    | Pong
    | Authenticated
    | ReadDone
    | CommandError
    | Expiring
    | Revoked
    | Unread
    | Draining
    | Gap
)
Notice = PlainNotice | InboxPage  # A page holds events, which are JSON already.
