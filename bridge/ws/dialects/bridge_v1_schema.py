"""The messages of the dialect bridge.v1 as JSON Schemas with examples, for `bridge export asyncapi`.

The examples of what the server says are written by the dialect itself. Nothing here is used while serving.
"""

from __future__ import annotations

import json
from typing import Any

from bridge.core.asyncapi_socket import Dialect, Spoken
from bridge.core.authority import InboxItem
from bridge.core.close import CATALOGUE
from bridge.core.commands import (
    Authenticated,
    CommandError,
    Connected,
    Draining,
    Expiring,
    InboxPage,
    Notice,
    Pong,
    ReadDone,
    RefusedRoom,
    Revoked,
    Subscribed,
    Unread,
    Unsubscribed,
)
from bridge.core.entry import Position
from bridge.core.outbox import Gap
from bridge.ws.dialects.bridge_v1 import (
    COMMAND_ID_CHARACTERS_MAX,
    COMMAND_ID_MAX,
    INBOX_ITEMS_MAX,
    OFFSET_MAX,
    ROOMS_PER_COMMAND_MAX,
    SUBPROTOCOL,
    encode_notice,
)
from bridge.ws.gate import SOCKET_PATH

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_OFFSET: Schema = {"type": "integer", "minimum": 0, "maximum": OFFSET_MAX}
_ROOMS: Schema = {"type": "array", "items": _TEXT}
_ID: Schema = {
    "description": "Repeated in the answer.",
    "anyOf": [
        {"type": "string", "maxLength": COMMAND_ID_CHARACTERS_MAX},
        {"type": "integer", "minimum": -COMMAND_ID_MAX, "maximum": COMMAND_ID_MAX},
    ],
}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    schema: Schema = {"type": "object", "properties": required | (optional or {})}
    return schema | {"required": list(required)} if required else schema


_POSITION = _object({"epoch": {"type": "string", "maxLength": COMMAND_ID_CHARACTERS_MAX}, "offset": _OFFSET})
_REFUSED: Schema = {"type": "array", "items": _object({"room": _TEXT, "code": _TEXT})}
_ITEM = _object({"id": _COUNT, "read": {"type": "boolean"}, "event": {"type": "object"}})
_JOINED: Schema = {
    "rooms": _ROOMS,
    "refused": _REFUSED,
    "position": _POSITION,
    "recovered": {"type": "boolean"},
}
_ASKED: Schema = {**_ROOMS, "maxItems": ROOMS_PER_COMMAND_MAX}


def _command(  # Each has an optional id.
    op: str,
    summary: str,
    answer: str,
    example: Schema,
    *,
    required: Schema | None = None,
    optional: Schema | None = None,
) -> Spoken:
    schema = _object({"op": {"const": op}} | (required or {}), {"id": _ID} | (optional or {}))
    return Spoken(op, summary, schema, {"op": op, **example}, answer)


def _said(kind: str, summary: str, notice: Notice, data: Schema, *, optional: bool = False) -> Spoken:
    """Describe an answer or notice. With `optional` it may come without its data."""
    answers = getattr(notice, "id", None) is not None
    required = {"type": {"const": kind}} | ({} if optional else {"data": data})
    more = ({"id": _ID} if answers else {}) | ({"data": data} if optional else {})
    return Spoken(kind, summary, _object(required, more), json.loads(encode_notice(notice)))


_EPOCH = "47697a883bf04a09a1b52087420dce4a"
_TOKEN = "eyJhbGciOiJIUzI1NiIs…"  # noqa: S105 - cut short
_ENDS_AT = 1_795_255_200.0
_HERE = Position(_EPOCH, 57)
_EVENT = (
    b'{"type":"order.completed","version":1,"id":"evt-7","timestamp":"2026-11-21T10:00:00.000Z","data":{}}'
)

