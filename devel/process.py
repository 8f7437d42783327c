"""A child process that is stopped in our order, and cannot outlive us."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from devel import keeper

KEEPER_SECONDS_MAX = 5.0
POLL_SECONDS = 0.05


class KeptProcess:
    """A command under a keeper (see devel/keeper.py), in a session of its own.

    A session of its own, because Ctrl-C in a terminal goes to every process of the session's
    foreground group at once, and the bridge has to leave before its broker.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        grace_seconds: float,
        output: IO[bytes] | None = None,
        held: Sequence[int] = (),
    ) -> None:
        """Start the command in `folder`. Its owner must call stop() or kill().

        Args:
            command: program and arguments.
            environment: all of its environment variables.
            folder: its working directory.
            grace_seconds: between SIGTERM and SIGKILL when it is stopped.
            output: where standard output and error go; None for this process's own.
            held: file descriptors that stay open until the last of it has ended, such as a lock's.
        """
        self._grace_seconds = grace_seconds
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, str(grace_seconds), *command],
            bufsize=0,  # The keeper is to read a word when it is written.
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
            start_new_session=True,
            pass_fds=held,
        )

    @property
    def status(self) -> int | None:
        """The exit status (128 + n: ended by signal n), or None while it runs."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.status is None

    def wait(self, seconds_max: float | None = None) -> bool:
        """Wait for its end, and tell whether it has come in time."""
        try:
            self._process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, hurry: threading.Event | None = None) -> None:
        """Ask it to stop and wait for its end. It is killed after the grace, or when `hurry` is set."""
        self._tell(keeper.STOP)
        deadline = time.monotonic() + self._grace_seconds + KEEPER_SECONDS_MAX
        while not self.wait(POLL_SECONDS) and time.monotonic() < deadline:
            if hurry and hurry.is_set():
                break
        self.kill()

    def kill(self) -> None:
        """End it at once with SIGKILL, and wait for its end. Does nothing when it has ended."""
        self._tell(keeper.KILL)
        if not self.wait(KEEPER_SECONDS_MAX):
            self._process.kill()  # The keeper hangs, which takes a stopped or a sick machine.
            self._process.wait()
        self._close()

    def _tell(self, word: bytes) -> None:
        pipe = self._process.stdin
        if pipe and not pipe.closed:
            with contextlib.suppress(BrokenPipeError):  # It has just ended by itself.
                pipe.write(word)

    def _close(self) -> None:
        pipe = self._process.stdin
        if pipe:
            pipe.close()
