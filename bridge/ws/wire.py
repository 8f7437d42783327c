"""RFC 6455 for one open socket: bytes in, whole text messages out. Pure, on the Sans-I/O layer of websockets.

What a client may not send fails the connection here, with the close code that says why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import cast

from websockets.extensions import Extension
from websockets.frames import BINARY, CONT, PING, TEXT, CloseCode, Frame
from websockets.protocol import SERVER, Protocol

from bridge.core.close import BAD_PROTOCOL, LIMIT, CloseReason

READ_BYTES_MAX = 4_096  # Parsed at a time: after so much a client that floods is noticed.
PING_FRAME = Frame(PING, b"").serialize(mask=False)
NO_EXTENSIONS: list[Extension] = []  # Shared: nobody adds any.
# The library would log what it reads, and with it tokens, at the level DEBUG.
SILENT = logging.getLogger("bridge.ws.silent")
SILENT.disabled = True


class Wire(Protocol):
    """The server's side of a WebSocket after its opening handshake."""

    def __init__(self, *, extensions: list[Extension], message_bytes_max: int, frames_max: int) -> None:
        """Begin open, with what the handshake has agreed on.

        So many frames of any kind may come until `frames_read` is set back to 0.
        """
        super().__init__(SERVER, max_size=message_bytes_max, logger=SILENT)
        del self.id  # A UUID for the library's log lines, which are off.
        self.extensions = extensions  # For what comes: what goes is compressed before it gets here.
        self.frames_read = 0
        self._frames_max = frames_max
        self._partial: bytearray | None = None  # Set while a fragmented message arrives.

    def messages(self, data: bytes) -> Iterator[bytes]:
        """Read bytes, and yield the text messages that they complete.

        The caller must exhaust the iterator, and write `data_to_send()` afterwards.
        """
        for start in range(0, len(data), READ_BYTES_MAX):
            self.receive_data(data[start : start + READ_BYTES_MAX])
            for frame in self.events_received():
                message = self._message(cast(Frame, frame))
                if isinstance(message, CloseReason):
                    self.fail(message.code, message.text)
                    return
                if message is not None:
                    yield message

    def end(self) -> None:
        """Learn that the connection is gone, and let go of what refers to itself: it is freed now."""
        self.receive_eof()
        self.parser.close()
        self.parser_exc = None

    def _message(self, frame: Frame) -> bytes | CloseReason | None:
        """Return the message that a frame completes, None if it completes none, or why it may not come."""
        self.frames_read += 1
        if self.frames_read > self._frames_max:
            return LIMIT.because("limit reached: too many frames")
        if frame.opcode is BINARY:
            return BAD_PROTOCOL.because("text messages only")
        if frame.opcode is not TEXT and frame.opcode is not CONT:
            return None  # Control frames have been answered.
        if frame.fin and self._partial is None:
            message = bytes(frame.data)
        else:
            # The library sees to the order of fragments and to the size of the whole.
            self._partial = self._partial or bytearray()
            self._partial += frame.data
            if not frame.fin:
                return None
            message, self._partial = bytes(self._partial), None
        try:
            message.decode()
        except UnicodeDecodeError as exc:  # RFC 6455 section 8.1
            return CloseReason(
                CloseCode.INVALID_DATA, f"{exc.reason} at position {exc.start}", reconnect=False
            )
        return message
