"""A batch of entries as one message: it comes back as it was, and nothing else is taken for one."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Sequence

import pytest
from hypothesis import example, given, strategies as st
from msgspec.structs import replace

from bridge.core.codec import BATCH_ENTRIES_MAX, MAGIC, DamagedError, decode_batch, encode_batch
from bridge.core.entry import Entry, EventKey
from bridge.core.policy import Policy

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
SECONDS = st.floats(0, 4e9, allow_nan=False)
PAYLOAD = st.binary(max_size=200).map(lambda inner: b"{" + inner + b"}")
ENTRY = st.builds(
    Entry,
    key=st.builds(EventKey, TEXT, TEXT),
    targets=st.lists(TEXT, max_size=4).map(tuple),
    policy=st.sampled_from(Policy),
    conflate_key=TEXT,
    occurred_at=SECONDS,
    expires_at=st.none() | SECONDS,
    payload=PAYLOAD,
    trace=st.sampled_from(["", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
SOUND = Entry(EventKey("a.b", "1"), ("all",), Policy.CONFLATE, "k", 1.0, None, b"{}")


def message(header: object, payloads: bytes = b"") -> bytes:
    """Return a message with any header."""
    text = json.dumps(header).encode()
    return MAGIC + struct.pack(">I", len(text)) + text + payloads


def item(**changes: object) -> list[object]:
    """Return a sound header's item, with some values changed."""
    values: dict[str, object] = {
        "event_type": "a.b",
        "event_id": "1",
        "targets": ["all"],
        "policy": "conflate",
        "conflate_key": "k",
        "occurred_at": 1.0,
        "expires_at": None,
        "length": 2,
    }
    return list((values | changes).values())


@given(st.lists(ENTRY, min_size=1, max_size=12))
def test_batch_comes_back_as_it_was(entries: Sequence[Entry]) -> None:
    """Whatever its texts, times and payloads, every entry of a batch is read as it was written, in order."""
    assert decode_batch(encode_batch(entries)) == entries


def test_nodes_of_an_older_version_read_it() -> None:
    """What is written is what every version has written: without a trace there is none, not an empty one."""
    traced = replace(SOUND, trace="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

    body = encode_batch([SOUND, traced])

    start = len(MAGIC) + 4
    header = body[start : start + int.from_bytes(body[len(MAGIC) : start])]
    assert json.loads(header) == [item(), item(trace=traced.trace)]


def test_largest_batch_comes_back() -> None:
    """A batch may have as many entries as the offsets of one message allow."""
    entries = [SOUND] * BATCH_ENTRIES_MAX
    assert decode_batch(encode_batch(entries)) == entries


def test_item_is_sound_unchanged() -> None:
    """What the cases below change is sound without the change."""
    assert decode_batch(message([item()], b"{}")) == [SOUND]


@pytest.mark.parametrize(
    "changes",
    [
        {"event_type": 1},
        {"event_id": None},
        {"targets": None},
        {"targets": "all"},
        {"targets": [1]},
        {"targets": {"all": 1}},
        {"policy": "explode"},
        {"policy": []},
        {"conflate_key": None},
        {"occurred_at": None},
        {"occurred_at": "1"},
        {"occurred_at": "soon"},
        {"occurred_at": 10**400},
        {"occurred_at": float("nan")},
        {"occurred_at": float("inf")},
        {"expires_at": "never"},
        {"expires_at": []},
        {"length": 1},
        {"length": 3},
        {"length": -2},
        {"length": True},
        {"length": 2.0},
        {"length": "2"},
        {"length": 10**30},
        {"surplus": 1},
        {"trace": "00-1-2-00"},
        {"trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "surplus": 1},
    ],
    ids=str,
)
def test_wrong_header_is_damage(changes: dict[str, object]) -> None:
    """An item with a value that is not what we write is damage, and nothing worse."""
    with pytest.raises(DamagedError):
        decode_batch(message([item(**changes)], b"{}"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"B1",
        b"B2" + encode_batch([SOUND])[2:],
        MAGIC + b"\xff\xff\xff\xff",
        message({}),
        message([]),
        message([[]]),
        message([None]),
        message([item()[:-1]], b"{}"),
        message([item()], b"[]"),
        message([item()], b"{}{}"),
        message([item(), item()], b"{}"),
        message([item()] * (BATCH_ENTRIES_MAX + 1), b"{}" * (BATCH_ENTRIES_MAX + 1)),
        MAGIC + struct.pack(">I", 200_000) + b"[" * 200_000,
        MAGIC + struct.pack(">I", 10) + b'["\\ud800"]',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_batch_is_damage(body: bytes) -> None:
    """A message that we did not write is damage."""
    with pytest.raises(DamagedError):
        decode_batch(body)


@given(st.lists(ENTRY, min_size=1, max_size=4), st.data())
def test_cut_batch_is_damage(entries: Sequence[Entry], data: st.DataObject) -> None:
    """A batch that is cut anywhere, or has something behind it, is damage."""
    body = encode_batch(entries)
    with pytest.raises(DamagedError):
        decode_batch(body[: data.draw(st.integers(0, len(body) - 1))])
    with pytest.raises(DamagedError):
        decode_batch(body + data.draw(st.binary(min_size=1, max_size=8)))


@given(st.lists(ENTRY, min_size=1, max_size=3), st.data())
def test_changed_bytes_are_at_worst_damage(entries: Sequence[Entry], data: st.DataObject) -> None:
    """Whatever bytes change, reading gives entries or DamagedError, and raises nothing else."""
    body = bytearray(encode_batch(entries))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DamagedError):
        decode_batch(bytes(body))


@given(JSON, st.binary(max_size=20))
@example([["a", "b", [], "conflate", "", 1e308, -1e308, 2]], b"{}")
def test_any_header_is_at_worst_damage(header: object, payloads: bytes) -> None:
    """Whatever JSON stands in the header, reading gives entries or DamagedError, and raises nothing else."""
    with contextlib.suppress(DamagedError):
        decode_batch(message(header, payloads))
