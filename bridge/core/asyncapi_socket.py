"""The socket's half of the AsyncAPI document: one channel with every command, answer, notice and event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.core.catalogue import EventType
from bridge.core.close import CloseReason
from bridge.core.examples import frame
from bridge.core.schema import frame_schema, key_of

WS_BINDING = "0.1.0"
SOCKET = "socket"

Part = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spoken:
    """One kind of message of a dialect. `answer` is the kind that answers a command that is not refused."""

    name: str
    summary: str
    schema: Mapping[str, Any]
    example: Mapping[str, Any]
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is said on a socket beside events. `query` is the schema of the handshake's query."""

    name: str
    path: str
    query: Mapping[str, Any]
    commands: Sequence[Spoken]
    answers: Sequence[Spoken]
    notices: Sequence[Spoken]
    error: str  # The answer to a command that is refused.
    closes: Sequence[CloseReason]


def reference(*path: str) -> Part:
    """Return a reference within the document."""
    return {"$ref": f"#/{'/'.join(path)}"}


def message(name: str, summary: str, payload: Mapping[str, Any], examples: Sequence[Part]) -> Part:
    """Return a message of JSON."""
    return {
        "name": name,
        "title": name,
        "summary": summary,
        "contentType": "application/json",
        "payload": payload,
        "examples": examples,
    }


def socket_channel(dialect: Dialect, sent: Iterable[EventType]) -> Part:
    """Return the channel of all sockets. `sent` are the event types that they get."""
    said = {
        f"{group}.{each.name}": message(each.name, each.summary, each.schema, [{"payload": each.example}])
        for group, spoken in (
            ("command", dialect.commands),
            ("answer", dialect.answers),
            ("notice", dialect.notices),
        )
        for each in spoken
    }
    frames = {_frame_name(each): _frame(each) for each in sent}
    return {
        "address": dialect.path,
        "title": f"Sockets, in the dialect {dialect.name}",
        "description": "Every message is text and holds one JSON object: a client's command has `op`, "
        "what the server says has `type`, and only events have `offset`. Close codes: `x-close-codes`.",
        "servers": [reference("servers", "bridge")],
        "messages": said | frames,
        "bindings": {"ws": {"method": "GET", "query": dialect.query, "bindingVersion": WS_BINDING}},
        "x-close-codes": [
            {"code": each.code, "reason": each.text, "reconnect": each.reconnect} for each in dialect.closes
        ],
    }


def socket_operations(dialect: Dialect, sent: Iterable[EventType]) -> Part:
    """Return what is done on a socket: each command with its answers, and what the server says unasked."""
    commands = {f"receive.{each.name}": _command(dialect, each) for each in dialect.commands}
    return commands | {
        "send.events": _sends("What goes to a socket's rooms.", map(_frame_name, sent)),
        "send.notices": _sends(
            "What the server says unasked.", (f"notice.{each.name}" for each in dialect.notices)
        ),
    }


def _frame_name(event_type: EventType) -> str:
    return f"event.{key_of(event_type)}"


def _frame(event_type: EventType) -> Part:
    schema = frame_schema(event_type)
    return message(event_type.name, schema["description"], schema, [{"payload": frame(event_type)}])


def _command(dialect: Dialect, command: Spoken) -> Part:
    return {
        "action": "receive",
        "channel": reference("channels", SOCKET),
        "summary": command.summary,
        "messages": [_message_reference(f"command.{command.name}")],
        "reply": {
            "channel": reference("channels", SOCKET),
            "messages": [_message_reference(f"answer.{name}") for name in (command.answer, dialect.error)],
        },
    }


def _sends(summary: str, names: Iterable[str]) -> Part:
    return {
        "action": "send",
        "channel": reference("channels", SOCKET),
        "summary": summary,
        "messages": [_message_reference(name) for name in names],
    }


def _message_reference(name: str) -> Part:
    return reference("channels", SOCKET, "messages", name)
