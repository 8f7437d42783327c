"""The console's live streams: samples each second, and the tail of the log. Server-sent events over fetch.

A stream keeps nothing for its reader but a place: a slow reader skips what it has not come to, and is told
how much. The tail is read from the replay window, so that handing out events knows nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import translate
from re import Pattern, compile as compile_pattern
from typing import TypeVar

import structlog
from aiohttp import web

from bridge.admin.console_web import ApiError, encoded
from bridge.core.entry import Logged
from bridge.core.rooms import user_room
from bridge.core.samples import Reading, Sample, between
from bridge.core.trace import where
from bridge.core.window import Window

log = structlog.get_logger()

T = TypeVar("T")

SAMPLES_MAX = 900
SAMPLE_SECONDS = 1.0
STREAMS_MAX = 20
WRITE_SECONDS_MAX = 30.0  # For a client to take what waits for it, before its stream ends.
UNSENT_BYTES_MAX = 65_536  # In the kernel, for each stream.
TURN_SECONDS = 0.2
TURN_ENTRIES_MAX = 100  # Sent to one reader in one turn: what is more is said, not shown.
TURN_BYTES_MAX = 1_048_576  # Of their payloads; one that is larger goes alone.
LOOKED_AT_MAX = 5_000  # Entries that one reader's filters are held against in one turn.
RECENT_MAX = 50
SILENT_SECONDS_MAX = 15.0  # After so long without an entry a comment shows that the stream lives.


class Sampler:
    """Takes a sample each second, and keeps the newest SAMPLES_MAX of them, as JSON."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        """`read` takes down what the node's counters say."""
        self._read = read
        self._history: deque[bytes] = deque(maxlen=SAMPLES_MAX)
        self.taken = 0
        self.newest: Sample | None = None  # None until the first second is over.
        self.changed = asyncio.Event()  # Set when there is a newer sample; then another takes its place.

    @property
    def history(self) -> bytes:
        """The samples that are kept, oldest first, as a JSON list."""
        return b"[" + b",".join(self._history) + b"]"

    @property
    def newest_json(self) -> bytes:
        """The newest sample."""
        return self._history[-1]

    async def run(self) -> None:
        """Take samples until cancelled."""
        before: Reading | None = None
        while True:
            try:
                now = self._read()
                if before is not None:
                    self._keep(between(before, now))
                before = now
            except Exception as exc:  # noqa: BLE001 - nobody's sockets are to end for a chart
                log.error("console.sample_failed", error=type(exc).__name__, where=where(exc))  # noqa: TRY400
            await asyncio.sleep(SAMPLE_SECONDS)

    def _keep(self, sample: Sample) -> None:
        self.newest = sample
        self._history.append(encoded(sample))
        self.taken += 1
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries somebody wants to see; None lets all through. `type` may hold wildcards."""

    type: Pattern[str] | None = None
    domain: str | None = None
    user: str | None = None
    room: str | None = None
    text: str | None = None  # As it stands in JSON, in lower case.

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Filter:
        """Make one of a request's parameters."""
        pattern = parameters.get("type")
        text = parameters.get("text")
        return cls(
            compile_pattern(translate(pattern)) if pattern else None,
            parameters.get("domain"),
            user_room(parameters["user"]) if "user" in parameters else None,
            parameters.get("room"),
            json.dumps(text, ensure_ascii=False)[1:-1].lower() if text else None,
        )

    def wants(self, logged: Logged, domain: str) -> bool:
        """Tell whether an entry is to be shown."""
        entry = logged.entry
        return (
            (self.type is None or self.type.fullmatch(entry.key.event_type) is not None)
            and (self.domain is None or self.domain == domain)
            and (self.user is None or self.user in entry.targets)
            and (self.room is None or self.room in entry.targets)
            and (self.text is None or self.text in entry.payload.decode(errors="replace").lower())
        )


class Tail:
    """What the tail shows of the log: the entries of the replay window, from the newest seen on."""

    def __init__(self, window: Window, appended: Callable[[], int], domain_of: Callable[[str], str]) -> None:
        """`appended` tells how many entries the window was ever given; `domain_of` whose an event type is."""
        self._window = window
        self._appended = appended
        self._domain_of = domain_of
        self._seen = appended()

    def recent(self, wanted: Filter) -> list[bytes]:
        """Return the newest entries of the window that are wanted, oldest first. Begins the tail there."""
        self._seen = self._appended()
        found = self._wanted(self._window.newest(LOOKED_AT_MAX), wanted)
        return [self._shown(logged, at) for at, logged in _newest(found, RECENT_MAX)]

    def turn(self, wanted: Filter) -> tuple[int, list[bytes]]:
        """Return how many entries were left out, and those since the last turn that are wanted."""
        appended = self._appended()
        fresh, self._seen = appended - self._seen, appended
        if not fresh:
            return 0, []
        looked_at = self._window.newest(min(fresh, LOOKED_AT_MAX))
        found = self._wanted(looked_at, wanted)
        shown = _newest(found, TURN_ENTRIES_MAX)
        missed = fresh - len(looked_at) + len(found) - len(shown)
        return missed, [self._shown(logged, at) for at, logged in shown]

    def of_room(self, room: str) -> list[bytes]:
        """Return the newest entries of the window that go to a room, oldest first."""
        found = [(None, logged) for logged in self._window.newest_of(room, RECENT_MAX)]
        return [self._shown(logged, at) for at, logged in _newest(found, RECENT_MAX)]

    def _wanted(self, entries: Iterable[tuple[float, Logged]], wanted: Filter) -> list[tuple[float, Logged]]:
        return [
            (at, logged)
            for at, logged in entries
            if wanted.wants(logged, self._domain_of(logged.entry.key.event_type))
        ]

    def _shown(self, logged: Logged, at: float | None) -> bytes:
        """Return an entry as JSON: what is known beside it, and its payload as it stands."""
        entry = logged.entry
        beside: dict[str, object] = {
            "offset": logged.offset,
            "domain": self._domain_of(entry.key.event_type),
            "rooms": entry.targets,
        }
        if at is not None:
            beside["latencyMs"] = round(max(0.0, at - entry.occurred_at) * 1000, 1)
        return encoded(beside)[:-1] + b"," + entry.payload[1:]


