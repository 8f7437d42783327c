"""Reading published keys: what a server or a file can do wrong, and that nobody waits or swells for it."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from bridge.auth.readers import KeysUnreadableError, read_file, read_url
from devel.ports import free_ports
from tests.auth.key_server import KeyServer, key_server

BYTES_MAX = 10_000
CANARY = "canary-51c3"


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    """A server of keys."""
    async with key_server() as running:
        yield running


async def read(url: str, *, seconds_max: float = 5.0) -> bytes:
    """Read a URL within the limits of these tests."""
    return await read_url(url, bytes_max=BYTES_MAX, seconds_max=seconds_max)


async def trouble(url: str, *, seconds_max: float = 5.0) -> str:
    """Return why a URL cannot be read."""
    with pytest.raises(KeysUnreadableError) as caught:
        await read(url, seconds_max=seconds_max)
    return str(caught.value)


async def test_answer(server: KeyServer) -> None:
    """What the server answers is returned as it is, up to the limit in bytes."""
    server.answer = b"x" * BYTES_MAX

    assert await read(f"{server.url}/keys") == server.answer


async def test_huge_answers(server: KeyServer) -> None:
    """An answer over the limit is given up as soon as that is clear, even if it would never end."""
    server.answer = b"x" * (BYTES_MAX + 1)

    assert await trouble(f"{server.url}/keys") == f"the answer is longer than {BYTES_MAX} bytes"
    assert await trouble(f"{server.url}/drip") == f"the answer is longer than {BYTES_MAX} bytes"


async def test_compressed_answers_stay_so(server: KeyServer) -> None:
    """An answer that is compressed against our word is not unpacked: it could be huge."""
    server.answer, server.headers = gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"}
    packed = server.answer

    assert len(packed) > BYTES_MAX
    assert await trouble(f"{server.url}/keys") == f"the answer is longer than {BYTES_MAX} bytes"

    server.answer = gzip.compress(b" " * 100_000)
    assert await read(f"{server.url}/keys") == server.answer


async def test_slow_answers(server: KeyServer) -> None:
    """The deadline is for the whole answer, whether it does not begin or does not end."""
    server.may_answer.clear()

    assert await trouble(f"{server.url}/keys", seconds_max=0.05) == "no whole answer within 0.05 s"
    assert await trouble(f"{server.url}/stall", seconds_max=0.05) == "no whole answer within 0.05 s"


@pytest.mark.parametrize("status", [204, 301, 302, 404, 500])
async def test_other_statuses(server: KeyServer, status: int) -> None:
    """Only status 200 counts; redirects are not followed, for they could lead away from https."""
    server.status, server.headers = status, {"Location": f"{server.url}/keys"}

    assert await trouble(f"{server.url}/keys") == f"answered with status {status}"
    assert server.requests == 1


async def test_nobody_there() -> None:
    """With nobody there the reason is said without the URL, whose query could be a secret."""
    (port,) = free_ports(1)

    said = await trouble(f"http://127.0.0.1:{port}/keys?key={CANARY}")

    assert said.startswith("no answer: ")
    assert CANARY not in said


async def test_not_http() -> None:
    """Something that does not speak HTTP is no trouble beyond its own."""

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 " + CANARY.encode() + b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = await trouble(f"http://127.0.0.1:{port}/keys")

    assert said.startswith("no answer: ")
    assert CANARY not in said


async def test_cancelled(server: KeyServer) -> None:
    """Whoever reads can be cancelled, and no connection is left."""
    server.may_answer.clear()
    task = asyncio.create_task(read(f"{server.url}/keys"))
    await server.asked.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_file(tmp_path: Path) -> None:
    """A file is read up to the limit."""
    file = tmp_path / "keys.json"
    file.write_bytes(b"x" * BYTES_MAX)

    assert await read_file(file, bytes_max=BYTES_MAX, seconds_max=5.0) == b"x" * BYTES_MAX


def make_long(file: Path) -> None:
    """Make a file that is over the limit."""
    file.write_bytes(b"x" * (BYTES_MAX + 1))


FILES: list[tuple[Callable[[Path], object], str]] = [
    (lambda _: None, os.strerror(errno.ENOENT)),
    (make_long, f"is longer than {BYTES_MAX} bytes"),
    (Path.mkdir, os.strerror(errno.EISDIR)),
    (os.mkfifo, "is a pipe"),
]


@pytest.mark.parametrize(("make", "problem"), FILES, ids=[row[1] for row in FILES])
async def test_file_that_cannot_be_read(tmp_path: Path, make: Callable[[Path], object], problem: str) -> None:
    """A file that is not there, too long, or none is told with its name."""
    file = tmp_path / "keys.json"
    make(file)

    with pytest.raises(KeysUnreadableError) as caught:
        await read_file(file, bytes_max=BYTES_MAX, seconds_max=5.0)

    assert str(caught.value) == f"{file}: {problem}"


async def test_slow_file(tmp_path: Path) -> None:
    """A file on a disk that does not answer is given up in time."""
    done = threading.Event()
    with patch("bridge.auth.readers._beginning", lambda *_: done.wait(5) and b""):
        try:
            with pytest.raises(KeysUnreadableError, match="not read within"):
                await read_file(tmp_path, bytes_max=BYTES_MAX, seconds_max=0.01)
        finally:
            done.set()
