"""Dialect bridge.v1: one JSON object in each text message.

Pure: text to commands, and notices and log entries to the bytes of a message.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

import jiter

from bridge.core.commands import (
    Auth,
    Authenticated,
    Command,
    CommandError,
    CommandId,
    Connected,
    Draining,
    Expiring,
    Hello,
    Inbox,
    InboxPage,
    Notice,
    Ping,
    PlainNotice,
    Pong,
    Read,
    ReadDone,
    RefusedRoom,
    Revoked,
    Subscribe,
    Subscribed,
    Unread,
    Unsubscribe,
    Unsubscribed,
)
from bridge.core.entry import Logged, Position
from bridge.core.errors import BadMessage
from bridge.core.outbox import Gap
from bridge.core.times import iso_utc

SUBPROTOCOL = "bridge.v1"
ROOMS_PER_COMMAND_MAX = 200
COMMAND_ID_CHARACTERS_MAX = 128
COMMAND_ID_MAX = 2**53  # JavaScript reads no larger number exactly.
OFFSET_MAX = 2**63 - 1
INBOX_ITEMS = 50  # In an answer, unless the command says otherwise.
INBOX_ITEMS_MAX = 100  # In one command or answer.
GREETING = "Successfully connected to WebSocket server"


def parse(data: bytes) -> Command:
    """Read a command from a text message.

    Raises:
        BadMessage: it is none. Its `command_id` is set if an id could be read.
    """
    try:
        message = jiter.from_json(data, allow_inf_nan=False)
    except ValueError as exc:
        raise BadMessage("bad_json", f"the message is not JSON: {exc}") from exc
    if not isinstance(message, dict):
        raise BadMessage("bad_message", "the message must be a JSON object with an op")
    command_id = _command_id(message)
    op = message.get("op")
    reader = _READERS.get(op) if isinstance(op, str) else None
    if reader is None:
        shown = repr(op)[:80]
        raise BadMessage(
            "unknown_op", f"op is {shown}; it must be one of {', '.join(_READERS)}", command_id=command_id
        )
    try:
        return reader(message, command_id)
    except BadMessage as bad:
        bad.command_id = command_id
        raise


def position_from(epoch: object, offset: object) -> Position:
    """Read a position. Raises BadMessage when it is none."""
    if not isinstance(epoch, str) or len(epoch) > COMMAND_ID_CHARACTERS_MAX:
        raise BadMessage("bad_position", "epoch must be text, as the server sent it")
    if isinstance(offset, bool) or not isinstance(offset, int) or not 0 <= offset <= OFFSET_MAX:
        raise BadMessage("bad_position", "offset must be a whole number, as the server sent it")
    return Position(epoch, offset)


def encode_notice(notice: Notice) -> bytes:
    """Write a notice as the bytes of a text message."""
    if isinstance(notice, InboxPage):
        return _encode_page(notice)
    kind, data, command_id = _body(notice)
    message: dict[str, Any] = {"type": kind}
    if command_id is not None:
        message["id"] = command_id
    if data:
        message["data"] = data
    # In ASCII: half a character, which UTF-8 cannot hold, must not break what repeats a client's words.
    return json.dumps(message, separators=(",", ":")).encode()


def encode_event(logged: Logged, room: str) -> bytes:
    """Write an event as the bytes of a text message for the sockets of one room."""
    return b'{"offset":%d,"room":%b,%b' % (
        logged.offset,
        quoted(room).encode(),
        logged.entry.payload[1:],
    )


def encode_traced_event(logged: Logged, room: str) -> bytes:
    """Write an event as `encode_event` does, with its trace if it has one."""
    message = encode_event(logged, room)
    trace = logged.entry.trace
    return b'{"trace":"%b",%b' % (trace.encode(), message[1:]) if trace else message


def _encode_page(page: InboxPage) -> bytes:
    """Write a page of an inbox; the events in it are JSON already."""
    items = b",".join(
        b'{"id":%d,"read":%b,"event":%b}' % (item.item_id, b"true" if item.read else b"false", item.payload)
        for item in page.items
    )
    command_id = b"" if page.id is None else b'"id":%b,' % json.dumps(page.id).encode()
    more = b"true" if page.more else b"false"
    return b'{"type":"inbox",%b"data":{"items":[%b],"more":%b}}' % (command_id, items, more)


def _body(  # noqa: C901, PLR0911, PLR0912 - a table
    notice: PlainNotice,
) -> tuple[str, dict[str, Any], CommandId]:
    match notice:
        case Connected():
            data = {
                "userId": notice.user_id,
                "message": GREETING,
                "clientId": notice.client_id,
                "rooms": notice.rooms,
                "refused": _refused(notice.refused),
                "position": _position(notice.position),
                "recovered": notice.recovered,
                "expiresAt": _time(notice.expires_at),
                "pingInterval": notice.ping_interval,
            }
            if notice.unread is not None:
                data["unread"] = notice.unread
            return "connected", data, notice.id
        case Subscribed():
            data = {
                "rooms": notice.rooms,
                "refused": _refused(notice.refused),
                "position": _position(notice.position),
                "recovered": notice.recovered,
            }
            return "subscribed", data, notice.id
        case Unsubscribed():
            return "unsubscribed", {"rooms": notice.rooms}, notice.id
        case Pong():
            data = {} if notice.position is None else {"position": _position(notice.position)}
            return "pong", data, notice.id
        case Authenticated():
            data = {"expiresAt": _time(notice.expires_at), "rooms": notice.rooms, "left": notice.left}
            return "authenticated", data, notice.id
        case CommandError():
            data = {"code": notice.code, "message": notice.message}
            if notice.room is not None:
                data["room"] = notice.room
            return "error", data, notice.id
        case ReadDone():
            return "read", {"unread": notice.unread}, notice.id
        case Unread():
            return "unread", {"unread": notice.unread}, None
        case Revoked():
            return "revoked", {"rooms": notice.rooms}, None
        case Expiring():
            return "expiring", {"expiresAt": _time(notice.expires_at)}, None
        case Draining():
            return "draining", {"retryAfterMs": notice.retry_after_ms}, None
        case Gap():
            data = {
                "events": notice.events,
                "firstOffset": notice.first_offset,
                "lastOffset": notice.last_offset,
            }
            return "gap", data, None


def _refused(rooms: tuple[RefusedRoom, ...]) -> list[dict[str, str]]:
    return [{"room": room.room, "code": room.code} for room in rooms]


def _position(position: Position) -> dict[str, Any]:
    return {"epoch": position.epoch, "offset": position.offset}


def _time(seconds: float) -> str | None:
    return None if seconds == float("inf") else iso_utc(datetime.fromtimestamp(seconds, UTC))


def _command_id(message: dict[str, Any]) -> CommandId:
    value = message.get("id")
    if value is None or (isinstance(value, str) and len(value) <= COMMAND_ID_CHARACTERS_MAX):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= COMMAND_ID_MAX:
        return value
    raise BadMessage(
        "bad_message", f"id must be a whole number or text of at most {COMMAND_ID_CHARACTERS_MAX} characters"
    )


def _token(message: dict[str, Any]) -> str:
    token = message.get("token")
    if not isinstance(token, str):
        raise BadMessage("bad_message", "token must be text")
    return token


def _rooms(message: dict[str, Any], *, required: bool = True) -> tuple[str, ...]:
    rooms = message.get("rooms", None if required else [])
    if not isinstance(rooms, list) or not all(isinstance(room, str) for room in rooms):
        raise BadMessage("bad_message", 'rooms must be a list of room names, such as ["device:d7"]')
    if len(rooms) > ROOMS_PER_COMMAND_MAX:
        raise BadMessage("bad_message", f"at most {ROOMS_PER_COMMAND_MAX} rooms in one command")
    return tuple(rooms)


def _inbox(message: dict[str, Any], command_id: CommandId) -> Inbox:
    after, limit = message.get("after", 0), message.get("limit", INBOX_ITEMS)
    if type(after) is not int or not 0 <= after <= OFFSET_MAX:
        raise BadMessage("bad_message", "after must be the id of an item, as the server sent it")
    if type(limit) is not int or not 1 <= limit <= INBOX_ITEMS_MAX:
        raise BadMessage("bad_message", f"limit must be a whole number from 1 to {INBOX_ITEMS_MAX}")
    return Inbox(after, limit, command_id)


def _item_ids(message: dict[str, Any]) -> tuple[int, ...]:
    ids = message.get("ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= INBOX_ITEMS_MAX:
        raise BadMessage(
            "bad_message", f"ids must be a list of 1 to {INBOX_ITEMS_MAX} ids of items in the inbox"
        )
    if not all(type(item) is int and 0 <= item <= OFFSET_MAX for item in ids):
        raise BadMessage("bad_message", "ids must be whole numbers, as the server sent them")
    return tuple(ids)


def _since(message: dict[str, Any]) -> Position | None:
    since = message.get("since")
    if since is None:
        return None
    if not isinstance(since, dict):
        raise BadMessage("bad_position", "since must be a position {epoch, offset}, as the server sent it")
    return position_from(since.get("epoch"), since.get("offset"))


_READERS: dict[str, Callable[[dict[str, Any], CommandId], Command]] = {
    "hello": lambda m, i: Hello(_token(m), _rooms(m, required=False), _since(m), i),
    "subscribe": lambda m, i: Subscribe(_rooms(m), _since(m), i),
    "unsubscribe": lambda m, i: Unsubscribe(_rooms(m), i),
    "ping": lambda _, i: Ping(i),
    "auth": lambda m, i: Auth(_token(m), i),
    "inbox": _inbox,
    "read": lambda m, i: Read(_item_ids(m), i),
}
