"""The client's side of a WebSocket (RFC 6455), as much of it as a load generator needs. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterator

HEAD_END = b"\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 "

_KEY = base64.b64encode(b"0123456789abcdef").decode()  # Nobody here needs a nonce.
_CONTROL = 0x08  # The bit of an opcode that tells control frames from data (section 5.2).
_LENGTH_16, _LENGTH_64 = 126, 127
_FIN_TEXT, _FIN_BINARY, _MASKED = 0x81, 0x82, 0x80
_FIN, _OPCODE, _CLOSE = 0x80, 0x0F, 0x08
_CODE_BYTES, _NO_CODE = 2, 1005
_RSV1 = 0x40  # Of the first byte of a compressed message (RFC 7692 section 6).


def upgrade(host: str, path: str, token: str = "", *, subprotocol: str = "", deflate: bool = False) -> bytes:
    """Return the bytes of an upgrade request, with a bearer token if there is one."""
    fields = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {_KEY}",
        "Sec-WebSocket-Version: 13",
    ]
    if token:
        fields.append(f"Authorization: Bearer {token}")
    if subprotocol:
        fields.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    if deflate:  # As browsers offer it (RFC 7692 section 7.1).
        fields.append("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    return "\r\n".join([*fields, "", ""]).encode()


def agrees_to_deflate(head: bytes) -> bool:
    """Tell whether the head of a server's answer takes up permessage-deflate."""
    return any(
        line.startswith(b"sec-websocket-extensions:") and b"permessage-deflate" in line
        for line in head.lower().split(b"\r\n")
    )


def client_frame(payload: bytes, *, binary: bool = False) -> bytes:
    """Return a client's message as a frame. Its mask is zero: it hides nothing, and nobody here looks."""
    size = len(payload)
    length = (
        bytes([_MASKED | size]) if size < _LENGTH_16 else bytes([_MASKED | _LENGTH_16]) + size.to_bytes(2)
    )
    return bytes([_FIN_BINARY if binary else _FIN_TEXT]) + length + bytes(4) + payload


def close_code(data: bytes, position: int, end: int) -> int | None:
    """Return the code of the close frame between two positions, None if it is another frame.

    A close frame without a code counts as 1005 (RFC 6455 section 7.1.5).
    """
    if data[position] & _OPCODE != _CLOSE:
        return None
    code = data[position + 2 : end][:_CODE_BYTES]
    return int.from_bytes(code) if len(code) == _CODE_BYTES else _NO_CODE


def client_close(code: int) -> bytes:
    """Return a client's close frame. Its mask is zero."""
    return bytes([_FIN | _CLOSE, _MASKED | _CODE_BYTES]) + bytes(4) + code.to_bytes(_CODE_BYTES)


class FrameCounter:
    """Counts data frames in the bytes of one socket, however these are cut. Servers do not mask."""

    __slots__ = ("_begun", "_head", "_missing", "compressed")

    def __init__(self) -> None:
        self.compressed = 0  # How many of the frames that have begun have RSV1 set.
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
            first = data[position]
            is_data = not first & _CONTROL
            if first & _RSV1:
                self.compressed += 1
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


def payload_of(data: bytes, position: int, end: int) -> bytes | None:
    """Return the payload of the frame between two positions, None if it is a control frame."""
    if data[position] & _CONTROL:
        return None
    length = data[position + 1]
    return data[position + (2 if length < _LENGTH_16 else 10 if length == _LENGTH_64 else 4) : end]


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
            payload = payload_of(data, position, end)
            if payload is not None:
                yield payload
            position = end
        self._rest = data[position:]


class MarkCounter:
    """Counts the events in the bytes of one socket by a mark that each has, however many share a frame."""

    __slots__ = ("_mark", "_reader", "compressed")

    def __init__(self, mark: bytes) -> None:
        self.compressed = 0  # As a FrameCounter has; nothing here is compressed.
        self._mark = mark
        self._reader = MessageReader()

    def feed(self, data: bytes | bytearray, size: int) -> int:
        """Take the first `size` bytes of `data`; return how many events are in the frames now complete."""
        return sum(payload.count(self._mark) for payload in self._reader.feed(bytes(data[:size])))
