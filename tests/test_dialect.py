"""Dialect bridge.v1: what stands in the messages, both ways."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from bridge.core.authority import InboxItem
from bridge.core.catalogue import Catalogue
from bridge.core.commands import (
    Auth,
    Authenticated,
    Command,
    CommandError,
    Connected,
    Draining,
    Expiring,
    Hello,
    Inbox,
    InboxPage,
    Notice,
    Ping,
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
from bridge.core.delivery import Delivery
from bridge.core.entry import Entry, EventKey, Logged, Position
from bridge.core.errors import BadMessage
from bridge.core.intake import Intake
from bridge.core.outbox import Gap
from bridge.core.policy import Policy
from bridge.ws.dialects.bridge_v1 import encode_event, encode_notice, parse
from consumers import domains

TEN = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC).timestamp()
HERE = Position("epoch-1", 57)

COMMANDS: list[tuple[str, Command]] = [
    # What design.md shows, then what it allows.
    (
        '{"op": "hello", "token": "jwt", "rooms": ["device:d7"], "since": {"epoch": "e", "offset": 41}}',
        Hello("jwt", ("device:d7",), Position("e", 41)),
    ),
    ('{"op": "hello", "token": "jwt"}', Hello("jwt")),
    ('{"op": "hello", "token": "", "rooms": [], "since": null, "id": 1}', Hello("", id=1)),
    ('{"op": "subscribe", "rooms": ["device:d7", "all"]}', Subscribe(("device:d7", "all"))),
    ('{"op": "subscribe", "rooms": [], "id": "a"}', Subscribe((), id="a")),
    (
        '{"op": "subscribe", "rooms": ["x"], "since": {"epoch": "", "offset": 0}}',
        Subscribe(("x",), Position("", 0)),
    ),
    (
        '{"op": "subscribe", "rooms": [], "since": {"epoch": "e", "offset": 9223372036854775807}}',
        Subscribe((), Position("e", 2**63 - 1)),
    ),
    ('{"op": "unsubscribe", "rooms": ["device:d7"], "id": 0}', Unsubscribe(("device:d7",), id=0)),
    ('{"op": "ping"}', Ping()),
    ('{"op": "ping", "id": null}', Ping()),
    ('{"op": "ping", "id": -9007199254740992}', Ping(-(2**53))),
    ('{"op": "ping", "id": "üñ\\"\\u0000"}', Ping('üñ"\0')),
    ('{"op": "ping", "more": {"is": "ignored"}}', Ping()),
    (' {"id": 1,\n"op":"ping"} ', Ping(1)),
    ('{"op": "auth", "token": "jwt", "id": 3}', Auth("jwt", 3)),
    ('{"op": "inbox", "id": 4}', Inbox(0, 50, 4)),
    ('{"op": "inbox", "after": 9223372036854775807, "limit": 100}', Inbox(2**63 - 1, 100)),
    ('{"op": "read", "ids": [5, 7], "id": 5}', Read((5, 7), 5)),
    # Rooms are judged by the session; here they are but text.
    ('{"op": "subscribe", "rooms": ["", "no room", "all:x"]}', Subscribe(("", "no room", "all:x"))),
]


@pytest.mark.parametrize(("text", "command"), COMMANDS)
def test_command(text: str, command: Command) -> None:
    """A well-formed message is a command."""
    assert parse(text.encode()) == command


ROOMS = 'rooms must be a list of room names, such as ["device:d7"]'
OFFSET = "offset must be a whole number, as the server sent it"
EPOCH = "epoch must be text, as the server sent it"
SINCE = "since must be a position {epoch, offset}, as the server sent it"
AFTER = "after must be the id of an item, as the server sent it"
LIMIT = "limit must be a whole number from 1 to 100"
IDS = "ids must be a list of 1 to 100 ids of items in the inbox"
ID = "id must be a whole number or text of at most 128 characters"
OPS = "it must be one of hello, subscribe, unsubscribe, ping, auth, inbox, read"

BAD_MESSAGES: list[tuple[str | bytes, str, str, object]] = [
    # what is sent                                       code            message                       the id
    ("", "bad_json", "the message is not JSON: EOF", None),
    ("hello", "bad_json", "the message is not JSON: expected value", None),
    (b"\xff", "bad_json", "the message is not JSON", None),
    ('{"op": "ping"', "bad_json", "the message is not JSON: EOF", None),
    ('{"op": "ping"} {}', "bad_json", "the message is not JSON: trailing", None),
    ('{"op": "ping", "id": NaN}', "bad_json", "the message is not JSON", None),
    ('{"op": "\\ud800"}', "bad_json", "the message is not JSON", None),
    ("[" * 5_000, "bad_json", "the message is not JSON: recursion limit", None),
    ('{"id": ' + "1" * 5_000 + "}", "bad_json", "the message is not JSON: number out of range", None),
    ('["ping"]', "bad_message", "the message must be a JSON object with an op", None),
    ("null", "bad_message", "the message must be a JSON object with an op", None),
    ('"ping"', "bad_message", "the message must be a JSON object with an op", None),
    ("{}", "unknown_op", f"op is None; {OPS}", None),
    ('{"op": "PING", "id": 1}', "unknown_op", f"op is 'PING'; {OPS}", 1),
    ('{"op": ["ping"], "id": "a"}', "unknown_op", f"op is ['ping']; {OPS}", "a"),
    ('{"op": {"ping": 1}}', "unknown_op", OPS, None),
    ('{"op": "' + "x" * 5_000 + '"}', "unknown_op", OPS, None),
    ('{"op": "ping", "id": 1.5}', "bad_message", ID, None),
    ('{"op": "ping", "id": true}', "bad_message", ID, None),
    ('{"op": "ping", "id": [1]}', "bad_message", ID, None),
    ('{"op": "ping", "id": "' + "x" * 129 + '"}', "bad_message", ID, None),
    ('{"op": "ping", "id": 9007199254740993}', "bad_message", ID, None),
    ('{"op": "ping", "id": ' + "1" * 4_000 + "}", "bad_message", ID, None),
    ('{"op": "hello", "id": 1}', "bad_message", "token must be text", 1),
    ('{"op": "hello", "token": 5}', "bad_message", "token must be text", None),
    ('{"op": "hello", "token": "t", "rooms": null}', "bad_message", ROOMS, None),
    ('{"op": "hello", "token": "t", "rooms": "device:d7"}', "bad_message", ROOMS, None),
    ('{"op": "auth", "token": null, "id": 1}', "bad_message", "token must be text", 1),
    ('{"op": "subscribe", "id": 1}', "bad_message", ROOMS, 1),
    ('{"op": "subscribe", "rooms": {"device:d7": 1}}', "bad_message", ROOMS, None),
    ('{"op": "subscribe", "rooms": ["device:d7", 7]}', "bad_message", ROOMS, None),
    ('{"op": "unsubscribe"}', "bad_message", ROOMS, None),
    ('{"op": "inbox", "after": -1, "id": 1}', "bad_message", AFTER, 1),
    ('{"op": "inbox", "after": "5"}', "bad_message", AFTER, None),
    ('{"op": "inbox", "after": null}', "bad_message", AFTER, None),
    ('{"op": "inbox", "limit": 0}', "bad_message", LIMIT, None),
    ('{"op": "inbox", "limit": 101}', "bad_message", LIMIT, None),
    ('{"op": "inbox", "limit": true}', "bad_message", LIMIT, None),
    ('{"op": "read"}', "bad_message", IDS, None),
    ('{"op": "read", "ids": []}', "bad_message", IDS, None),
    ('{"op": "read", "ids": [' + "1," * 100 + "1]}", "bad_message", IDS, None),
    ('{"op": "read", "ids": [1, "2"]}', "bad_message", "ids must be whole numbers", None),
    ('{"op": "read", "ids": [true]}', "bad_message", "ids must be whole numbers", None),
    (
        json.dumps({"op": "subscribe", "rooms": ["x"] * 1_001}),
        "bad_message",
        "at most 200 rooms in one command",
        None,
    ),
    ('{"op": "subscribe", "rooms": [], "since": 5, "id": 1}', "bad_position", SINCE, 1),
    ('{"op": "subscribe", "rooms": [], "since": []}', "bad_position", SINCE, None),
    ('{"op": "subscribe", "rooms": [], "since": {}}', "bad_position", EPOCH, None),
    ('{"op": "subscribe", "rooms": [], "since": {"epoch": 5, "offset": 5}}', "bad_position", EPOCH, None),
    (
        json.dumps({"op": "subscribe", "rooms": [], "since": {"epoch": "x" * 129, "offset": 5}}),
        "bad_position",
        EPOCH,
        None,
    ),
    ('{"op": "subscribe", "rooms": [], "since": {"epoch": "e"}}', "bad_position", OFFSET, None),
    (
        '{"op": "subscribe", "rooms": [], "since": {"epoch": "e", "offset": "5"}}',
        "bad_position",
        OFFSET,
        None,
    ),
    (
        '{"op": "subscribe", "rooms": [], "since": {"epoch": "e", "offset": 5.0}}',
        "bad_position",
        OFFSET,
        None,
    ),
    (
        '{"op": "subscribe", "rooms": [], "since": {"epoch": "e", "offset": true}}',
        "bad_position",
        OFFSET,
        None,
    ),
    ('{"op": "subscribe", "rooms": [], "since": {"epoch": "e", "offset": -1}}', "bad_position", OFFSET, None),
    (
        '{"op": "hello", "token": "t", "since": {"epoch": "e", "offset": 9223372036854775808}}',
        "bad_position",
        OFFSET,
        None,
    ),
]


@pytest.mark.parametrize(
    ("sent", "code", "message", "command_id"), BAD_MESSAGES, ids=lambda value: repr(value)[:60]
)
def test_bad_message(sent: str | bytes, code: str, message: str, command_id: object) -> None:
    """What is no command is refused with a code, words for a person, and the id if there is one."""
    with pytest.raises(BadMessage) as caught:
        parse(sent if isinstance(sent, bytes) else sent.encode())

    assert (caught.value.code, caught.value.command_id) == (code, command_id)
    assert message in caught.value.message
    assert len(caught.value.message) < 250


NOTICES: list[tuple[Notice, dict[str, Any]]] = [
    (
        Connected(
            user_id="u1",
            client_id="c1",
            rooms=("user:u1", "device:d7"),
            refused=(RefusedRoom("user:u2", "forbidden"),),
            position=HERE,
            recovered=True,
            expires_at=TEN,
            ping_interval=25,
        ),
        {
            "type": "connected",
            "data": {
                "userId": "u1",
                "message": "Successfully connected to WebSocket server",
                "clientId": "c1",
                "rooms": ["user:u1", "device:d7"],
                "refused": [{"room": "user:u2", "code": "forbidden"}],
                "position": {"epoch": "epoch-1", "offset": 57},
                "recovered": True,
                "expiresAt": "2026-11-21T10:00:00.000Z",
                "pingInterval": 25,
            },
        },
    ),
    (
        Subscribed(("device:d7",), (RefusedRoom("x", "bad_room"),), HERE, recovered=False, id=3),
        {
            "type": "subscribed",
            "id": 3,
            "data": {
                "rooms": ["device:d7"],
                "refused": [{"room": "x", "code": "bad_room"}],
                "position": {"epoch": "epoch-1", "offset": 57},
                "recovered": False,
            },
        },
    ),
    (
        Unsubscribed(("device:d7",), id=""),
        {"type": "unsubscribed", "id": "", "data": {"rooms": ["device:d7"]}},
    ),
    (Pong(id=0), {"type": "pong", "id": 0}),
    (Pong(), {"type": "pong"}),
    (Pong(HERE, 1), {"type": "pong", "id": 1, "data": {"position": {"epoch": "epoch-1", "offset": 57}}}),
    (
        Authenticated(TEN + 0.25, ("user:u1",), ("device:d7",), id="a"),
        {
            "type": "authenticated",
            "id": "a",
            "data": {"expiresAt": "2026-11-21T10:00:00.250Z", "rooms": ["user:u1"], "left": ["device:d7"]},
        },
    ),
    (
        CommandError("forbidden", "not yours", room="user:u2", id=1),
        {"type": "error", "id": 1, "data": {"code": "forbidden", "message": "not yours", "room": "user:u2"}},
    ),
    (CommandError("bad_json", "no"), {"type": "error", "data": {"code": "bad_json", "message": "no"}}),
    (Gap(3, 11, 19), {"type": "gap", "data": {"events": 3, "firstOffset": 11, "lastOffset": 19}}),
    (Expiring(TEN), {"type": "expiring", "data": {"expiresAt": "2026-11-21T10:00:00.000Z"}}),
    (Draining(1500), {"type": "draining", "data": {"retryAfterMs": 1500}}),
    (
        InboxPage((InboxItem(5, b'{"type":"a.b","data":{}}', read=True),), more=True, id=1),
        {
            "type": "inbox",
            "id": 1,
            "data": {"items": [{"id": 5, "read": True, "event": {"type": "a.b", "data": {}}}], "more": True},
        },
    ),
    (InboxPage((), more=False), {"type": "inbox", "data": {"items": [], "more": False}}),
    (ReadDone(3, id="r"), {"type": "read", "id": "r", "data": {"unread": 3}}),
    (Unread(0), {"type": "unread", "data": {"unread": 0}}),
    (Revoked(("device:d7",)), {"type": "revoked", "data": {"rooms": ["device:d7"]}}),
    (Expiring(float("inf")), {"type": "expiring", "data": {"expiresAt": None}}),
]


@pytest.mark.parametrize(("notice", "message"), NOTICES, ids=lambda value: type(value).__name__)
def test_notice(notice: Notice, message: dict[str, Any]) -> None:
    """Every notice is written as documented."""
    assert json.loads(encode_notice(notice)) == message


def test_event() -> None:
    """An event from the bus reaches the socket as design.md shows it."""
    catalogue = Catalogue(domains())
    body = b"""{"userId": "u1", "timestamp": "2026-11-21T10:00:00.000Z", "type": "updated",
                "quotaId": "q1", "limits": {}, "usage": {}, "internalNote": "secret"}"""
    intake = Intake(catalogue, catalogue.domains["quota"], body_bytes_max=1_000)
    (entry,) = intake.judge(Delivery("quota.updated", body, TEN, message_id="m-1")).entries

    message = encode_event(Logged(58, entry), "user:u1")

    assert json.loads(message) == {
        "type": "quota.updated",
        "version": 1,
        "id": "m-1",
        "offset": 58,
        "room": "user:u1",
        "timestamp": "2026-11-21T10:00:00.000Z",
        "data": {"userId": "u1", "quotaId": "q1", "limits": {}, "usage": {}},
    }


def logged(offset: int) -> Logged:
    """Return some event."""
    key = EventKey("x.y", "e")
    return Logged(offset, Entry(key, ("all",), Policy.DROP_OLDEST, "", TEN, None, b'{"type":"x.y"}'))


@pytest.mark.parametrize(
    "room", ["all", 'user:"', "user:\\", "user:用户", "user:</script>", "user:\N{LINE SEPARATOR}x"]
)
def test_room_of_odd_characters(room: str) -> None:
    """A room of any characters is written so that it can be read."""
    assert json.loads(encode_event(logged(2**63 - 1), room)) == {
        "offset": 2**63 - 1,
        "room": room,
        "type": "x.y",
    }


@pytest.mark.parametrize("text", ["\ud800", 'ü\0"\\\n', "🔑"])
def test_what_a_client_said_is_repeated(text: str) -> None:
    """Whatever a client sent can be repeated to it, and never breaks the message."""
    notice = CommandError("forbidden", text, room=text, id=text)

    message = encode_notice(notice).decode("utf-8")

    assert json.loads(message) == {
        "type": "error",
        "id": text,
        "data": {"code": "forbidden", "message": text, "room": text},
    }


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
messages = st.dictionaries(st.sampled_from(["op", "id", "token", "rooms", "since"]), values)
ops = st.sampled_from(["hello", "subscribe", "unsubscribe", "ping", "auth"])


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=50)
    | values.map(lambda value: json.dumps(value).encode())
    | st.builds(lambda message, op: json.dumps({**message, "op": op}).encode(), messages, ops)
)
def test_any_message(data: bytes) -> None:
    """Whatever is sent is a command or a bad message, and its id can be repeated."""
    try:
        command = parse(data)
    except BadMessage as bad:
        answer: Notice = CommandError(bad.code, bad.message, id=bad.command_id)
    else:
        answer = Pong(id=command.id)

    sent = json.loads(encode_notice(answer))

    assert sent.get("id") == getattr(answer, "id", None)
