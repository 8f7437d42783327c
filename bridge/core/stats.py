"""What the bridge counts about itself: plain numbers, added to where things happen.

The edges count here and the operator port reads; nothing on a hot path knows about metrics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

LATENCY_BOUNDS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0)


class Histogram:
    """Counts of observations per bucket; the last bucket has no upper bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Count nothing yet. `bounds` are inclusive upper bounds, ascending."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


class Stats:
    """Every counter of one node, in the units that its name says."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self.deliveries: Counter[tuple[str, str, str]] = Counter()  # By domain, event type and fate.
        self.dead_letters: Counter[tuple[str, str]] = Counter()  # By domain and reason.
        self.dead_letters_waiting: int | None = None  # In their queue; None before the broker was asked.
        self.requeued: Counter[str] = Counter()  # By domain.
        self.reconnects = 0
        self.entries_seen = 0
        self.entries_expired = 0
        self.log_read_lag_seconds = Histogram(LATENCY_BOUNDS_SECONDS)  # From the append to our reading it.
        self.loop_lag_seconds = Histogram(LATENCY_BOUNDS_SECONDS)  # How late the event loop wakes a task.
        self.log_caught_up = False  # Whether this node sees the log as it is.
        self.log_damaged = 0  # Messages of the log that are not ours or not whole.
        self.frames_sent = 0
        self.bytes_sent = 0
        self.compressions = 0  # Frames compressed, once for each parameter set in use, not for each socket.
        self.compressed_bytes_in = 0
        self.compressed_bytes_out = 0
        self.frames_conflated = 0
        self.frames_dropped = 0
        self.latency_seconds = Histogram(LATENCY_BOUNDS_SECONDS)  # Publish to socket, one per event.
        self.sockets_opened = 0
        self.sockets_max = 0  # The limit on those whose users are known.
        self.outbox_bytes_max = 0  # The limit on what all outboxes hold.
        self.resumes_asked = 0  # Commands with a position.
        self.resumes_recovered = 0  # Those of them that are given all they missed.
        self.commands: Counter[str] = Counter()  # By op.
        self.errors: Counter[str] = Counter()  # Errors sent to clients, by code.
        self.closes: Counter[int | str] = Counter()  # By our close code, or `client`.
        self.handshakes_dropped = 0  # Without an answer, because there were too many at once.
        self.storm_events: Counter[tuple[str, str]] = (
            Counter()
        )  # By event type, and `conflated` or `dropped`.
        self.handshakes_refused: Counter[int] = Counter()  # By HTTP status.
        self.tokens_rejected: Counter[str] = Counter()  # By reason.
        self.database_answers: Counter[tuple[str, str]] = Counter()  # By question and where it was found.
        self.database_seconds = Histogram(LATENCY_BOUNDS_SECONDS)  # Of one question to the database.
        self.inbox_items: Counter[str] = Counter()  # By what became of them.
        self.node_messages_ignored: Counter[str] = Counter()  # By reason: `malformed`, `full` or `busy`.

    def log_read(self, logged_at: float, now: float) -> None:
        """Count a reading of the log, by when its newest entry was logged; 0 if the log does not say.

        What is read back at the start is old, but not late, and does not count.
        """
        if logged_at and self.log_caught_up:
            self.log_read_lag_seconds.observe(max(0.0, now - logged_at))

    def sockets_closed(self) -> int:
        """Return how many sockets were closed, WebSockets or not yet."""
        return self.closes.total() + self.handshakes_refused.total()
