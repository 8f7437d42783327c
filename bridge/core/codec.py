"""How a batch of log entries is written as one message of the stream.

    b"B1" │ header length (4 bytes, big-endian) │ header (JSON) │ payload │ payload │ …

The header is a list with an item for each entry: type, id, targets, policy, conflation key, when it
occurred, when it expires, the length of its payload, and its traceparent if it has one. Payloads follow
as they will be sent: a node with nobody interested skips them without parsing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct as Layout
from typing import Annotated

from msgspec import DecodeError, Meta, Struct
from msgspec.json import Decoder, Encoder

from bridge.core.entry import Entry, EventKey
from bridge.core.policy import Policy
from bridge.core.tracecontext import read_traceparent

MAGIC = b"B1"
BATCH_ENTRIES_MAX = 1024  # Also the distance between the offsets of two batches.
BATCH_BYTES_MAX = 262_144  # Of payloads.
_LENGTH = Layout(">I")
_OPEN, _CLOSE = b"{}"


class DamagedError(Exception):
    """A message of the stream that is not a batch of ours."""


class _Item(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What the header says of an entry, as a list in this order."""

    event_type: str
    event_id: str
    targets: tuple[str, ...]
    policy: Policy
    conflate_key: str
    occurred_at: float
    expires_at: float | None
    length: Annotated[int, Meta(gt=1)]
    trace: str = ""


_encode = Encoder().encode
_decode = Decoder(list[_Item]).decode


def batches(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Take entries apart into what fits into one message each; one that is too large has its own."""
    first, bytes_held = 0, 0
    for index, entry in enumerate(entries):
        bytes_held += len(entry.payload)
        if index - first == BATCH_ENTRIES_MAX or (index > first and bytes_held > BATCH_BYTES_MAX):
            yield entries[first:index]
            first, bytes_held = index, len(entry.payload)
    if entries:
        yield entries[first:]


def encode_batch(entries: Sequence[Entry]) -> bytes:
    """Write up to BATCH_ENTRIES_MAX entries as one message."""
    header = _encode(
        [
            (  # As in _Item.
                entry.key.event_type,
                entry.key.event_id,
                entry.targets,
                entry.policy,
                entry.conflate_key,
                entry.occurred_at,
                entry.expires_at,
                len(entry.payload),
                *((entry.trace,) if entry.trace else ()),  # A node of an older version takes no empty one.
            )
            for entry in entries
        ]
    )
    return b"".join((MAGIC, _LENGTH.pack(len(header)), header, *[entry.payload for entry in entries]))


def decode_batch(body: bytes) -> list[Entry]:
    """Read a message of the stream.

    Raises:
        DamagedError: it is not one that `encode_batch` wrote.
    """
    start = len(MAGIC) + _LENGTH.size
    if body[: len(MAGIC)] != MAGIC or len(body) < start:
        raise DamagedError("the message does not begin as a batch does")
    (header_length,) = _LENGTH.unpack_from(body, len(MAGIC))
    at = start + header_length
    try:
        header = _decode(body[start:at])
    except (DecodeError, ValueError) as exc:
        raise DamagedError(f"the header cannot be read: {exc}") from exc
    if not 0 < len(header) <= BATCH_ENTRIES_MAX:
        raise DamagedError(f"the header is of {len(header)} entries")
    entries = []
    for item in header:
        entries.append(_entry(item, body[at : at + item.length]))
        at += item.length
    if at != len(body):
        raise DamagedError("the payloads do not fill the message")
    return entries


def _entry(item: _Item, payload: bytes) -> Entry:
    if len(payload) != item.length or payload[0] != _OPEN or payload[-1] != _CLOSE:
        raise DamagedError("a payload is cut short or is no JSON object")
    if item.trace and read_traceparent(item.trace) != item.trace:
        raise DamagedError("an entry's trace is none")
    return Entry(
        EventKey(item.event_type, item.event_id),
        item.targets,
        item.policy,
        item.conflate_key,
        item.occurred_at,
        item.expires_at,
        payload,
        item.trace,
    )
