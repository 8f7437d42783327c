"""The Python client and a server that misbehaves, over TCP: bounds, cancelling, hints, dead links."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from itertools import count
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from bridge_client import BridgeClosedError, Client, Event, Position, Stale, TokenReason, client as module
from devel.ports import free_ports
from tests.eventually import eventually

WAIT_SECONDS_MAX = 15.0
EPOCH = "e" * 32

Behaviour = Callable[[ServerConnection], Awaitable[None]]
Admission = Callable[[ServerConnection, Request], Awaitable[Response | None]]


async def token(_: TokenReason) -> str:
    """Return what the server does not look at."""
    return "t"


def connected(**changes: object) -> str:
    """Return the answer to a hello."""
    data = {
        "userId": "u1",
        "rooms": ["user:u1"],
        "refused": [],
        "position": {"epoch": EPOCH, "offset": 0},
        "recovered": True,
        "pingInterval": 1.0,
    }
    return json.dumps({"type": "connected", "id": "hello", "data": data | changes})


def event(offset: int, padding: int = 0) -> str:
    """Return an event."""
    fields = {"type": "order.completed", "version": 1, "id": str(offset), "room": "user:u1", "timestamp": ""}
    return json.dumps({**fields, "offset": offset, "data": {"padding": "x" * padding}})


@asynccontextmanager
async def server(behaviour: Behaviour, admit: Admission | None = None) -> AsyncIterator[str]:
    """Serve sockets like this; yield the URL."""
    async with serve(
        behaviour, "127.0.0.1", 0, compression=None, close_timeout=0.1, process_request=admit
    ) as listening:
        (socket,) = listening.sockets
        yield f"ws://127.0.0.1:{socket.getsockname()[1]}/ws"


async def take(client: Client, count: int) -> list[int]:
    """Return the offsets of the next events."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        events = client.events()
        return [(await anext(events)).position.offset for _ in range(count)]


async def test_slow_consumer() -> None:
    """A program that does not take its events has so many kept for it; then nothing more is read."""
    sent = 0
    total = 2_000

    async def behave(socket: ServerConnection) -> None:
        nonlocal sent
        await socket.recv()
        await socket.send(connected(pingInterval=60.0))
        for sent in range(1, total + 1):
            await socket.send(event(sent, padding=20_000))
        await socket.wait_closed()

    def stalled() -> Callable[[], bool]:
        seen: list[int] = []

        def quiet() -> bool:
            seen.append(sent)
            return len(seen) > 20 and seen[-1] == seen[-20]

        return quiet

    async with server(behave) as url, Client(url, get_token=token, queue_events_max=10) as client:
        await eventually(lambda: len(client._queue) >= 10, "a full queue")
        await eventually(stalled(), "a server that cannot write more")
        kept, written = len(client._queue), sent
        offsets = await take(client, total)

    assert kept <= 11  # And what was told with `connected`.
    assert written < total
    assert offsets == list(range(1, total + 1))


async def test_waiting_is_cancelled() -> None:
    """A wait for an event may be cancelled at any time: what comes next comes, once and in order."""

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(connected())
        for offset in range(1, 201):
            await socket.send(event(offset))
            await asyncio.sleep(0)
        await socket.wait_closed()

    offsets: list[int] = []
    cancelled = 0
    async with server(behave) as url, Client(url, get_token=token, queue_events_max=3) as client:
        events = client.events()
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while len(offsets) < 200:
                waiting = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0)
                waiting.cancel()
                try:
                    offsets.append((await waiting).position.offset)
                except asyncio.CancelledError:
                    cancelled += 1
                    offsets += await take(client, 1) if cancelled % 10 == 0 else []

    assert cancelled
    assert offsets == list(range(1, 201))


