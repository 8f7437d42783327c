"""A node that can be told to fail at one exact point, which no signal from outside could hit.

`python -m tests.chaos.faulty_node serve` with FAULT set to:

- `die-before-ack:N`: kill -9 itself after the log has confirmed the N-th batch, before the ack
- `clock`: at SIGUSR1 the wall clock jumps by an hour
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

from bridge.amqp.stream import StreamAppender
from bridge.cli import main
from bridge.core.entry import Entry

HOUR_SECONDS = 3600.0


def die_before_ack(batches: int) -> None:
    """Make the process kill itself when the log has confirmed so many batches."""
    append = StreamAppender.append
    left = batches

    async def append_and_die(self: StreamAppender, entries: Sequence[Entry]) -> None:
        nonlocal left
        await append(self, entries)
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    StreamAppender.append = append_and_die  # type: ignore[method-assign] # the fault


def jump_clock_at_signal() -> None:
    """Make the wall clock jump at SIGUSR1; the monotonic clock goes on."""
    real, jumped = time.time, [0.0]
    time.time = lambda: real() + jumped[0]

    def jump(*_: object) -> None:
        jumped[0] += HOUR_SECONDS

    signal.signal(signal.SIGUSR1, jump)


if __name__ == "__main__":
    fault, _, argument = os.environ.get("FAULT", "").partition(":")
    match fault:
        case "die-before-ack":
            die_before_ack(int(argument))
        case "clock":
            jump_clock_at_signal()
        case _:
            raise SystemExit(f"FAULT={fault!r} is no fault")
    main()
