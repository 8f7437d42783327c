"""A feed of the log that lives in memory: the node's reader fills it, whoever follows empties it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import islice

from bridge.core.entry import Entry, Logged, Position
from bridge.core.feed import Page

PAGE_ENTRIES_MAX = 1_000


class MemoryFeed:
    """Holds what is wanted of the log until it is done with. It is a `Reader` and a `Feed`.

    Past a limit the oldest entries are dropped: whoever follows is told of a gap.
    """

    def __init__(
        self, wanted: Callable[[Entry], bool], *, entries_max: int = 100_000, bytes_max: int = 67_108_864
    ) -> None:
        """Hold at most so many entries, and so many bytes of payload, that are `wanted`."""
        self._wanted = wanted
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._held: deque[Logged] = deque()
        self._bytes = 0
        self._epoch = ""
        self._floor = 0  # Entries up to this offset are gone, and were not done with.
        self._head = 0
        self._grown = asyncio.Event()

    def __len__(self) -> int:
        return len(self._held)

    def begin(self, position: Position) -> None:
        """Start over: what is held is of another life of the log, or follows a hole in it."""
        self._held.clear()
        self._bytes = 0
        self._epoch, self._head = position
        self._floor = self._head
        self._grown.set()

    def receive(self, batch: Sequence[Logged]) -> None:
        """Hold what is wanted of a run of entries."""
        for logged in batch:
            if self._wanted(logged.entry):
                self._held.append(logged)
                self._bytes += len(logged.entry.payload)
        while len(self._held) > self._entries_max or self._bytes > self._bytes_max:
            self._floor = self._drop_first()
        self.advance(batch[-1].offset)

    def advance(self, offset: int) -> None:
        """Note that the log has come to this offset."""
        self._head = offset
        self._grown.set()

    def done(self, position: Position) -> None:
        """Let go of everything up to a position."""
        while position.epoch == self._epoch and self._held and self._held[0].offset <= position.offset:
            self._drop_first()

    async def follow(self, after: Position | None) -> AsyncGenerator[Page]:
        """Yield what is held after the position, and what comes; see `Feed`."""
        epoch, at = after or ("", 0)
        while True:
            self._grown.clear()
            if epoch != self._epoch:
                # A log in memory is born with its node: its first entry has the offset 1.
                epoch, at = self._epoch, 0
            gap = at < self._floor
            found = list(islice((each for each in self._held if each.offset > at), PAGE_ENTRIES_MAX))
            up_to = found[-1].offset if len(found) == PAGE_ENTRIES_MAX else self._head
            if found or up_to > at:
                at = up_to
                yield Page(epoch, found, up_to, gap)
            else:
                await self._grown.wait()

    def _drop_first(self) -> int:
        dropped = self._held.popleft()
        self._bytes -= len(dropped.entry.payload)
        return dropped.offset