async def test_stale_is_told_until_it_is_dealt_with() -> None:
    """What reads the state anew may be cancelled or fail: it is called again before the next event."""
    told: list[Stale] = []

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(connected(recovered=False))
        await socket.send(event(1))
        await socket.wait_closed()

    async def on_stale(stale: Stale) -> None:
        told.append(stale)
        if len(told) == 1:
            raise LookupError("the state cannot be read")

    async with server(behave) as url, Client(url, get_token=token, on_stale=on_stale) as client:
        with pytest.raises(LookupError):
            await take(client, 1)
        offsets = await take(client, 1)

    assert [stale.cause for stale in told] == ["first", "first"]
    assert offsets == [1]


async def test_position_is_the_handlers() -> None:
    """The position is that of the event which is handed out, not of what waits; a pong moves it on."""

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(connected())
        for offset in (1, 2, 3):
            await socket.send(event(offset))
        async for text in socket:
            assert json.loads(text)["op"] == "ping"
            await socket.send(
                json.dumps(
                    {"type": "pong", "id": "ping", "data": {"position": {"epoch": EPOCH, "offset": 9}}}
                )
            )

    async with server(behave) as url, Client(url, get_token=token, since=Position(EPOCH, 0)) as client:
        await eventually(lambda: sum(isinstance(item, Event) for item in client._queue) == 3)
        first = await take(client, 1)
        at_first = client.position
        rest = await take(client, 2)
        await eventually(lambda: client.position == Position(EPOCH, 9), "a pong")

    assert (first, at_first, rest) == ([1], Position(EPOCH, 1), [2, 3])


async def test_dead_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link on which nothing comes any more, not even an answer to a ping, is given up and made anew."""
    monkeypatch.setattr(module, "PONG_SECONDS_MAX", 0.1)
    monkeypatch.setattr(module, "CLOSE_SECONDS_MAX", 0.1)
    hellos: list[dict[str, Any]] = []

    async def behave(socket: ServerConnection) -> None:
        hellos.append(json.loads(await socket.recv()))
        await socket.send(connected())
        if len(hellos) == 1:
            await socket.send(event(7))
        await socket.wait_closed()

    async with server(behave) as url, Client(url, get_token=token) as client:
        assert await take(client, 1) == [7]
        await eventually(lambda: len(hellos) == 2, "another socket")
        end = client.end

    assert end is not None
    assert (end.code, end.reason) == (1006, "the link is dead")
    assert hellos[1]["since"] == {"epoch": EPOCH, "offset": 7}


async def test_a_server_that_talks_rubbish() -> None:
    """Whatever a server says, and however much without reading, costs that socket and no more."""
    deep = '{"type": "connected", "data": ' + "[" * 100_000 + "]" * 100_000 + "}"
    left = json.dumps({"type": "unsubscribed", "id": "rooms", "data": {}})
    late = json.dumps({"type": "draining", "data": {"retryAfterMs": float("nan")}})
    sockets = count(1)

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        match next(sockets):
            case 1:
                await socket.send(deep)
            case 2:
                socket.transport.pause_reading()
                await socket.send(connected())
                for _ in range(5_000):
                    await socket.send(left)
            case 3:
                await socket.send(connected())
                await socket.send(late)
                await socket.close(1012)
            case _:
                await socket.send(connected())
                await socket.send(event(1))
        await socket.wait_closed()

    rooms = [f"device:{number:0>120}" for number in range(500)]
    async with server(behave) as url, Client(url, get_token=token, rooms=rooms) as client:
        assert await take(client, 1) == [1]


async def test_refused_upgrade() -> None:
    """A refusal before the upgrade is told with its status, and with how long to stay away."""

    async def behave(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async def refuse(socket: ServerConnection, _: Request) -> Response:
        response = socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n")
        response.headers["Retry-After"] = "120"
        return response

    async with server(behave, refuse) as url, Client(url, get_token=token) as client:
        end = await eventually(lambda: client.end, "the refusal")
        assert end is not None

    assert (end.reason, end.hint_seconds) == ("refused with HTTP status 503", 120)


async def test_urls_in_turn() -> None:
    """A node that does not answer is followed by the next one."""

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(connected())
        await socket.wait_closed()

    async with server(behave) as url:
        urls = [f"ws://127.0.0.1:{free_ports(1)[0]}/ws", url]
        async with asyncio.timeout(WAIT_SECONDS_MAX), Client(urls, get_token=token) as client:
            await client.connected()

            assert client.user_id == "u1"


async def test_no_token(caplog: pytest.LogCaptureFixture) -> None:
    """Without a token there is no socket; what was wrong is told by its kind, without its text."""

    async def fail(_: TokenReason) -> str:
        raise LookupError("hunter-2-secret")

    async with Client("ws://127.0.0.1:1/ws", get_token=fail) as client:
        end = await eventually(lambda: client.end, "the failure")
        assert end is not None

    assert end.reason == "get_token('connect') raised LookupError"
    assert "hunter" not in caplog.text


async def test_token_that_is_none() -> None:
    """What get_token returns has to be text."""

    async def get_token(_: TokenReason) -> str:
        return None  # type: ignore[return-value] # as a program that is not checked may do

    async with Client("ws://127.0.0.1:1/ws", get_token=get_token) as client:
        end = await eventually(lambda: client.end, "the failure")
        assert end is not None

    assert end.reason == "get_token('connect') returned NoneType"


@pytest.mark.parametrize("options", [{"url": []}, {"rooms": ["device"]}, {"queue_events_max": 0}])
def test_bad_options(options: dict[str, Any]) -> None:
    """What cannot work is refused when the client is made."""
    with pytest.raises(ValueError, match=r"URL|kind:id"):
        Client(**{"url": "ws://127.0.0.1/ws", "get_token": token, **options})


@pytest.mark.parametrize("moment", ["token", "handshake", "hello", "open", "closing"])
async def test_leaving(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever the context is left, nothing of it goes on; the events end."""
    monkeypatch.setattr(module, "CLOSE_SECONDS_MAX", 0.1)
    reached = asyncio.Event()
    release = asyncio.Event()

    async def get_token(_: TokenReason) -> str:
        if moment == "token":
            reached.set()
            await release.wait()
        return "t"

    async def handshake(socket: ServerConnection, request: Request) -> None:
        del socket, request
        if moment == "handshake":
            reached.set()
            await release.wait()

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        if moment != "hello":
            await socket.send(connected())
        reached.set()
        if moment == "closing":
            socket.transport.pause_reading()  # Nobody answers the goodbye.
        await release.wait()

    async with server(behave, handshake) as url:
        before = asyncio.all_tasks()
        async with Client(url, get_token=get_token) as client:
            await asyncio.wait_for(reached.wait(), WAIT_SECONDS_MAX)
        left = {task for task in asyncio.all_tasks() - before if "bridge_client" in repr(task)}
        release.set()

        assert left == set()
        assert [event async for event in client.events()] == []
        assert not client.is_open
        with pytest.raises(RuntimeError):
            await client.connected()


