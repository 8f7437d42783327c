"""The feed of a log in memory: nothing is lost up to its limits, and past them that is told."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, strategies as st

from bridge.core.entry import Position
from bridge.core.feed import Page
from bridge.store import memory_feed
from bridge.store.memory_feed import MemoryFeed
from tests.store.entries import entry, feed_of, logged


async def first(feed: MemoryFeed, after: Position | None = None) -> Page:
    """Return the first page after a position."""
    pages = feed.follow(after)
    try:
        return await anext(pages)
    finally:
        await pages.aclose()


def ids(page: Page) -> list[str]:
    """Return the ids of a page's events."""
    return [one.entry.key.event_id for one in page.entries]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (None, ["a", "b", "c"]),
        (Position("e1", 0), ["a", "b", "c"]),
        (Position("e1", 1), ["b", "c"]),
        (Position("e1", 2), ["b", "c"]),
        (Position("e0", 99), ["a", "b", "c"]),  # Another life of the log: from the first.
    ],
)
async def test_follow(after: Position | None, expected: list[str]) -> None:
    """What stands after a position comes, in order, with how far the log has come."""
    page = await first(feed_of(logged(1, "a", "u1"), logged(3, "b", "u1"), logged(4, "c", "u1")), after)

    assert ids(page) == expected
    assert (page.epoch, page.up_to, page.gap) == ("e1", 4, False)


async def test_unwanted() -> None:
    """What is not wanted is not held, but passes for progress."""
    feed = feed_of(logged(1, "a", "u1", name="quota.updated"), logged(2, "b", "u1", name="quota.updated"))

    assert len(feed) == 0
    assert await first(feed) == Page("e1", [], 2)


async def test_waits() -> None:
    """Whoever follows waits for what is added."""
    feed = feed_of(logged(1, "a", "u1"))
    pages = feed.follow(Position("e1", 1))
    page = asyncio.ensure_future(anext(pages))
    await asyncio.sleep(0)
    assert not page.done()

    feed.receive([logged(2, "b", "u1")])

    assert ids(await page) == ["b"]
    await pages.aclose()


async def test_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Much comes in pages of a bounded size, of which each says how far it goes."""
    monkeypatch.setattr(memory_feed, "PAGE_ENTRIES_MAX", 2)
    feed = feed_of(*(logged(offset, f"{offset}", "u1") for offset in range(1, 6)))
    pages = feed.follow(None)

    assert [(ids(page), page.up_to) for page in [await anext(pages) for _ in range(3)]] == [
        (["1", "2"], 2),
        (["3", "4"], 4),
        (["5"], 5),
    ]
    await pages.aclose()


async def test_done() -> None:
    """What is done with is let go; a position of another life lets nothing go."""
    feed = feed_of(*(logged(offset, f"{offset}", "u1") for offset in range(1, 5)))

    feed.done(Position("e0", 4))
    assert len(feed) == 4
    feed.done(Position("e1", 2))
    assert len(feed) == 2
    assert ids(await first(feed, Position("e1", 2))) == ["3", "4"]
    assert not (await first(feed, Position("e1", 2))).gap


@pytest.mark.parametrize("limits", [{"entries_max": 2}, {"bytes_max": 2 * len(entry("1").payload)}])
async def test_overflow(limits: dict[str, int]) -> None:
    """Past a limit the oldest entries go, and whoever had not read them is told of a gap."""
    feed = MemoryFeed(lambda _: True, **limits)
    feed.begin(Position("e1", 0))
    feed.receive([logged(offset, f"{offset}", "u1") for offset in range(1, 5)])

    page = await first(feed, Position("e1", 1))
    assert ids(page) == ["3", "4"]
    assert page.gap
    assert not (await first(feed, Position("e1", 2))).gap


async def test_new_life() -> None:
    """When the log begins anew, what was held goes, and the first page is of the new life."""
    feed = feed_of(logged(1, "a", "u1"))
    pages = feed.follow(None)
    assert ids(await anext(pages)) == ["a"]
    feed.begin(Position("e2", 0))
    feed.receive([logged(1, "b", "u1")])

    page = await anext(pages)

    assert (page.epoch, ids(page), page.gap) == ("e2", ["b"], False)
    await pages.aclose()


@given(st.lists(st.integers(0, 4), max_size=20), st.integers(1, 6))
def test_whole(batches: list[int], reads: int) -> None:
    """However reading and writing interleave, each entry comes once and in order."""

    async def play() -> None:
        feed = feed_of()
        offset, got = 0, list[int]()
        pages = feed.follow(None)
        for number, size in enumerate(batches):
            batch = [logged(offset + place, "x", "u1") for place in range(1, size + 1)]
            offset += size
            if batch:
                feed.receive(batch)
                if number % reads == 0:
                    got += [one.offset for one in (await anext(pages)).entries]
        while not got or got[-1] < offset:
            if not offset:
                break
            got += [one.offset for one in (await anext(pages)).entries]
        assert got == list(range(1, offset + 1))
        await pages.aclose()

    asyncio.run(play())
