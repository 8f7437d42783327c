"""Entries of the event log, and feeds of them."""

from __future__ import annotations

import json

from bridge.core.entry import Entry, EventKey, Logged, Position
from bridge.core.policy import Policy
from bridge.store.memory_feed import MemoryFeed

NOW = 1_800_000_000.0


def entry(event_id: str, *users: str, name: str = "order.completed", payload: bytes | None = None) -> Entry:
    """Return an event that goes to these users' own rooms, and to administrators."""
    return Entry(
        key=EventKey(name, event_id),
        targets=(*(f"user:{user_id}" for user_id in users), "role:admin"),
        policy=Policy.MUST_DELIVER,
        conflate_key="",
        occurred_at=NOW,
        expires_at=None,
        payload=json.dumps({"type": name, "id": event_id}).encode() if payload is None else payload,
    )


def logged(offset: int, event_id: str, *users: str, at: float = NOW, name: str = "order.completed") -> Logged:
    """Return such an event with its place in the log."""
    return Logged(offset, entry(event_id, *users, name=name), at)


def feed_of(*batch: Logged, epoch: str = "e1") -> MemoryFeed:
    """Return a feed of one life of the log that holds these."""
    feed = MemoryFeed(lambda entry: entry.key.event_type == "order.completed")
    feed.begin(Position(epoch, 0))
    if batch:
        feed.receive(batch)
    return feed
