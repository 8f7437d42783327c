"""When Python looks for reference cycles."""

from __future__ import annotations

import gc

import pytest

from bridge.collector import COLLECT_SECONDS_MAX, SOCKETS_CLOSED_MAX, THRESHOLDS, collecting, is_due


@pytest.mark.parametrize(
    ("closed", "seconds", "due"),
    [
        (0, 0.0, False),
        (SOCKETS_CLOSED_MAX - 1, COLLECT_SECONDS_MAX - 1, False),
        (SOCKETS_CLOSED_MAX, 0.0, True),
        (0, COLLECT_SECONDS_MAX, True),
    ],
)
def test_everything_is_looked_through_when(closed: int, seconds: float, due: bool) -> None:  # noqa: FBT001 - a table
    """After so many closed sockets, or so long a time, and not before."""
    assert is_due(closed, seconds) is due


async def test_policy_holds_for_the_length_of_the_context() -> None:
    """Python's own thresholds are back afterwards, and nothing stays frozen."""
    before = gc.get_threshold()
    async with collecting(lambda: 0):
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > 0

    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
