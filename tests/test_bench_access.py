"""What the benchmarks of who may see what reckon with: sockets that are closed, users in turns, floods."""

from __future__ import annotations

import json
import select
import socket
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import SERVER, Protocol

from benchmarks.cases.revocation import Farewells
from benchmarks.client import Client
from benchmarks.flood import ADDRESSES_AT_ONCE, FIRST, KEPT, attempts
from benchmarks.load import Plan
from benchmarks.peers.openings import greeted
from benchmarks.wire import client_close, close_code

PING = Frame(Opcode.PING, b"").serialize(mask=False)


def closing(code: int, reason: str = "") -> bytes:
    """Return a server's close frame."""
    return Frame(Opcode.CLOSE, Close(code, reason).serialize()).serialize(mask=False)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (closing(4403, "the account was closed"), 4403),
        (closing(1000), 1000),
        (Frame(Opcode.CLOSE, b"").serialize(mask=False), 1005),
        (PING, None),
        (Frame(Opcode.TEXT, b"\x11\x33").serialize(mask=False), None),
    ],
    ids=["with a reason", "without one", "without a code", "a ping", "a message"],
)
def test_close_codes_are_read(frame: bytes, code: int | None) -> None:
    """A close frame says its code, and no other frame has one."""
    assert close_code(frame, 0, len(frame)) == code


def test_a_close_is_answered_in_form() -> None:
    """What the client answers is read by a server that nobody here wrote."""
    server = Protocol(SERVER)

    server.receive_data(client_close(4403))

    assert server.close_rcvd == Close(4403, "")


@contextmanager
def sockets(count: int) -> Iterator[tuple[list[socket.socket], dict[int, Client], select.epoll]]:
    """Yield so many servers' ends, the clients at the others, and what watches these."""
    with ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        servers, clients = [], {}
        for _ in range(count):
            near, far = (stack.enter_context(end) for end in socket.socketpair())
            far.settimeout(0)
            servers.append(near)
            clients[far.fileno()] = Client(far, b"", greeted(0))
            epoll.register(far, select.EPOLLIN)
        yield servers, clients, epoll


def test_farewells_are_told_apart() -> None:
    """Each socket counts with its code; one that only ended, or was reset, has none."""
    with sockets(4) as (servers, clients, epoll):
        farewells = Farewells(clients)
        servers[0].sendall(PING + closing(4403, "why"))
        servers[1].sendall(closing(1012))
        for server in servers[:3]:
            server.shutdown(socket.SHUT_WR)
        servers[3].close()

        farewells.wait(epoll, 10.0)

        assert farewells.codes == {4403: 1, 1012: 1}
        assert len(farewells.closed_at) == 2
        assert len(farewells.ended_at) == 4
        assert servers[0].recv(100) == client_close(4403)


def test_farewells_that_do_not_come() -> None:
    """A socket that stays is waited for so long and no longer, even if half of a close frame has come."""
    with sockets(2) as (servers, clients, epoll):
        farewells = Farewells(clients)
        servers[0].sendall(closing(4403)[:3])
        servers[1].shutdown(socket.SHUT_WR)

        farewells.wait(epoll, 0.1)
        assert (farewells.codes, len(farewells.ended_at)) == ({}, 1)

        servers[0].sendall(closing(4403)[3:])
        servers[0].shutdown(socket.SHUT_WR)
        farewells.wait(epoll, 10.0)
        assert farewells.codes == {4403: 1}


def test_users_take_turns() -> None:
    """Sockets are shared out to so many users, evenly."""
    plan = Plan("127.0.0.1", 1, 5, "/ws", secret="0123456789abcdef" * 2, user="u{index}", users=2)

    claims = [request.partition(b"Bearer ")[2].split(b".")[1] for request in plan.requests()]

    users = [json.loads(urlsafe_b64decode(part + b"=" * (-len(part) % 4)))["sub"] for part in claims]
    assert users == ["u0", "u1", "u0", "u1", "u0"]


def test_a_flood_tries_each_address_once() -> None:
    """As many addresses as asked for, all different, and those that were refused are counted."""
    seen: list[str] = []

    def take(address: str, _now: float) -> float:
        seen.append(address)
        return float(len(seen) % 2)

    _, refused = attempts(take, FIRST, ADDRESSES_AT_ONCE + 5)

    assert len(set(seen)) == len(seen) == ADDRESSES_AT_ONCE + 5
    assert refused == (len(seen) + 1) // 2


@pytest.mark.parametrize("kept", KEPT)
def test_both_limiters_limit(kept: str) -> None:
    """What is measured, and what it is compared with, refuse who tries too often and let others in."""
    take = KEPT[kept]()

    assert any(take("10.0.0.1", 1.0) > 0 for _ in range(1_000))
    assert take("10.0.0.2", 1.0) == 0
