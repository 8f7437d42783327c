"""The client: one socket at a time, a token for it, what it reads, and when to come back."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import ssl as tls
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from bridge_client.closing import BROKEN, End, delay_seconds, hint_of_header
from bridge_client.dialect import (
    NOT_OF_THE_DIALECT,
    AskAgain,
    Dialect,
    Effect,
    Event,
    Passed,
    Position,
    Renew,
    Send,
    Stale,
    TokenReason,
)

TOKEN_SECONDS_MAX = 15.0
CONNECT_SECONDS_MAX = 15.0  # To open a socket, and again until the bridge says `connected`.
PONG_SECONDS_MAX = 10.0
CLOSE_SECONDS_MAX = 2.0
ROOMS_RETRY_SECONDS = 5.0  # And at random up to twice as long.
MESSAGE_BYTES_MAX = 2**25  # Twice what the largest event can be set to, so never an event.
COMMANDS_MAX = 16  # Of each kind one is under way at most.

log = logging.getLogger("bridge_client")


class BridgeClosedError(Exception):
    """The bridge has ended the connection for a reason that coming back would not change."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}: {reason}")
        self.code = code
        self.reason = reason


class Client:
    """A connection to the bridge, for the length of a context; entered again, it resumes.

    Everything but reading `events` happens in a task of its own. What it reads waits in a queue; when the
    queue is full, nothing is read until there is room.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        get_token: Callable[[TokenReason], Awaitable[str]],
        rooms: Iterable[str] = (),
        since: Position | None = None,
        on_stale: Callable[[Stale], Awaitable[None]] | None = None,
        queue_events_max: int = 100,
        ssl: tls.SSLContext | None = None,
    ) -> None:
        """Nothing happens yet. Several URLs are tried in turn. `since` is a position that was kept.

        `on_stale` is called by whoever reads `events`, in its place among them. Raises ValueError for what
        cannot be a room, for no URL, and for a queue that holds nothing.
        """
        self._urls = [url] if isinstance(url, str) else list(url)
        if not self._urls or queue_events_max < 1:
            raise ValueError("there has to be a URL, and queue_events_max is 1 or more")
        self._get_token = get_token
        self._on_stale = on_stale
        self._queue_events_max = queue_events_max
        self._ssl = ssl
        self._dialect = Dialect(rooms, since)
        self._position = since
        self._end: End | None = None
        self._opened_at: float | None = None  # Set while the bridge has said `connected`.
        self._queue: deque[Event | Stale] = deque()
        self._commands: asyncio.Queue[Mapping[str, object]] = asyncio.Queue(COMMANDS_MAX)  # One socket's.
        self._start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]  # Set with each socket.
        self._cut: Callable[[], None]  # Ends the socket at once; set with each.
        self._helpers: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()  # Set at each change that somebody may wait for.
        self._running: asyncio.Task[None] | None = None  # Set once the context was entered.

    async def __aenter__(self) -> Self:
        if self._running is not None and not self._running.done():
            raise RuntimeError("this client is connected already")
        self._running = asyncio.create_task(self._run(), name="bridge_client")
        self._running.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._running is None:
            return
        self._running.cancel()
        await asyncio.wait([self._running])  # Which may take CLOSE_SECONDS_MAX.
        if not self._running.cancelled():
            self._running.exception()  # Whoever read the events was told.

    @property
    def position(self) -> Position | None:
        """The place of the event that was handed out last. Keep it, and begin there next time: `since`."""
        return self._position

    @property
    def is_open(self) -> bool:
        """Whether the bridge has said `connected` on the present socket."""
        return self._dialect.is_open

    @property
    def user_id(self) -> str | None:
        """Whose token it is; None until the first `connected`."""
        return self._dialect.user_id

    @property
    def rooms(self) -> frozenset[str]:
        """The rooms that the socket is in."""
        return frozenset(self._dialect.rooms.joined)

    @property
    def refused(self) -> Mapping[str, str]:
        """The rooms that are wanted and were refused, with the bridge's code."""
        return dict(self._dialect.rooms.refused)

    @property
    def end(self) -> End | None:
        """Why the last socket, or attempt, ended."""
        return self._end

    def subscribe(self, *rooms: str) -> None:
        """Be in these rooms from now on, over all sockets. How it went is in `rooms` and `refused`.

        It does not wait for the answer, which comes behind events that may have to be read first. Raises
        ValueError for what cannot be a room.
        """
        self._do(self._dialect.want(rooms))

    def unsubscribe(self, *rooms: str) -> None:
        """Be in these rooms no more."""
        self._do(self._dialect.drop(rooms))

    async def connected(self) -> None:
        """Return when connected. Raises BridgeClosedError."""
        await self._until(lambda: self.is_open or self._is_over())
        if self._is_over():
            self._raise_end()
            raise RuntimeError("this client is not connected: its context is over, or was never entered")

    def events(self) -> AsyncIterator[Event]:
        """Return the events, in the order of the log, each once. Its end is the end of the context.

        Waiting for one may be cancelled, and gone on with, here or by another call; nothing is lost.
        Raises BridgeClosedError.
        """
        return _Events(self._next)

    async def _next(self) -> Event:
        while True:
            await self._until(lambda: bool(self._queue) or self._is_over())
            if not self._queue:
                self._raise_end()
                raise StopAsyncIteration
            item = self._queue[0]
            self._position = item.position  # First: a handler that fails must not have it come again.
            if isinstance(item, Stale):
                await self._tell(item)  # Cancelled here, it is told again.
            if self._queue and self._queue[0] is item:
                self._queue.popleft()
            self._changed.set()
            if isinstance(item, Event):
                return item

    async def _tell(self, stale: Stale) -> None:
        if self._on_stale is not None:
            await self._on_stale(stale)
        elif stale.cause != "first":
            log.warning("events may have been missed (%s), and there is no on_stale", stale.cause)

    def _is_over(self) -> bool:
        return self._running is None or self._running.done()

    def _raise_end(self) -> None:
        """Raise what ended the connection, if it was not we."""
        if self._running is not None and not self._running.cancelled():
            self._running.result()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _run(self) -> None:
        try:
            for url in itertools.cycle(self._urls):
                await asyncio.sleep(self._ended(await self._attempt(url)))
        finally:
            self._dialect.is_open = False

    def _ended(self, end: End) -> float:
        """Return the seconds until the next attempt. Raises BridgeClosedError if there is none."""
        now = asyncio.get_running_loop().time()
        open_seconds = 0.0 if self._opened_at is None else now - self._opened_at
        delay = self._dialect.ended(end, open_seconds=open_seconds, random=random.random())  # noqa: S311 - jitter
        self._end = end
        self._changed.set()
        if delay is None:
            raise BridgeClosedError(end.code, end.reason)
        log.warning("disconnected: %s %s; coming back in %.1f s", end.code, end.reason, delay)
        return delay

    async def _attempt(self, url: str) -> End:
        """Have one socket, from its token to its end."""
        self._opened_at = None
        options: dict[str, Any] = {} if self._ssl is None else {"ssl": self._ssl}
        try:
            token = await self._token(self._dialect.why)
            async with connect(
                url,
                subprotocols=[Subprotocol("bridge.v1")],
                open_timeout=CONNECT_SECONDS_MAX,
                close_timeout=CLOSE_SECONDS_MAX,
                ping_interval=None,  # We have our own, which also tells how far the log has come.
                max_size=MESSAGE_BYTES_MAX,
                **options,
            ) as socket:
                return await self._serve(socket, token)
        except _NoTokenError as exc:
            return End(BROKEN, str(exc))
        except InvalidStatus as exc:
            hint = hint_of_header(exc.response.headers.get("Retry-After"))
            return End(BROKEN, f"refused with HTTP status {exc.response.status_code}", hint)
        except InvalidURI:
            raise
        except (OSError, EOFError, WebSocketException) as exc:
            return End(BROKEN, f"{type(exc).__name__}: {exc}")

    async def _serve(self, socket: ClientConnection, token: str) -> End:
        self._commands = asyncio.Queue(COMMANDS_MAX)
        self._cut = socket.transport.abort
        self._do([self._dialect.hello(token)])
        async with asyncio.TaskGroup() as group:
            self._start = group.create_task
            self._help(self._write(socket))
            try:
                return await self._read(socket)
            finally:
                for helper in self._helpers:
                    helper.cancel()

    async def _read(self, socket: ClientConnection) -> End:
        seconds, asked = CONNECT_SECONDS_MAX, False
        while True:
            try:
                async with asyncio.timeout(seconds):
                    text = await socket.recv()
            except TimeoutError:
                if asked or not self.is_open:
                    return End(BROKEN, "the link is dead" if asked else "no answer in time")
                self._do([self._dialect.ping()])
                seconds, asked = PONG_SECONDS_MAX, True
                continue
            except ConnectionClosed:
                return End(socket.close_code or BROKEN, socket.close_reason or "")
            try:
                effects = self._dialect.receive(json.loads(text))
            except NOT_OF_THE_DIALECT as exc:
                return End(BROKEN, f"a message that is not of bridge.v1: {type(exc).__name__}")
            if self.is_open and self._opened_at is None:
                self._opened_at = asyncio.get_running_loop().time()
                log.info("connected as %s", self.user_id)
            if (end := self._do(effects)) is not None:
                return end
            seconds, asked = self._dialect.ping_seconds, False
            await self._until(lambda: len(self._queue) < self._queue_events_max)

    def _do(self, effects: Iterable[Effect]) -> End | None:
        """Do what the dialect asks for; return the end of the socket if that is asked for."""
        end = None
        for effect in effects:
            match effect:
                case Event() | Stale():
                    self._queue.append(effect)
                case Passed(position) if not self._queue:
                    self._position = position
                case Send(command):
                    try:
                        self._commands.put_nowait(command)
                    except asyncio.QueueFull:
                        self._cut()  # Nobody reads what we write.
                case Renew(failures):
                    self._help(self._renew(failures))
                case AskAgain():
                    self._help(self._ask_again())
                case End():
                    end = effect
        self._changed.set()
        return end

    def _help(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this beside the reading, for as long as the socket lives."""
        helper = self._start(work)
        self._helpers.add(helper)
        helper.add_done_callback(self._helpers.discard)

    async def _write(self, socket: ClientConnection) -> None:
        try:
            while True:
                await socket.send(json.dumps(await self._commands.get()))
        except ConnectionClosed:
            return  # Which whoever reads is told, too.

    async def _renew(self, failures: int) -> None:
        if failures:
            await asyncio.sleep(delay_seconds(failures - 1, random.random()))  # noqa: S311 - jitter
        try:
            token = await self._token("expiring")
        except _NoTokenError as exc:
            log.warning("the token ends soon: %s", exc)
            self._do(self._dialect.renewal_failed())
        else:
            self._do([self._dialect.auth(token)])

    async def _ask_again(self) -> None:
        await asyncio.sleep(ROOMS_RETRY_SECONDS * (1 + random.random()))  # noqa: S311 - jitter
        self._do(self._dialect.ask_again())

    async def _token(self, reason: TokenReason) -> str:
        """Fetch a token. Raises _NoTokenError, which does not quote what may hold one."""
        try:
            async with asyncio.timeout(TOKEN_SECONDS_MAX):
                token = await self._get_token(reason)
        except Exception as exc:
            raise _NoTokenError(f"get_token({reason!r}) raised {type(exc).__name__}") from exc
        if not isinstance(token, str):
            raise _NoTokenError(f"get_token({reason!r}) returned {type(token).__name__}")
        return token


class _NoTokenError(Exception):
    """There is no token for now."""


class _Events:
    """Not a generator, which would be over once a wait for it was cancelled."""

    def __init__(self, take: Callable[[], Awaitable[Event]]) -> None:
        self._take = take

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await self._take()
