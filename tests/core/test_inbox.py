"""What of the log belongs in whose inbox."""

from __future__ import annotations

import pytest

from bridge.core.entry import Entry, EventKey, Logged, Position
from bridge.core.inbox import KEY_BYTES, Batch, InboxRules, key_of, owners
from bridge.core.policy import Policy


def entry(event_id: str, *targets: str, name: str = "order.completed") -> Entry:
    """Return an entry for these rooms."""
    return Entry(EventKey(name, event_id), targets, Policy.MUST_DELIVER, "", 0.0, None, b'{"a":1}')


@pytest.mark.parametrize(
    ("targets", "users"),
    [
        (("user:u1",), ["u1"]),
        (("device:d7", "user:u1", "role:admin", "all"), ["u1"]),
        (("user:u2", "user:u1", "user:u2"), ["u2", "u1"]),
        (("device:d7", "all"), []),
        (("user:", "user:a b", "users:u1"), []),
    ],
)
def test_owners(targets: tuple[str, ...], users: list[str]) -> None:
    """An event is kept for each user whose own room it goes to, once."""
    assert list(owners(entry("a", *targets))) == users


def test_wanted() -> None:
    """Only durable events are kept."""
    rules = InboxRules(frozenset({"order.completed"}), 1, 1.0, 1.0, 1.0)

    assert rules.wants(entry("a"))
    assert not rules.wants(entry("a", name="quota.updated"))


def test_keys() -> None:
    """The key tells events apart by type and id, in few bytes whatever the id is."""
    odd = [entry("a"), entry("a", name="order.cancelled"), entry("b"), entry("\0" * 9999), entry("\ud800")]

    assert len({key_of(one) for one in odd}) == len(odd)
    assert {len(key_of(one)) for one in odd} == {KEY_BYTES}
    assert key_of(entry("a", "user:u1")) == key_of(entry("a", "user:u2"))


def test_batch() -> None:
    """A batch has an item for each owner, with the time of logging, or now if the log does not say."""
    batch = Batch(Position("e", 0))
    batch.add(Logged(1, entry("a", "user:u1", "user:u2"), 50.0), now=99.0, dedupe_seconds=10.0)
    batch.add(Logged(2, entry("b", "user:u1")), now=99.0, dedupe_seconds=10.0)
    batch.add(Logged(3, entry("c", "all")), now=99.0, dedupe_seconds=10.0)

    assert len(batch) == 3
    assert batch.users == ["u1", "u2", "u1"]
    assert batch.logged_at == [50.0, 50.0, 99.0]
    assert batch.payload_bytes == 3 * len(b'{"a":1}')


@pytest.mark.parametrize(("later", "items"), [(9.9, 1), (10.0, 2)])
def test_copies(later: float, items: int) -> None:
    """The same event logged again is a copy for a while, and an event of its own after it."""
    batch = Batch(Position("e", 0))
    for logged_at in (100.0, 100.0 + later):
        batch.add(Logged(1, entry("a", "user:u1"), logged_at), now=0.0, dedupe_seconds=10.0)

    assert len(batch) == items
