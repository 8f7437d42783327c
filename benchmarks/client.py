"""One socket of the load generator: connecting, then upgrading, then greeting, then counting."""

from __future__ import annotations

import socket

from benchmarks.peers.openings import Dialogue, Opening, UnexpectedError
from benchmarks.wire import (
    HEAD_END,
    SWITCHING,
    FrameCounter,
    MarkCounter,
    agrees_to_deflate,
    frame_end,
    payload_of,
)

SHOWN_BYTES_MAX = 300


class OpenFailedError(Exception):
    """A socket could not be opened."""


class Client:
    """One socket. Whoever owns it calls `read` when there is something to read."""

    __slots__ = (
        "_dialogue",
        "_head_read",
        "_unread",
        "counter",
        "deflate",
        "frames",
        "received",
        "request",
        "sock",
    )

    def __init__(self, sock: socket.socket, request: bytes, opening: Opening) -> None:
        self.sock = sock
        self.request = request  # Empty once it has been sent.
        self.received = 0
        self.frames = 0  # Greetings and events.
        self.deflate = False  # Set if the server has taken up the offer.
        self.counter = MarkCounter(opening.mark.encode()) if opening.mark else FrameCounter()
        self._dialogue: Dialogue | None = Dialogue(opening)  # None once it is over.
        self._head_read = False
        self._unread = b""  # Of the head, or of the dialogue.

    @property
    def open(self) -> bool:
        """Whether events are all that is still to come."""
        return self._dialogue is None

    def read(self, buffer: bytearray, *, once: bool = False) -> bool:
        """Take what has arrived, or `once` no more than fits; return whether the server is still there.

        Raises:
            OpenFailedError: the server does not open the socket.
        """
        while True:
            try:
                size = self.sock.recv_into(buffer)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not size:
                return False
            self.received += size
            if self._dialogue is None:
                self.frames += self.counter.feed(buffer, size)
            else:
                self._unread += buffer[:size]
                self._get_open(self._dialogue)
            if once or size < len(buffer):
                return True

    def _get_open(self, dialogue: Dialogue) -> None:
        if not self._head_read:
            self._read_head(dialogue)
        data, position = self._unread, 0
        while self._head_read and not dialogue.done:
            end = frame_end(data, position, len(data))
            if end == 0 or end > len(data):
                break
            payload = payload_of(data, position, end)
            position = end
            if payload is not None:
                self.frames += 1
                self._greet(dialogue, payload)
        self._unread = data[position:]
        if self._head_read and dialogue.done:
            self.frames += self.counter.feed(self._unread, len(self._unread))
            self._dialogue, self._unread = None, b""

    def _read_head(self, dialogue: Dialogue) -> None:
        head, end, rest = self._unread.partition(HEAD_END)
        if not end:
            return
        if not head.startswith(SWITCHING):
            raise OpenFailedError(f"the server answers {self._unread[:SHOWN_BYTES_MAX]!r}")
        self.deflate = agrees_to_deflate(head)
        self._head_read, self._unread = True, rest
        self.received = len(rest)
        self._send(dialogue.begin())

    def _greet(self, dialogue: Dialogue, payload: bytes) -> None:
        try:
            self._send(dialogue.receive(payload))
        except UnexpectedError as unexpected:
            raise OpenFailedError(str(unexpected)) from unexpected

    def _send(self, frame: bytes) -> None:
        if frame:
            assert self.sock.send(frame) == len(frame), "a greeting fits any send buffer"
