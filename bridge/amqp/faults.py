"""What goes wrong between us and a broker, under one name each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class ConnectionLostError(Exception):
    """The connection to RabbitMQ ended."""


class SourceLostError(Exception):
    """The consumer is gone: cancelled by the broker, or its channel closed."""


@contextmanager
def honest() -> Iterator[None]:
    """Give aiormq's news of a connection's end the right name, ConnectionLostError.

    Whoever waits for the broker then gets a bare Exception, or a CancelledError although nobody has
    cancelled the task: taken at their word, the one would end the process, the other the task, unseen.
    """
    try:
        yield
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionLostError("the connection ended") from exc
    except Exception as exc:
        if type(exc) is not Exception:
            raise
        raise ConnectionLostError("the connection ended") from exc


def obey_cancellation() -> None:
    """Raise CancelledError if this task was cancelled and the cancellation has been lost on the way.

    Nobody cancels a second time, and a task that works in turns would go on for ever. It is lost where an
    answer comes at the same moment: `asyncio.wait_for` before Python 3.12, which aiormq waits with. Not for
    tasks that have had a TaskGroup of their own: before 3.13 one can leave them counted as cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
