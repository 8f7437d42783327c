"""Being cancelled: once is enough, whatever happens at the same moment.

Nobody cancels a second time, and a task that works in turns would go on for ever, with its owner waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


def obey_cancellation() -> None:
    """Raise CancelledError if this task was cancelled and the cancellation has been lost on the way.

    It is lost where an answer comes at the same moment: `asyncio.wait_for` before Python 3.12, which aiormq
    waits with. Not for tasks that have had a TaskGroup of their own: before 3.13 one can leave them counted
    as cancelled. For those there is `obeying`.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def obeying(work: Coroutine[object, object, T]) -> T:
    """Await some work that has a TaskGroup, and be cancelled if this task was, however the work ends.

    A TaskGroup of which a task fails while it is cancelled itself raises the failure alone before Python
    3.13 (https://docs.python.org/3/library/asyncio-task.html#task-groups). So the work has a task of its own
    here, and the count of cancellations that is looked at is one that no group has touched.
    """
    task = asyncio.ensure_future(work)
    try:
        return await task
    finally:
        obey_cancellation()
