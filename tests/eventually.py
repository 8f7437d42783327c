"""Waiting in tests: for a condition, with a deadline, never for a length of time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar, overload

SECONDS_MAX = 15.0
POLL_SECONDS = 0.01

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], what: str = "", *, seconds_max: float = SECONDS_MAX
) -> T: ...


@overload
async def eventually(
    condition: Callable[[], T], what: str = "", *, seconds_max: float = SECONDS_MAX
) -> T: ...


async def eventually(
    condition: Callable[[], Any], what: str = "", *, seconds_max: float = SECONDS_MAX
) -> Any:
    """Return the first true value of the condition; fail, saying what was awaited, if none comes in time."""
    deadline = time.monotonic() + seconds_max
    while True:
        value = condition()
        if isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds_max:g} s: {what or condition}"
        await asyncio.sleep(POLL_SECONDS)
