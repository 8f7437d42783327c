"""The bridge under test, built by its own composition root.

    python -m benchmarks.servers.bridge '{"settings": {…}, "with_broker": false}'

Without a broker only the public port is opened and entries are appended to the log by hand;
with one, all of the bridge runs.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import io
import json
import os
import pstats
import random
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from websockets.frames import Frame, Opcode

from benchmarks.machine import Cpu, allow_files
from benchmarks.servers.lines import obey, say
from bridge import logs
from bridge.app import Bridge
from bridge.collector import collecting
from bridge.core.entry import Entry, EventKey, Logged
from bridge.core.policy import Policy
from bridge.settings import Settings
from bridge.ws.dialects.bridge_v1 import encode_event

READY_SECONDS_MAX = 30.0
POLL_SECONDS = 0.05
OFFSET_FIRST = 10_000  # Offsets have five digits from here on, so that all messages have one size.
PROFILE_LINES = 25
NOBODY = "nobody:here"


def make_entry(room: str, message_bytes: int) -> Entry:
    """Return an event whose text message has this size at an offset of five digits."""
    payload = (
        b'{"type":"bench.event","version":1,"id":"0123456789abcdef",'
        b'"timestamp":"2026-01-01T00:00:00.000Z","data":{"text":"%b"}}'
    )

    def entry(text: bytes) -> Entry:
        return Entry(
            key=EventKey("bench.event", "0123456789abcdef"),
            targets=(room,),
            policy=Policy.DROP_OLDEST,
            conflate_key="",
            occurred_at=time.time(),
            expires_at=None,
            payload=payload % text,
        )

    spare = message_bytes - len(encode_event(Logged(OFFSET_FIRST, entry(b"")), room))
    assert spare >= 0, f"a message has at least {message_bytes - spare} bytes"
    return entry(filler(spare))


def filler(size: int) -> bytes:
    """Return text of this size that compresses to about half, as JSON of ids and field names does."""
    chance = random.Random(0)  # noqa: S311 - the same in every run
    fields = [f"field{number % 8}={chance.getrandbits(32):08x} " for number in range(size // 16 + 1)]
    return "".join(fields).encode()[:size]


def accepted_sockets(port: int) -> list[int]:
    """Return the descriptor of each socket that this process has accepted on a port.

    Found through the kernel, not through the server: what is written to one of them passes by
    every layer of Python. They stay the server's, which must not close one meanwhile.
    """
    found: list[int] = []
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            sock = socket.socket(fileno=int(entry.name))
        except OSError:
            continue  # No socket, or the listing itself.
        try:
            sock.getpeername()
            ours = sock.family == socket.AF_INET and sock.getsockname()[1] == port
        except OSError:
            ours = False
        fd = sock.detach()  # Not to be closed with this object.
        if ours:
            found.append(fd)
    return found


class Subject:
    """A bridge and what can be asked of it."""

    def __init__(self, bridge: Bridge, port: int) -> None:
        self._bridge = bridge
        self._numbers = count()
        self._port = port
        self._entry: Entry | None = None  # Set by prepare.
        self._message_bytes = 0  # Set by prepare.
        self._frame = b""  # The same message as the entry makes.
        self._fds: list[int] = []

    async def _append(self, entries: list[Entry]) -> None:
        await self._bridge._memory.append(entries)  # noqa: SLF001 - ingest's way in, which needs a broker

    async def prepare(self, room: str, message_bytes: int) -> dict[str, Any]:
        """Get ready to send one message to everybody in a room, through the bridge or past it."""
        silence = make_entry(NOBODY, message_bytes)
        while self._bridge.window.head < OFFSET_FIRST:
            await self._append(self._copies(silence, 1_000))
        self._message_bytes = message_bytes
        self._entry = make_entry(room, message_bytes)
        message = encode_event(Logged(OFFSET_FIRST, self._entry), room)
        self._frame = Frame(Opcode.TEXT, message).serialize(mask=False)
        self._fds = accepted_sockets(self._port)
        members = len(self._bridge.hub.members(room))
        assert members == len(self._fds), f"{members} in the room, {len(self._fds)} sockets"
        gc.collect()
        return {"sockets": len(self._fds), "message": message.decode()}

    def _copies(self, entry: Entry, events: int) -> list[Entry]:
        """Return an entry so many times, each time as another event: none is shown twice."""
        return [replace(entry, key=EventKey("bench.event", str(next(self._numbers)))) for _ in range(events)]

    async def fanout(self, batches: int, events: int) -> dict[str, float]:
        """Append `batches` runs of `events` entries each; return what that took."""
        assert self._entry is not None, "prepare first"
        runs = [self._copies(self._entry, events) for _ in range(batches)]
        append = self._append
        began, before = time.monotonic(), Cpu.now()
        for run in runs:
            await append(run)
            await asyncio.sleep(0)  # The loop turns, as it does between two reads of a queue.
        return _taken(began, before)

    async def bare(self, batches: int, events: int) -> dict[str, float]:
        """Write the same bytes to the same sockets, and do nothing else."""
        write, fds, data = os.write, self._fds, self._frame * events
        began, before = time.monotonic(), Cpu.now()
        for _ in range(batches):
            for fd in fds:
                write(fd, data)
            await asyncio.sleep(0)
        return _taken(began, before)

    async def paced(self, way: str, batches: int, interval_seconds: float) -> dict[str, float]:
        """Send one event in each interval, by `fanout` or `bare`, and one before that does not count.

        Returns what sending took, without the waiting.
        """
        send = {"fanout": self.fanout, "bare": self.bare}[way]
        taken = dict.fromkeys((*Cpu._fields, "wall"), 0.0)
        began = time.monotonic()
        for number in range(1 + batches):
            await asyncio.sleep(began + number * interval_seconds - time.monotonic())
            spent = await send(1, 1)
            if number:
                taken = {what: seconds + spent[what] for what, seconds in taken.items()}
        return taken

    async def silence(self, events: int) -> dict[str, float]:
        """Append events for a room in which nobody is, one by one; return what that took."""
        entries = self._copies(make_entry(NOBODY, self._message_bytes), events)
        began, before = time.monotonic(), Cpu.now()
        for entry in entries:
            await self._append([entry])
        return _taken(began, before)

    async def fill(self, room: str, events: int) -> dict[str, Any]:
        """Append events for a room at once, more than those there can take."""
        await self._append(self._copies(make_entry(room, self._message_bytes), events))
        return {}

    async def stream(self, batches: int, interval_seconds: float) -> dict[str, Any]:
        """Append one event in each interval; return when, for others' clocks (`time.monotonic`)."""
        assert self._entry is not None, "prepare first"
        began, sent_at = time.monotonic(), []
        for number in range(batches):
            await asyncio.sleep(began + number * interval_seconds - time.monotonic())
            [entry] = self._copies(self._entry, 1)
            sent_at.append(time.monotonic())
            await self._append([entry])
        return {"sent_at": sent_at}

    async def profile(self, batches: int, events: int) -> dict[str, Any]:
        """Do a fan-out under the profiler; return its report. The profiler inflates what is Python."""
        profiler = cProfile.Profile()
        profiler.enable()
        await self.fanout(batches, events)
        profiler.disable()
        report = io.StringIO()
        pstats.Stats(profiler, stream=report).sort_stats("tottime").print_stats(PROFILE_LINES)
        return {"report": report.getvalue()}

    async def settle(self) -> dict[str, Any]:
        """Collect garbage, and count the sockets."""
        gc.collect()
        return {"sockets": len(self._bridge._sockets.connections)}  # noqa: SLF001 - to see that all are there

    async def overflow(self) -> dict[str, Any]:
        """Answer with what became of frames that did not fit, and which sockets were closed."""
        stats = self._bridge.stats
        return {
            "dropped": stats.frames_dropped,
            "closed": {str(code): count for code, count in stats.closes.items()},
        }

    async def answers(self) -> dict[str, int]:
        """Answer with how many questions about users and grants were asked, and how many remembered."""
        return {
            f"{about} {source}": count
            for (about, source), count in self._bridge.stats.database_answers.items()
        }

    async def cpu(self) -> dict[str, float]:
        """Answer with the CPU time used so far."""
        return Cpu.now()._asdict()


