"""Frames of AMQP 0-9-1, as many as a load generator needs, without a connection. Pure.

Source: AMQP 0-9-1, sections 2.3.5 and 4.2 (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pamqp import body, commands, frame, header

from bridge.core.times import iso_utc

CHANNEL = 1
METHOD, BODY = 1, 3  # Frame types.
HEAD_BYTES, END_BYTES = 7, 1  # Type, channel and size stand before a payload, a mark behind it.

ROUTING_KEY = "quota.updated"
BODY_BYTES = 225
USER = "u-{index:05}"  # Of users 0, 1, 2 …, as `load.Plan` writes them.

SHOWN_BYTES_MAX = 200
_NUMBER_DIGITS = 9
_NUMBER, _USER = b"777777777", b"u-33333"  # Hold the places of what differs between events.
_ID_MARK = b'"quotaId":"'


@dataclass(frozen=True, slots=True)
class Events:
    """Events to single users, in turn, all of one size, as frames that can be written as they are.

    A number tells an event from others, `series` those of one run from those of the next: none is a
    duplicate. Each has a `quotaId` of its own, so that none takes another's place in an outbox. `wrapped`
    ones are `{"pattern", "data"}`, as NestJS publishes.
    """

    exchange: str
    series: str
    users: int
    routing_key: str = ROUTING_KEY
    wrapped: bool = False

    def frames(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """Yield for each number the three frames that publish it, persistent and with a message id."""
        text = _body()
        if self.wrapped:
            text = b'{"pattern":"%b","data":%b}' % (self.routing_key.encode(), text)
        properties = commands.Basic.Properties(
            content_type="application/json", delivery_mode=2, message_id=f"{self.series}-{_NUMBER.decode()}"
        )
        content = header.ContentHeader(body_size=len(text), properties=properties)
        method = commands.Basic.Publish(exchange=self.exchange, routing_key=self.routing_key)
        whole = b"".join(marshal(part) for part in (method, content, body.ContentBody(text)))
        # The places in order: the message id's number, the user, the quota's number.
        start, rest = whole.split(_NUMBER, 1)
        before_user, rest = rest.split(_USER)
        between, end = rest.split(_NUMBER)
        for number in numbers:
            digits = b"%09d" % number
            yield b"".join(
                (start, digits, before_user, b"u-%05d" % (number % self.users), between, digits, end)
            )


def new_series() -> str:
    """Return a name for a series of events that no other has."""
    return secrets.token_hex(4)


def number_in(data: bytes) -> int:
    """Return the number of the event in a text that holds it.

    Raises:
        ValueError: there is none, with what is there instead.
    """
    before, mark, after = data.partition(_ID_MARK)
    if not mark:
        raise ValueError(f"this is no event: {before[:SHOWN_BYTES_MAX]!r}")
    return int(after[:_NUMBER_DIGITS])


def marshal(part: frame.FrameTypes, channel: int = CHANNEL) -> bytes:
    """Return a frame's bytes."""
    return frame.marshal(part, channel)


class FrameReader:
    """Takes a stream of bytes apart into frames, however it is cut."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""  # Less than one frame.

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield type and whole bytes of each frame that is complete with `data`."""
        data = self._rest + data
        size, at = len(data), 0
        while at + HEAD_BYTES <= size:
            end = at + HEAD_BYTES + int.from_bytes(data[at + 3 : at + HEAD_BYTES], "big") + END_BYTES
            if end > size:
                break
            yield data[at], data[at:end]
            at = end
        self._rest = data[at:]


class Confirms:
    """Counts which events a broker has confirmed; tags count from 1 in the order of publishing.

    Source: https://www.rabbitmq.com/docs/confirms: one at a time or many, not always in order.
    """

    __slots__ = ("_early", "_first_open")

    def __init__(self) -> None:
        self._first_open = 1  # All before it are confirmed.
        self._early: set[int] = set()  # Confirmed, but behind one that is not.

    @property
    def count(self) -> int:
        """How many are confirmed."""
        return self._first_open - 1 + len(self._early)

    def note(self, tag: int, *, multiple: bool) -> None:
        """Take in one confirmation; with `multiple`, it is for every earlier tag too."""
        if multiple:
            self._first_open = max(self._first_open, tag + 1)
            self._early = {early for early in self._early if early > tag}
        else:
            self._early.add(tag)
        while self._first_open in self._early:
            self._early.remove(self._first_open)
            self._first_open += 1


def _body() -> bytes:
    """Return an event's JSON, with both places held."""
    event = {
        "userId": _USER.decode(),
        "timestamp": iso_utc(datetime.now(UTC)),  # As JavaScript writes it.
        "quotaId": _NUMBER.decode(),
        "limits": {"devices": 10, "storageGB": 100, "cpuCores": 16, "trafficGB": 1000},
        "usage": {"devices": 4, "storageGB": 37.5, "cpuCores": 12.25, "trafficGB": 41.5},
    }
    text = json.dumps(event, separators=(",", ":")).encode()
    assert len(text) == BODY_BYTES, f"an event has {len(text)} bytes instead of {BODY_BYTES}"
    return text
