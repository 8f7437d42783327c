"""Run one command, and make sure that it ends when its owner does.

    python keeper.py GRACE_SECONDS COMMAND [ARGUMENT ...]

Standard input is a pipe whose other end the owner holds. The byte "s", or the end of file, means stop:
SIGTERM to the command and, after the grace, SIGKILL to everything in the command's process group. The
byte "k" means SIGKILL at once, also during the grace. However the owner ends, by kill -9 too, the kernel
closes its end of the pipe, so nothing that a developer's tool or a test has started can outlive it. The
exit status is the command's, or 128 plus the number of the signal that ended it.

Why not PR_SET_PDEATHSIG: it fires when the *thread* that started the child ends, so a broker started
through asyncio.to_thread would die with the loop's thread pool; it reaches only the child itself; and
it is Linux's alone.

The owner runs this file by its path and outside the virtual environment, so that a keeper is there
within milliseconds: it may import the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time

STOP = b"s"
KILL = b"k"


class TerminatedError(Exception):
    """The keeper itself was asked to end (SIGTERM)."""


def main() -> None:
    """Start the command, then wait for its end, or for its owner's."""
    grace_seconds, command = float(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGTERM, _terminated)
    # A group of its own: the stragglers of a command that has ended can be killed without the keeper,
    # which still has the command's status to hand on.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    threading.Thread(target=_follow, args=(child,), daemon=True).start()
    if _owner_says() != KILL:
        child.terminate()
        _wait_for_kill(grace_seconds)  # _follow ends this process as soon as the command has ended.
    _kill_group(child.pid)
    threading.Event().wait()  # for _follow


def _owner_says() -> bytes:
    """Return the owner's word: empty when its end of the pipe is closed."""
    try:
        return os.read(sys.stdin.fileno(), 1)
    except TerminatedError:
        return b""


def _wait_for_kill(seconds: float) -> None:
    """Return after `seconds`, or when the owner has lost its patience."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0]:
            word = _owner_says()
            if word == KILL:
                return
            if not word:  # The owner is gone: an end of file stays readable, so select() is of no use now.
                time.sleep(max(0.0, deadline - time.monotonic()))


def _terminated(_signal: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Once is enough; the grace is not to be cut short.
    raise TerminatedError


def _follow(child: subprocess.Popen[bytes]) -> None:
    """Leave with the command's status once it has ended, taking what it left behind along."""
    # WNOWAIT leaves the process a zombie: its number, which is the group's, cannot be given away yet.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    _kill_group(child.pid)
    status = child.wait()
    os._exit(status if status >= 0 else 128 - status)  # Only this ends the process while main() waits.


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
