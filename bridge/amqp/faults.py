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
