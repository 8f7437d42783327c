"""How a server under test is led: a line of JSON in, a line of JSON out, until the end of input.

The first line goes out when the server is ready and has its `port`, and the `pids` of its processes,
from which the kernel tells what CPU and memory it takes. Each line in names what to do
in `do`; its other fields are arguments. A line out with `error` says that it cannot be done.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Handler = Callable[..., Awaitable[Mapping[str, Any]]]


def say(**answer: object) -> None:
    """Write one line."""
    print(json.dumps(answer), flush=True)


async def obey(handlers: Mapping[str, Handler], **ready: object) -> None:
    """Say that the server is ready, then do what is asked until the end of standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    say(**{"pids": [os.getpid()], **ready})
    while line := await reader.readline():
        question = json.loads(line)
        say(**await handlers[question.pop("do")](**question))
