"""The text frames that go to clients: unmasked, and whole messages (RFC 6455 section 5.2). Pure."""

from __future__ import annotations

from struct import Struct

TEXT_HEAD = 0x81  # FIN and the opcode; then comes the length, in one byte or behind one of these.
MEDIUM, LONG = 126, 127
SHORT_BYTES_MAX, MEDIUM_BYTES_MAX = 125, 65_535

_SHORT_HEAD, _MEDIUM_HEAD, _LONG_HEAD = Struct("!BB"), Struct("!BBH"), Struct("!BBQ")


def text_frame(data: bytes) -> bytes:
    """Wrap the bytes of a text message."""
    size = len(data)
    if size <= SHORT_BYTES_MAX:
        return _SHORT_HEAD.pack(TEXT_HEAD, size) + data
    if size <= MEDIUM_BYTES_MAX:
        return _MEDIUM_HEAD.pack(TEXT_HEAD, MEDIUM, size) + data
    return _LONG_HEAD.pack(TEXT_HEAD, LONG, size) + data


def message_of(frame: bytes) -> bytes:
    """Return what `text_frame` has wrapped."""
    return frame[{MEDIUM: 4, LONG: 10}.get(frame[1], 2) :]
