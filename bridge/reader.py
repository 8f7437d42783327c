"""What a node does with the log, entry by entry: learn whose events are in it, obey, and hand out.

A change of who may what is obeyed between the entries before it and those after it, so that nothing that is
logged after a revocation reaches whom it concerns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bridge.core.dedupe import Once
from bridge.core.entry import Logged, Position
from bridge.core.log import Reader
from bridge.core.revocation import Change, change_of


class NodeReader:
    """A reader of the log in front of another, which hands out."""

    def __init__(self, once: Once, fanout: Reader, on_change: Callable[[Change, float], None]) -> None:
        """`on_change` gets each change, and when it was logged, in seconds since the Unix epoch."""
        self._once = once
        self._fanout = fanout
        self._on_change = on_change
        self.advance = fanout.advance

    def begin(self, position: Position) -> None:
        """Start over at a position of the log."""
        self._once.forget_copies()  # What comes now may have been shown before.
        self._fanout.begin(position)

    def receive(self, batch: Sequence[Logged]) -> None:
        """Take a run of entries, in log order."""
        now = time.time()
        run: list[Logged] = []
        for logged in batch:
            if not self._once.first_shown(logged.entry.key, logged.logged_at or now, now):
                continue
            change = change_of(logged.entry)
            if change is None:
                run.append(logged)
                continue
            if run:
                self._fanout.receive(run)
                run = []
            self._on_change(change, logged.logged_at or now)
        if run:
            self._fanout.receive(run)
        self._fanout.advance(batch[-1].offset)
