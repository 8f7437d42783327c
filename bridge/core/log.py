"""The event log as the rest of the bridge sees it, and the one that lives in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bridge.core.entry import Entry, Logged, Position


class Reader(Protocol):
    """Who is told what stands in the log. No method may block or raise."""

    def begin(self, position: Position) -> None:
        """Start over: what comes next follows this position, and what came before is out of reach."""

    def receive(self, batch: Sequence[Logged]) -> None:
        """Take a run of entries, in log order."""

    def advance(self, offset: int) -> None:
        """Note that the log has come to this offset without an entry."""


class Appender(Protocol):
    """Where ingest writes.

    `pace_seconds` is the least time between two batches, because each has a price of its own: what comes
    meanwhile is appended with the next.
    """

    @property
    def pace_seconds(self) -> float:
        """Of the kind of log."""

    async def append(self, entries: Sequence[Entry]) -> None:
        """Add entries in order; return once the log has confirmed every one. Never waits for ever.

        Raises:
            LogUnavailableError: not confirmed, or not in time: some or all may not be logged. Nothing may be
                acked for them; appending them again may log them twice, which deduplication repairs.
        """

    async def catch_up(self) -> None:
        """Return once this node has seen everything that was logged before the call.

        Raises:
            LogUnavailableError: it could not be made sure.
        """


class MemoryLog:
    """An event log for one node: offsets are given here and the reader is called at once.

    It lives as long as the process; a new process is a new epoch, which clients are told.
    """

    pace_seconds = 0.0

    def __init__(self, *, epoch: str, reader: Reader) -> None:
        """Begin at offset 0, the birth of the log."""
        self._offset = 0
        self._reader = reader
        reader.begin(Position(epoch, 0))

    async def append(self, entries: Sequence[Entry]) -> None:
        """Give each entry the next offset and hand all to the reader. Never fails."""
        first = self._offset + 1
        self._offset += len(entries)
        self._reader.receive([Logged(offset, entry) for offset, entry in enumerate(entries, first)])

    async def catch_up(self) -> None:
        """Return: what is appended has been seen."""


class Readers:
    """Several readers of one log, told in their order."""

    def __init__(self, *readers: Reader) -> None:
        """Tell these."""
        self._readers = readers

    def begin(self, position: Position) -> None:
        """Start over."""
        for reader in self._readers:
            reader.begin(position)

    def receive(self, batch: Sequence[Logged]) -> None:
        """Take a run of entries."""
        for reader in self._readers:
            reader.receive(batch)

    def advance(self, offset: int) -> None:
        """Note how far the log has come."""
        for reader in self._readers:
            reader.advance(offset)