def _taken(began: float, before: Cpu) -> dict[str, float]:
    return {**Cpu.now().since(before)._asdict(), "wall": time.monotonic() - began}


@asynccontextmanager
async def public_port_only(bridge: Bridge) -> AsyncIterator[int]:
    """Open the public port of a bridge whose other half stays off."""
    sockets = bridge._sockets  # noqa: SLF001 - the bridge has no way to serve by half, and needs none
    port = await sockets.start(bridge.settings.ws.host, 0)
    try:
        yield port
    finally:
        await sockets.stop()


@asynccontextmanager
async def whole(bridge: Bridge) -> AsyncIterator[int]:
    """Run all of a bridge."""
    async with bridge.serving() as ports:
        yield ports.public


async def becomes_ready(bridge: Bridge) -> bool:
    """Wait until a bridge consumes, and has its database; tell whether it did in time."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not _is_well(bridge) and time.monotonic() < deadline:  # noqa: ASYNC110 - asked for, as by operators
        await asyncio.sleep(POLL_SECONDS)
    return _is_well(bridge)


def _is_well(bridge: Bridge) -> bool:
    return all(part.ok for part in bridge.health())


def _tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Show an exception of a callback, which nobody else is going to see."""
    print(context["message"], file=sys.stderr)
    if error := context.get("exception"):
        traceback.print_exception(error)


async def main() -> None:
    """Serve until the end of standard input."""
    argument = json.loads(sys.argv[1])
    allow_files()
    logs.configure(level="ERROR", pretty=False)
    asyncio.get_running_loop().set_exception_handler(_tell)
    bridge = Bridge(Settings.model_validate(argument["settings"]))
    with_broker = argument["with_broker"]
    serving = whole(bridge) if with_broker else public_port_only(bridge)
    async with serving as port, collecting(bridge.stats.sockets_closed):
        if with_broker and not await becomes_ready(bridge):
            trouble = [f"{part.part}: {part.detail}" for part in bridge.health() if not part.ok]
            say(error=f"not ready within {READY_SECONDS_MAX:g} s: {'; '.join(trouble)}")
            return
        subject = Subject(bridge, port)
        await obey(
            {
                "prepare": subject.prepare,
                "fanout": subject.fanout,
                "bare": subject.bare,
                "paced": subject.paced,
                "profile": subject.profile,
                "silence": subject.silence,
                "fill": subject.fill,
                "stream": subject.stream,
                "settle": subject.settle,
                "overflow": subject.overflow,
                "answers": subject.answers,
                "cpu": subject.cpu,
            },
            port=port,
        )


if __name__ == "__main__":
    asyncio.run(main())
