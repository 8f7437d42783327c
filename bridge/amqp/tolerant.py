"""pamqp, made to take whatever RabbitMQ takes.

The broker looks neither at the text nor at the times in a message's properties. pamqp does, and where
it cannot read one aiormq ends the connection: a single odd message (a time in microseconds is enough)
would stop every domain, come back, and stop them again. And what pamqp has read it cannot always
write again, which a dead letter has to be.

    reading    a time past the year 9999 → None · bytes that are not UTF-8, where text must be → escaped
    writing    a float with all its digits · long text that was not UTF-8 as it came · what else pamqp
               refuses, as text
"""

from __future__ import annotations

from datetime import datetime
from struct import Struct, error as StructError  # noqa: N812 - it is an exception
from typing import Any

from pamqp import decode, encode

SHORT_BYTES_MAX = 255  # AMQP 0-9-1 section 4.2.5.3.
_DOUBLE = Struct(">d")
_LENGTH = Struct(">I")

_timestamp = decode.timestamp
_field_array = decode.field_array
_encode_table_value = encode.encode_table_value


def install() -> None:
    """Put the functions below in the place of pamqp's. Idempotent."""
    for methods in (decode.METHODS, decode.TABLE_MAPPING):
        for key, method in methods.items():
            if method in _INSTEAD:
                methods[key] = _INSTEAD[method]  # type: ignore[index] # a key of the one it came from
    encode.encode_table_value = _write_table_value


def read_timestamp(value: bytes) -> tuple[int, datetime | None]:
    """Read a time; None past the year 9999. As pamqp: returns the bytes used, and the value."""
    try:
        return _timestamp(value)
    except (ValueError, OverflowError, OSError):
        return 8, None


def read_short_text(value: bytes) -> tuple[int, str]:
    """Read a short string; what is not UTF-8 is escaped."""
    end = value[0] + 1
    text = value[1:end].decode(errors="backslashreplace")
    # Escaped, so that two ids stay two; and short enough to be written again.
    return end, text.encode()[:SHORT_BYTES_MAX].decode(errors="ignore")


def read_table(value: bytes) -> tuple[int, dict[str, Any]]:
    """Read a field table; one nested too deeply is empty."""
    end = _LENGTH.unpack_from(value)[0] + _LENGTH.size
    at = _LENGTH.size
    table: dict[str, Any] = {}
    try:
        while at < end:
            used, key = read_short_text(value[at:end])
            at += used
            used, table[key] = decode.embedded_value(value[at:end])
            at += used
    except RecursionError:  # Nested deeper than anybody means.
        return end, {}
    return end, table


def _read_array(value: bytes) -> tuple[int, list[Any]]:
    try:
        return _field_array(value)
    except RecursionError:
        return _LENGTH.unpack_from(value)[0] + _LENGTH.size, []


def _write_table_value(value: Any) -> bytes:  # noqa: ANN401 - whatever a table can hold
    match value:
        case float():
            return b"d" + _DOUBLE.pack(value)
        case bytes():
            return b"S" + _LENGTH.pack(len(value)) + value
        case _:
            try:
                return _encode_table_value(value)
            except (TypeError, ValueError, OverflowError, StructError):
                return _encode_table_value(str(value))


_INSTEAD: dict[Any, Any] = {
    decode.timestamp: read_timestamp,
    decode.short_str: read_short_text,
    decode.field_table: read_table,
    decode.field_array: _read_array,
}