class Streams:
    """The streams that are open: at most STREAMS_MAX, all of which end when the node leaves."""

    def __init__(self) -> None:
        """Have none open. `open` says how many are."""
        self.open = 0
        self._ending = asyncio.Event()  # Set once.

    def end(self) -> None:
        """Have every stream end, and open none again."""
        self._ending.set()

    @property
    def ending(self) -> bool:
        """Whether every stream is to end."""
        return self._ending.is_set()

    @asynccontextmanager
    async def opened(self, request: web.Request) -> AsyncIterator[web.StreamResponse]:
        """Open a stream of server-sent events for the length of the context.

        Raises:
            ApiError: there are too many, or the node is leaving.
        """
        if self.ending:
            raise ApiError(503, "draining", "this node is leaving; ask another one")
        if self.open >= STREAMS_MAX:
            message = f"{STREAMS_MAX} streams are open, which is the limit; close one, such as another tab"
            raise ApiError(503, "too_many_streams", message)
        self.open += 1
        try:
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
            )
            await response.prepare(request)
            _keep_short(request)
            # A client that goes away, or takes nothing, is no error: the stream is over.
            with contextlib.suppress(ConnectionError):
                yield response
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()  # Else the end of the stream would wait behind the rest of it.
        finally:
            self.open -= 1

    async def wait(self, event: asyncio.Event, seconds_max: float) -> None:
        """Wait for an event, but no longer than this, and not past the end."""
        tasks = [asyncio.create_task(event.wait()), asyncio.create_task(self._ending.wait())]
        try:
            await asyncio.wait(tasks, timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def pause(self, seconds: float) -> None:
        """Sleep, but not past the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()


async def send(response: web.StreamResponse, data: bytes) -> None:
    """Write to a stream.

    Raises:
        ConnectionError: the client is gone.
        TimeoutError: it has taken nothing for WRITE_SECONDS_MAX.
    """
    async with asyncio.timeout(WRITE_SECONDS_MAX):
        await response.write(data)


def event(name: str, data: bytes) -> bytes:
    """Return a server-sent event (HTML standard, section 9.2). No line break of JSON means anything."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data.translate(None, b"\r\n"))


async def stream_samples(request: web.Request, streams: Streams, sampler: Sampler) -> web.StreamResponse:
    """Send the history, and then each sample as it is taken; a slow reader gets the newest only."""
    async with streams.opened(request) as response:
        taken = sampler.taken
        await send(response, event("history", sampler.history))
        while not streams.ending and _is_there(request):
            if taken == sampler.taken:
                await streams.wait(sampler.changed, SILENT_SECONDS_MAX)
            if taken != sampler.taken:
                taken = sampler.taken
                await send(response, event("sample", sampler.newest_json))
    return response


async def stream_tail(
    request: web.Request, streams: Streams, tail: Tail, wanted: Filter
) -> web.StreamResponse:
    """Send the newest entries, and then those that come, until the client goes."""
    async with streams.opened(request) as response:
        await send(response, b": tail\n\n" + _entries(tail.recent(wanted)))
        said_at = time.monotonic()
        while not streams.ending and _is_there(request):
            await streams.pause(TURN_SECONDS)
            missed, entries = tail.turn(wanted)
            data = event("gap", b'{"missed":%d}' % missed) if missed else b""
            data += _entries(entries)
            if not data and time.monotonic() - said_at > SILENT_SECONDS_MAX:
                data = b":\n\n"
            if data:
                await send(response, data)
                said_at = time.monotonic()
    return response


def _newest(found: Sequence[tuple[T, Logged]], entries_max: int) -> Sequence[tuple[T, Logged]]:
    """Return the newest of these entries: so many at most, and of TURN_BYTES_MAX."""
    bytes_left, start = TURN_BYTES_MAX, len(found)
    while start and len(found) - start < entries_max:
        bytes_left -= len(found[start - 1][1].entry.payload)
        if bytes_left < 0 and start < len(found):
            break
        start -= 1
    return found[start:]


def _entries(entries: Sequence[bytes]) -> bytes:
    return b"".join(event("entry", entry) for entry in entries)


def _keep_short(request: web.Request) -> None:
    """Have the kernel hold little for a client that does not read, and drop one that is gone (tcp(7))."""
    connection = request.transport.get_extra_info("socket") if request.transport is not None else None
    if connection is None or connection.family == socket.AF_UNIX:
        return
    with contextlib.suppress(OSError):  # It may be closed by now.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # On Linux.
            milliseconds = int(WRITE_SECONDS_MAX * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _is_there(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
