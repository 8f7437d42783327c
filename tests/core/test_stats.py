"""What is counted, and what is not."""

from __future__ import annotations

import pytest

from bridge.core.stats import Stats


@pytest.mark.parametrize(
    ("caught_up", "logged_at", "counted"),
    [
        (True, 98.0, (1, 2.0)),
        (True, 101.0, (1, 0.0)),  # By the broker's clock.
        (True, 0.0, (0, 0.0)),  # The log does not say.
        (False, 98.0, (0, 0.0)),  # It is read back.
    ],
)
def test_how_late_the_log_is_read(caught_up: bool, logged_at: float, counted: tuple[int, float]) -> None:  # noqa: FBT001
    """The lag of reading counts once the node has caught up, and is never below zero."""
    stats = Stats()
    stats.log_caught_up = caught_up

    stats.log_read(logged_at, now=100.0)

    assert (sum(stats.log_read_lag_seconds.counts), stats.log_read_lag_seconds.total) == counted
