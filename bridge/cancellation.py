"""Being cancelled: once is enough, whatever happens at the same moment."""

from __future__ import annotations

import asyncio


def obey_cancellation() -> None:
    """Raise CancelledError if this task was cancelled and the cancellation has been lost on the way.

    Nobody cancels a second time, and a task that works in turns would go on for ever, with its owner
    waiting. It is lost where an answer comes at the same moment, in `asyncio.wait_for` before Python 3.12,
    which aiormq waits with; and where a task of a TaskGroup fails while the group is cancelled, before 3.13
    (https://docs.python.org/3/library/asyncio-task.html#task-groups).

    Such a group can also leave its task counted as cancelled. So whoever works in turns with groups awaits
    each turn in a task of its own, and asks here after it.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
