"""The event log as one reader of its own sees it, who goes on where it stopped.

The sockets' side is told of the log by `bridge.core.log.Reader`, as fast as it comes. Whoever has to be
waited for, such as the inbox with its database, reads by itself instead.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

from bridge.core.entry import Logged, Position


class Page(NamedTuple):
    """A run of entries, in log order.

    `up_to` is the offset that the log was read to: at least that of the last entry. `gap` is set when
    entries between the page before (or the position that was asked for) and this one are, or may be, out of
    reach.
    """

    epoch: str
    entries: Sequence[Logged]
    up_to: int
    gap: bool = False


class Feed(Protocol):
    """Reads the log at its reader's pace."""

    def follow(self, after: Position | None) -> AsyncGenerator[Page]:
        """Yield what stands after a position, then what is added, without end.

        From the oldest entry that there is, if the position is None or of another epoch. Nothing is
        buffered without bound: the log waits in its place until the next page is asked for.

        Raises:
            LogUnavailableError: the log cannot be read at the moment; follow again, later.
        """
        ...

    def done(self, position: Position) -> None:
        """Note that nothing up to this position will be asked for again."""
        ...
