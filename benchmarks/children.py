"""Child processes that speak lines of JSON, and that cannot outlive the benchmark.

A child lives in a session of its own, so that Ctrl-C reaches only the benchmark, which then ends
its children in order. Should the benchmark be killed, the end of a child's standard input says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROJECT = Path(__file__).resolve().parent.parent
LEAVE_SECONDS_MAX = 5.0
SHOWN_BYTES_MAX = 2_000
READ_BYTES = 65_536

Answer = dict[str, Any]


class ChildError(Exception):
    """A child ended, did not answer in time, or answered that it cannot."""


class Child:
    """One child process. Its first line says that it is ready; then each line asked is answered by one."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """Start a command. `name` is for messages; `environment` goes before ours."""
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._unread = b""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            cwd=PROJECT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )

    @classmethod
    def of_module(cls, module: str, argument: Answer, environment: Mapping[str, str] | None = None) -> Self:
        """Start a Python module of ours with one JSON argument."""
        return cls(module, [sys.executable, "-m", module, json.dumps(argument)], environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it: by the end of its input, then SIGTERM, then SIGKILL. A failure learns its last words."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        for harder in (process.terminate, process.kill, None):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LEAVE_SECONDS_MAX)
                break
            if harder:
                harder()
        process.stdout.close()
        if isinstance(error, Exception) and (words := self._last_words()):
            error.add_note(f"{self.name} said at last:\n{words}")
        self._errors.close()

    def tell(self, **question: object) -> None:
        """Write one line; an `answer` must be read before the next."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
        except BrokenPipeError:
            raise ChildError(f"{self.name} has ended") from None

    def answer(self, seconds_max: float) -> Answer:
        """Read one line.

        Raises:
            ChildError: none came in time, the child ended, or the line has an `error`.
        """
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds_max
        while b"\n" not in self._unread:
            if not select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise ChildError(f"{self.name} did not answer within {seconds_max:g} s")
            more = os.read(output, READ_BYTES)
            if not more:
                raise ChildError(f"{self.name} has ended")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        answer: Answer = json.loads(line)
        if "error" in answer:
            raise ChildError(f"{self.name} says: {answer['error']}")
        return answer

    def ask(self, seconds_max: float, **question: object) -> Answer:
        """Write one line and read the answer. Raises ChildError, as `answer`."""
        self.tell(**question)
        return self.answer(seconds_max)

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-SHOWN_BYTES_MAX:].decode(errors="replace").strip()
