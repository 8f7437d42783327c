"""The properties of a message (AMQP 0-9-1 class basic), read where they lie. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from struct import Struct, error as StructError  # noqa: N812 - it is an exception
from types import MappingProxyType
from typing import Any, TypeAlias

from bridge.amqp.tolerant import read_short_text, read_table, read_timestamp

HEADER_PREFIX = "x-bridge-"
ANONYMOUS = f"{HEADER_PREFIX}anonymous"  # On what had no message_id: aiormq gives one to all that it sends.

Properties: TypeAlias = tuple[
    str | None, str | None, str | None, datetime | None, Mapping[str, Any], Mapping[str, Any]
]
"""The fields of a Delivery from `message_id` on, in their order."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
NO_PROPERTIES: Properties = (None, None, None, None, NOTHING, NOTHING)

# The flags, from the highest on, are in the order of the values (section 2.3.5.2).
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DELIVERY_MODE = 0x8000, 0x4000, 0x2000, 0x1000
_PRIORITY, _CORRELATION_ID, _REPLY_TO, _EXPIRATION = 0x0800, 0x0400, 0x0200, 0x0100
_MESSAGE_ID, _TIMESTAMP, _TYPE, _USER_ID = 0x0080, 0x0040, 0x0020, 0x0010
_APP_ID, _CLUSTER_ID, _MORE = 0x0008, 0x0004, 0x0001
_BEFORE_MESSAGE_ID = _PRIORITY | _CORRELATION_ID | _REPLY_TO | _EXPIRATION
_BEHIND_TIMESTAMP = _TYPE | _USER_ID | _APP_ID | _CLUSTER_ID
_LENGTH = Struct(">I")


def read_properties(data: bytes, at: int, end: int, flags: int) -> Properties:  # noqa: C901 - flags
    """Read the values that lie between `at` and `end`; `flags` says which are there.

    Raises:
        IndexError, struct.error: they do not fit.
    """
    content_type = content_encoding = message_id = timestamp = None
    headers = others = NOTHING
    if flags & _MORE:
        raise IndexError("there are more property flags than the specification has")
    if flags & _CONTENT_TYPE:
        at, content_type = _text(data, at)
    if flags & _CONTENT_ENCODING:
        at, content_encoding = _text(data, at)
    if flags & _HEADERS:
        after = at + _LENGTH.unpack_from(data, at)[0] + _LENGTH.size
        headers = _headers(data[at:after])
        at = after
    if flags & _DELIVERY_MODE:
        at += 1
    if flags & _BEFORE_MESSAGE_ID:
        others = {}
        if flags & _PRIORITY:
            others["priority"] = data[at]
            at += 1
        at = _texts(data, at, flags, _FIRST_OTHERS, others)
    if flags & _MESSAGE_ID:
        at, message_id = _text(data, at)
    if flags & _TIMESTAMP:
        timestamp = read_timestamp(data[at : at + 8])[1]
        at += 8
    if flags & _BEHIND_TIMESTAMP:
        others = dict(others)
        at = _texts(data, at, flags, _LAST_OTHERS, others)
    if at > end:
        raise IndexError("the properties do not fit")
    if headers and ANONYMOUS in headers:
        message_id = None
    return message_id, content_type, content_encoding, timestamp, headers, others


# Those with a name are kept for a dead letter.
_FIRST_OTHERS = ((_CORRELATION_ID, "correlation_id"), (_REPLY_TO, "reply_to"), (_EXPIRATION, ""))
_LAST_OTHERS = ((_TYPE, "type"), (_USER_ID, ""), (_APP_ID, "app_id"), (_CLUSTER_ID, ""))


def _headers(raw: bytes) -> Mapping[str, Any]:
    """Read a table; one that is wrong inside is empty: the message around it is whole, and so are others."""
    if len(raw) == _LENGTH.size:
        return NOTHING
    try:
        return read_table(raw)[1]
    except (ValueError, LookupError, ArithmeticError, StructError):
        return NOTHING


def _text(data: bytes, at: int) -> tuple[int, str]:
    """Read a short string; return where it ends, and the text."""
    after = at + 1 + data[at]
    raw = data[at + 1 : after]
    return after, raw.decode() if raw.isascii() else read_short_text(data[at:after])[1]


def _texts(data: bytes, at: int, flags: int, names: Sequence[tuple[int, str]], into: dict[str, Any]) -> int:
    """Read those of several short strings that are there; return where they end."""
    for flag, name in names:
        if flags & flag:
            at, value = _text(data, at)
            if name:
                into[name] = value
    return at