async def test_entering_again() -> None:
    """A client that is entered again resumes where it was; what it had read and not handed out is kept."""
    hellos: list[dict[str, Any]] = []

    async def behave(socket: ServerConnection) -> None:
        hellos.append(json.loads(await socket.recv()))
        await socket.send(connected())
        await socket.send(event(len(hellos)))
        await socket.wait_closed()

    async with server(behave) as url:
        client = Client(url, get_token=token)
        async with client:
            await eventually(lambda: any(isinstance(item, Event) for item in client._queue))
            with pytest.raises(RuntimeError):
                await client.__aenter__()
        async with client:
            offsets = await take(client, 2)

    assert offsets == [1, 2]
    assert hellos[1]["since"] == {"epoch": EPOCH, "offset": 1}


async def test_final_end() -> None:
    """A final close ends the events with its code and reason, after those that came before it."""

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(connected())
        await socket.send(event(1))
        await socket.close(4403, "user blocked")

    async with server(behave) as url, Client(url, get_token=token) as client:
        assert await take(client, 1) == [1]
        with pytest.raises(BridgeClosedError, match="4403") as closed:
            await take(client, 1)
        with pytest.raises(BridgeClosedError):
            await client.connected()

    assert (closed.value.code, closed.value.reason) == (4403, "user blocked")
