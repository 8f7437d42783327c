"""How a batch of log entries is written as one message of the stream.

    b"B1" │ header length (4 bytes, big-endian) │ header (JSON) │ payload │ payload │ …

The header is a list with an item for each entry: type, id, targets, policy, conflation key, when it
occurred, when it expires, the length of its payload, and its traceparent if it has one. Payloads follow
as they will be sent: a node with nobody interested skips them without parsing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from struct import Struct
from typing import Any

import jiter

from bridge.core.entry import Entry, EventKey
from bridge.core.policy import Policy
from bridge.core.tracecontext import read_traceparent

MAGIC = b"B1"
BATCH_ENTRIES_MAX = 1024  # Also the distance between the offsets of two batches.
UNTRACED_VALUES = 8
_LENGTH = Struct(">I")
_OPEN, _CLOSE = b"{}"
_POLICIES = {policy.value: policy for policy in Policy}


class DamagedError(Exception):
    """A message of the stream that is not a batch of ours."""


def encode_batch(entries: Sequence[Entry]) -> bytes:
    """Write up to BATCH_ENTRIES_MAX entries as one message."""
    header = json.dumps(
        [
            (
                entry.key.event_type,
                entry.key.event_id,
                entry.targets,
                entry.policy,
                entry.conflate_key,
                entry.occurred_at,
                entry.expires_at,
                len(entry.payload),
                *((entry.trace,) if entry.trace else ()),
            )
            for entry in entries
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()
    return b"".join((MAGIC, _LENGTH.pack(len(header)), header, *(entry.payload for entry in entries)))


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
        header = jiter.from_json(body[start:at], cache_mode="keys")
        if not isinstance(header, list) or not 0 < len(header) <= BATCH_ENTRIES_MAX:
            raise DamagedError("the header is not a list of entries")
        entries = []
        for item in header:
            trace = _trace(item) if len(item) > UNTRACED_VALUES else ""
            entry, length = _entry(item, body, at, trace)
            entries.append(entry)
            at += length
    except (ValueError, TypeError, KeyError, OverflowError) as exc:
        raise DamagedError(f"the header cannot be read: {exc}") from exc
    if at != len(body):
        raise DamagedError("the payloads do not fill the message")
    return entries


def _entry(item: Any, body: bytes, at: int, trace: str) -> tuple[Entry, int]:  # noqa: ANN401 - any JSON value
    event_type, event_id, targets, policy, conflate_key, occurred_at, expires_at, length = item
    if not (
        isinstance(event_type, str)
        and isinstance(event_id, str)
        and isinstance(conflate_key, str)
        and isinstance(length, int)
        and length > 1
        and isinstance(targets, list)
        and all(isinstance(room, str) for room in targets)
    ):
        raise DamagedError("an entry's header has wrong types")
    payload = body[at : at + length]
    if len(payload) != length or payload[0] != _OPEN or payload[-1] != _CLOSE:
        raise DamagedError("a payload is cut short or is no JSON object")
    if not (isfinite(occurred_at) and (expires_at is None or isfinite(expires_at))):
        raise DamagedError("an entry's times are not finite")
    entry = Entry(
        key=EventKey(event_type, event_id),
        targets=tuple(targets),
        policy=_POLICIES[policy],
        conflate_key=conflate_key,
        occurred_at=float(occurred_at),
        expires_at=None if expires_at is None else float(expires_at),
        payload=payload,
        trace=trace,
    )
    return entry, length


def _trace(item: Any) -> str:  # noqa: ANN401 - any JSON value
    """Take the trace off the end of an entry's header."""
    trace = read_traceparent(item.pop()) if isinstance(item, list) else ""
    if not trace:
        raise DamagedError("an entry's trace is none")
    return trace
