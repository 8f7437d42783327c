"""What an operator is told of an exception."""

from __future__ import annotations

import pytest

from bridge.core.errors import cause_of


@pytest.mark.parametrize(
    ("exc", "said"),
    [
        (OSError("no route"), "OSError: no route"),
        (TimeoutError(), "TimeoutError: no answer in time"),
        (TimeoutError("5 s"), "TimeoutError: 5 s"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_causes(exc: BaseException, said: str) -> None:
    """A cause has the exception's name and what it says, and never ends with a colon."""
    assert cause_of(exc) == said