COMMANDS = (
    _command(
        "hello",
        "Who am I, which rooms do I want, and what did I see last? First, unless the handshake had a token.",
        "connected",
        {
            "id": "h1",
            "token": _TOKEN,
            "rooms": ["device:device-19"],
            "since": {"epoch": _EPOCH, "offset": 41},
        },
        required={"token": _TEXT},
        optional={"rooms": _ASKED, "since": _POSITION},
    ),
    _command(
        "subscribe",
        "Join rooms.",
        "subscribed",
        {"id": 2, "rooms": ["device:d7"]},
        required={"rooms": _ASKED},
        optional={"since": _POSITION},
    ),
    _command(
        "unsubscribe",
        "Leave rooms.",
        "unsubscribed",
        {"id": 3, "rooms": ["device:d7"]},
        required={"rooms": _ASKED},
    ),
    _command("ping", "Are you there, and how far am I?", "pong", {"id": 4}),
    _command(
        "auth",
        "Go on with this newer token of the same user.",
        "authenticated",
        {"id": 5, "token": _TOKEN},
        required={"token": _TEXT},
    ),
    _command(
        "inbox",
        "What waits in my inbox after this item?",
        "inbox",
        {"id": 6, "after": 0, "limit": 2},
        optional={"after": _OFFSET, "limit": {"type": "integer", "minimum": 1, "maximum": INBOX_ITEMS_MAX}},
    ),
    _command(
        "read",
        "I have read these items of my inbox.",
        "read",
        {"id": 7, "ids": [118]},
        required={"ids": {"type": "array", "items": _OFFSET, "minItems": 1, "maxItems": INBOX_ITEMS_MAX}},
    ),
)

ANSWERS = (
    _said(
        "connected",
        "The socket is open: which rooms it is in, where it begins, and whether nothing was missed.",
        Connected("u1", "c1", ("user:u1", "all"), (), _HERE, True, _ENDS_AT, 25.0, 3, "h1"),  # noqa: FBT003
        _object(
            {
                "userId": _TEXT,
                "message": _TEXT,
                "clientId": _TEXT,
                **_JOINED,
                "expiresAt": _TIME,
                "pingInterval": {"type": "number", "exclusiveMinimum": 0, "description": "Seconds."},
            },
            {"unread": _COUNT},
        ),
    ),
    _said(
        "subscribed",
        "Which of the rooms were joined.",
        Subscribed(("device:d7",), (RefusedRoom("user:u2", "forbidden"),), _HERE, False, 2),  # noqa: FBT003
        _object(_JOINED),
    ),
    _said(
        "unsubscribed", "Which rooms were left.", Unsubscribed(("device:d7",), 3), _object({"rooms": _ROOMS})
    ),
    _said(
        "pong",
        "Yes. Without data before the hello, and while missed events are being sent.",
        Pong(_HERE, 4),
        _object({"position": _POSITION}),
        optional=True,
    ),
    _said(
        "authenticated",
        "The new token is in force; the rooms in `left` are no longer open.",
        Authenticated(_ENDS_AT, ("user:u1", "all"), ("device:device-19",), 5),
        _object({"expiresAt": _TIME, "rooms": _ROOMS, "left": _ROOMS}),
    ),
    _said(
        "inbox",
        "Items of the inbox, oldest first.",
        InboxPage((InboxItem(118, _EVENT, read=False),), more=False, id=6),
        _object({"items": {"type": "array", "items": _ITEM}, "more": {"type": "boolean"}}),
    ),
    _said("read", "So many items are unread now.", ReadDone(0, 7), _object({"unread": _COUNT})),
    _said(
        "error",
        "The command was refused; the socket stays open.",
        CommandError("forbidden", "user:u2: it is another user's room", "user:u2", 8),
        _object({"code": _TEXT, "message": _TEXT}, {"room": _TEXT}),
    ),
)

NOTICES = (
    _said(
        "gap",
        "The socket did not read fast enough, and so many events between these offsets were dropped.",
        Gap(2236, 671, 2906),
        _object({"events": _COUNT, "firstOffset": _OFFSET, "lastOffset": _OFFSET}),
    ),
    _said(
        "expiring",
        "The token ends soon; send an auth.",
        Expiring(_ENDS_AT),
        _object({"expiresAt": _TIME}),
    ),
    _said("revoked", "The user has lost these rooms.", Revoked(("device:d7",)), _object({"rooms": _ROOMS})),
    _said(
        "unread", "So many items of the user's inbox are unread now.", Unread(3), _object({"unread": _COUNT})
    ),
    _said(
        "draining",
        "The node goes away: come back after so many milliseconds. A close with 1012 follows.",
        Draining(1493),
        _object({"retryAfterMs": _COUNT}),
    ),
)

QUERY = _object(
    {},
    {
        "token": {"type": "string", "description": "A JSON Web Token; better in another place."},
        "rooms": {"type": "string", "description": "Rooms to join, with commas between them."},
        "epoch": {"type": "string", "description": "Of the position to resume at."},
        "offset": {**_OFFSET, "description": "Of the position to resume at."},
    },
)

DIALECT = Dialect(
    name=SUBPROTOCOL,
    path=SOCKET_PATH,
    query=QUERY,
    commands=COMMANDS,
    answers=ANSWERS,
    notices=NOTICES,
    error="error",
    closes=CATALOGUE,
)
