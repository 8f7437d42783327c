"""What a client says to each server between the upgrade and the first event. Pure.

An opening is a list of steps: a message that the server is expected to send, and the answer to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.wire import client_frame

ROOM = "bench"
SHOWN_BYTES_MAX = 200


@dataclass(frozen=True, slots=True)
class Step:
    """A message of the server begins like this; then the client answers, or with b"" says nothing."""

    expected: bytes = b""
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a client gets from the upgrade to its events.

    `mark` is in the payload of every event once, and set where a server may join events in one frame.
    """

    path: str = "/"
    subprotocol: str = ""
    first: bytes = b""  # What the client says as soon as it may.
    steps: tuple[Step, ...] = ()
    binary: bool = False
    mark: str = ""


def greeted(greetings: int, path: str = "/") -> Opening:
    """Return the opening of a server that greets with some messages and asks for nothing."""
    return Opening(path=path, steps=(Step(),) * greetings)


OPENINGS = {
    "greeted": greeted(1),
    # Engine.IO 4: 0 opens; Socket.IO 5: 40 connects to a namespace.
    "socket.io": Opening(
        path="/socket.io/?EIO=4&transport=websocket", steps=(Step(b"0{", b"40"), Step(b"40{"))
    ),
    # STOMP 1.2. The receipt of a subscription comes when it stands.
    "stomp": Opening(
        path="/ws",
        subprotocol="v12.stomp",
        first=b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\nheart-beat:0,0\n\n\0",
        steps=(
            Step(
                b"CONNECTED\n",
                b"SUBSCRIBE\nid:0\ndestination:/topic/%b\nack:auto\nreceipt:r\n\n\0" % ROOM.encode(),
            ),
            Step(b"RECEIPT\n"),
        ),
    ),
    # nchan subscribes by path, and says nothing.
    "nchan": Opening(path=f"/subscribe/{ROOM}"),
    # NATS sends what is due to a client in one frame. PONG answers the PING after the subscription.
    "nats": Opening(
        steps=(
            Step(
                b"INFO ",
                b'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\nSUB %b 1\r\nPING\r\n'
                % ROOM.encode(),
            ),
            Step(b"PONG"),
        ),
        binary=True,
        mark=f"MSG {ROOM} ",
    ),
    # Centrifugo's JSON protocol; replies may share a frame, one a line.
    "centrifugo": Opening(
        path="/connection/websocket",
        first=b'{"id":1,"connect":{}}',
        steps=(
            Step(b'{"id":1,"connect":', b'{"id":2,"subscribe":{"channel":"%b"}}' % ROOM.encode()),
            Step(b'{"id":2,"subscribe":'),
        ),
        mark='{"push":{',
    ),
}


class UnexpectedError(Exception):
    """The server said something else."""


class Dialogue:
    """One client's way through an opening."""

    __slots__ = ("_opening", "_step")

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._step = 0

    @property
    def done(self) -> bool:
        """Whether every step has been taken."""
        return self._step == len(self._opening.steps)

    def begin(self) -> bytes:
        """Return what the client sends after the upgrade, as a frame; b"" for nothing."""
        return self._frame(self._opening.first)

    def receive(self, payload: bytes) -> bytes:
        """Take the server's next message; return the frame that answers it, b"" for none.

        Raises:
            UnexpectedError: it is not what this step expects.
        """
        step = self._opening.steps[self._step]
        if not payload.startswith(step.expected):
            said = payload[:SHOWN_BYTES_MAX]
            raise UnexpectedError(f"the server says {said!r} where {step.expected!r} is due")
        self._step += 1
        return self._frame(step.answer)

    def _frame(self, message: bytes) -> bytes:
        return client_frame(message, binary=self._opening.binary) if message else b""
