"""Which entries of the log belong in whose inbox, gathered into batches to be written at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from bridge.core.entry import Entry, Logged, Position
from bridge.core.rooms import parse_room

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class InboxRules:
    """How much is kept, and which copies are taken for one event.

    `durable` are the names of the event types that belong in an inbox. An event that is logged again
    within `dedupe_seconds` is the same one.
    """

    durable: frozenset[str]
    items_per_user_max: int
    age_seconds_max: float
    sweep_seconds: float
    dedupe_seconds: float

    def wants(self, entry: Entry) -> bool:
        """Tell whether an entry belongs in an inbox."""
        return entry.key.event_type in self.durable


def key_of(entry: Entry) -> bytes:
    """Return an event's identity in KEY_BYTES, whatever a publisher has made its id of."""
    text = f"{entry.key.event_type}\0{entry.key.event_id}".encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=KEY_BYTES).digest()


def owners(entry: Entry) -> Iterator[str]:
    """Yield the users whose inbox an entry belongs in: those whose own room it goes to, once each."""
    for target in dict.fromkeys(entry.targets):
        room = parse_room(target)
        if room is not None and room.kind == "user":
            yield room.id


@dataclass(slots=True)
class Batch:
    """Items to write at once, as columns, and the position of the log that they bring the inbox to."""

    position: Position
    users: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    logged_at: list[float] = field(default_factory=list)  # Seconds since the Unix epoch.
    payload_bytes: int = 0
    _newest: dict[tuple[str, bytes], float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.users)

    def add(self, logged: Logged, *, now: float, dedupe_seconds: float) -> None:
        """Add an item for each owner of an entry; a copy of one that is here already is passed over."""
        key = key_of(logged.entry)
        logged_at = logged.logged_at or now
        for user_id in owners(logged.entry):
            before = self._newest.get((user_id, key))
            if before is not None and logged_at - before < dedupe_seconds:
                continue
            self._newest[user_id, key] = logged_at
            self.users.append(user_id)
            self.types.append(logged.entry.key.event_type)
            self.keys.append(key)
            self.payloads.append(logged.entry.payload)
            self.logged_at.append(logged_at)
            self.payload_bytes += len(logged.entry.payload)
