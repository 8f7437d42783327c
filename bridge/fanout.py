"""From the log to the sockets: each entry is framed once per target and offered to who is there.

What was handed out stays in the replay window for those who come back.
Everything here is one synchronous call: no socket can see entries out of log order, and none can
make another wait, since an outbox takes or refuses a frame at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from bridge.core.entry import Logged, Position
from bridge.core.hub import Hub
from bridge.core.outbox import Frame
from bridge.core.stats import Stats
from bridge.core.window import Window


class Member(Protocol):
    """What fan-out needs of a socket."""

    def offer(self, frame: Frame) -> None:
        """Queue a frame."""

    def flush(self) -> None:
        """Write what is queued, if the client keeps up."""


M = TypeVar("M", bound=Member)


class Fanout(Generic[M]):
    """Hands log entries to the sockets in their target rooms."""

    def __init__(
        self,
        hub: Hub[M],
        window: Window,
        *,
        frame: Callable[[Logged, str], Frame],
        on_new_life: Callable[[], None],
        stats: Stats,
    ) -> None:
        """`frame` makes an entry into what the sockets of one room get.

        `on_new_life` is called when the log starts over, or has a hole: every socket must then be
        closed, since none can know what it missed.
        """
        self._hub = hub
        self._window = window
        self._frame = frame
        self._on_new_life = on_new_life
        self._stats = stats

    def begin(self, position: Position) -> None:
        """Start over at a position of the log."""
        first = not self._window.epoch
        self._window.begin(position)
        if not first:
            self._on_new_life()

    def advance(self, offset: int) -> None:
        """Note that the log has come to this offset without an entry."""
        self._window.advance(offset)

    def receive(self, batch: Sequence[Logged]) -> None:
        """Hand a run of entries out, in order; frames for one socket leave in one write."""
        now = time.time()
        self._window.append(batch, now)
        touched: dict[M, None] = {}
        sent: list[Logged] = []
        for logged in batch:
            self._stats.entries_seen += 1
            expires_at = logged.entry.expires_at
            if expires_at is not None and now > expires_at:
                self._stats.entries_expired += 1
                continue
            if self._offer(logged, touched):
                sent.append(logged)
        for member in touched:
            member.flush()
        self._observe(sent)

    def _offer(self, logged: Logged, touched: dict[M, None]) -> bool:
        """Offer an entry to its audience; tell whether there was any."""
        entry = logged.entry
        reached = False
        for room, members in self._hub.audience(entry.targets):
            frame = self._frame(logged, room)
            for member in members:
                member.offer(frame)
            touched.update(dict.fromkeys(members))
            reached = True
        return reached

    def _observe(self, sent: Iterable[Logged]) -> None:
        written_at = time.time()
        for logged in sent:
            self._stats.latency_seconds.observe(max(0.0, written_at - logged.entry.occurred_at))
