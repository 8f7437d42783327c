"""The client's side of a WebSocket (RFC 6455), as much of it as a load generator needs. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterator

HEAD_END = b"\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 "

_KEY = base64.b64encode(b"0123456789abcdef").decode()  # Nobody here needs a nonce.
_CONTROL = 0x08  # The bit of an opcode that tells control frames from data (section 5.2).
_LENGTH_16, _LENGTH_64 = 126, 127


def upgrade(host: str, path: str, token: str) -> bytes:
    """Return the bytes of an upgrade request with a bearer token."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


class FrameCounter:
    """Counts data frames in the bytes of one socket, however these are cut. Servers do not mask."""

    __slots__ = ("_begun", "_head", "_missing")

    def __init__(self) -> None:
        self._missing = 0  # Bytes that the frame begun last still lacks.
        self._begun = 0  # 1 if that one is a data frame.
        self._head = b""  # Set while a frame's header is cut.

    def feed(self, data: bytes | bytearray, size: int) -> int:
        """Take the first `size` bytes of `data`; return how many data frames are now complete."""
        if self._head:
            data = self._head + data[:size]
            size = len(data)
            self._head = b""
        position = self._missing
        if position > size:
            self._missing = position - size
            return 0
        frames = self._begun if position else 0
        self._missing = 0
        while position < size:
            end = frame_end(data, position, size)
            if end == 0:
                self._head = bytes(data[position:size])
                break
            is_data = not data[position] & _CONTROL
            if end > size:
                self._missing = end - size
                self._begun = is_data
                break
            frames += is_data
            position = end
        return frames


def frame_end(data: bytes | bytearray, position: int, size: int) -> int:
    """Return where the frame that begins at `position` ends, 0 if its header is not there up to `size`."""
    if position + 2 > size:
        return 0
    length = data[position + 1]
    if length < _LENGTH_16:
        return position + 2 + length
    header = 4 if length == _LENGTH_16 else 10
    if position + header > size:
        return 0
    return position + header + int.from_bytes(data[position + 2 : position + header], "big")


class MessageReader:
    """Returns the payloads of the data frames in the bytes of one socket."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the payload of each data frame that is complete with `data`."""
        data = self._rest + data
        size, position = len(data), 0
        while (end := frame_end(data, position, size)) and end <= size:
            if not data[position] & _CONTROL:
                length = data[position + 1]
                header = 2 if length < _LENGTH_16 else 10 if length == _LENGTH_64 else 4
                yield data[position + header : end]
            position = end
        self._rest = data[position:]
