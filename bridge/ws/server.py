"""The public port: accepts sockets, keeps them alive, and lets them go."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from uuid import uuid4

import structlog
from websockets.http11 import Request, Response
from websockets.protocol import CONNECTING
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from bridge.core.access import Principal
from bridge.core.close import DRAINING, LIMIT, CloseReason
from bridge.core.commands import Draining
from bridge.core.hub import Hub
from bridge.core.limits import KeyedLimiter
from bridge.core.outbox import OutboxLimits
from bridge.core.session import SessionRules
from bridge.core.stats import Stats
from bridge.ws.connection import Connection
from bridge.ws.dialects.bridge_v1 import SUBPROTOCOL
from bridge.ws.handshake import OriginRules, client_address, offered_subprotocols, path_of, single

log = structlog.get_logger()

SOCKET_PATH = "/ws"
HEALTH_PATH = "/healthz"
DRAIN_STEPS_PER_SECOND = 20


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Bounds of the socket edge; times in seconds."""

    outbox: OutboxLimits
    message_bytes_max: int
    sockets_max: int
    sockets_per_user_max: int
    handshake_seconds_max: float
    hello_seconds_max: float
    close_seconds_max: float


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to an upgrade request."""

    response: Response
    accepted: bool = False
    cookie_trusted: bool = False


class SocketServer:
    """Owns the listening socket and every connection. Start, drain, stop, in that order."""

    def __init__(
        self,
        *,
        hub: Hub[Connection],
        rules: SessionRules,
        limits: SocketLimits,
        origins: OriginRules,
        attempts: KeyedLimiter,
        verify: Callable[[str], Principal],
        stats: Stats,
        healthy: Callable[[], bool],
        cookie_name: str,
        trusted_proxies: Sequence[str],
    ) -> None:
        """Hold what all connections share. `verify` raises TokenRejected."""
        self.hub = hub
        self.rules = rules
        self.limits = limits
        self.verify = verify
        self.stats = stats
        self.cookie_name = cookie_name
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self._origins = origins
        self._attempts = attempts
        self._healthy = healthy
        self._trusted_proxies = trusted_proxies
        self._sockets_of_user: Counter[str] = Counter()
        self._draining = False
        self._listener: asyncio.Server | None = None  # Set while accepting.
        # One slot for each second of the ping interval: every sweep touches an even share of the sockets.
        self._slots: list[set[Connection]] = [set() for _ in range(max(1, ceil(rules.ping_interval_seconds)))]

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen, and return the port (for port 0, the one that was free). Raises OSError."""
        self._listener = await self.loop.create_server(
            lambda: Connection(self, uuid4().hex), host, port, ssl=tls, backlog=4096
        )
        bound: int = self._listener.sockets[0].getsockname()[1]
        log.info("ws.listening", host=host, port=bound, tls=tls is not None)
        return bound

    async def keep_alive(self) -> None:
        """Sweep a share of the sockets each second, until cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(1.0)
            turn = (turn + 1) % len(self._slots)
            now = time.time()
            for connection in list(self._slots[turn]):
                connection.sweep(now)

    @property
    def users(self) -> int:
        """How many users have a socket."""
        return len(self._sockets_of_user)

    def stop_accepting(self) -> None:
        """Refuse new sockets from now on; those that are open stay."""
        self._draining = True
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def drain(self, *, seconds_max: float, retry_after_seconds_max: float) -> None:
        """Close every socket with a hint, paced and jittered, so that the clients do not return as one."""
        self.stop_accepting()
        remaining = list(self.connections)
        log.info("ws.draining", sockets=len(remaining))
        random.shuffle(remaining)
        steps = max(1, int(seconds_max * DRAIN_STEPS_PER_SECOND / 2))
        share = max(50, ceil(len(remaining) / steps))
        try:
            async with asyncio.timeout(seconds_max):
                for start in range(0, len(remaining), share):
                    for connection in remaining[start : start + share]:
                        self._dismiss(connection, retry_after_seconds_max)
                    await asyncio.sleep(1 / DRAIN_STEPS_PER_SECOND)
                while self.connections:
                    await asyncio.sleep(1 / DRAIN_STEPS_PER_SECOND)
        except TimeoutError:
            log.warning("ws.drain_deadline", sockets=len(self.connections))

    async def stop(self) -> None:
        """Drop whatever is left. Idempotent."""
        self.stop_accepting()
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)  # Let the loop call connection_lost.

    @staticmethod
    def _dismiss(connection: Connection, retry_after_seconds_max: float) -> None:
        retry_after_ms = int(random.uniform(0.1, retry_after_seconds_max) * 1000)  # noqa: S311 - jitter
        connection.say(Draining(retry_after_ms))
        connection.close(DRAINING.because(f"draining; come back after {retry_after_ms} ms"))

    # What a connection calls, in the order of its life.

    def wire_protocol(self) -> ServerProtocol:
        """Return a new Sans-I/O protocol for one connection."""
        return ServerProtocol(
            select_subprotocol=_select_subprotocol,
            state=CONNECTING,
            max_size=self.limits.message_bytes_max,
        )

    def accepted(self, connection: Connection) -> None:
        """Note a new TCP connection."""
        self.connections.add(connection)

    def admit(self, connection: Connection, wire: ServerProtocol, request: Request) -> Admission:
        """Decide over an upgrade request."""
        headers = request.headers
        path = path_of(request)
        if path == HEALTH_PATH:
            if self._healthy():
                return Admission(wire.reject(HTTPStatus.OK, "ok\n"))
            return Admission(wire.reject(HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n"))
        if path != SOCKET_PATH:
            return self._refuse(wire, HTTPStatus.NOT_FOUND, f"WebSockets live at {SOCKET_PATH}")
        connection.address = client_address(connection.address, headers, self._trusted_proxies)
        wait_seconds = self._attempts.take(connection.address, self.loop.time())
        if wait_seconds:
            return self._refuse(
                wire, HTTPStatus.TOO_MANY_REQUESTS, "too many connection attempts", wait_seconds
            )
        if self._draining or len(self.connections) > self.limits.sockets_max:
            return self._refuse(wire, HTTPStatus.SERVICE_UNAVAILABLE, "this node takes no more sockets", 5)
        origin, host = single(headers, "Origin"), single(headers, "Host")
        if not self._origins.admit(origin, host):
            log.info("ws.origin_refused", address=connection.address, origin=origin)
            return self._refuse(
                wire, HTTPStatus.FORBIDDEN, f"the origin {origin} is not allowed (ws.allowed_origins)"
            )
        response = wire.accept(request)
        accepted = response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
        if not accepted:
            self.stats.handshakes_refused[response.status_code] += 1
        return Admission(response, accepted, self._origins.vouched(origin, host))

    def opened(self, connection: Connection) -> None:
        """Note a connection that has become a WebSocket."""
        self.stats.sockets_opened += 1
        connection.slot = min(self._slots, key=len)
        connection.slot.add(connection)

    def claim_socket(self, principal: Principal) -> CloseReason | None:
        """Count one more socket of a user. If a reason is returned it was one too many: close it."""
        held = self._sockets_of_user[principal.user_id]
        if held >= self.limits.sockets_per_user_max:
            return LIMIT.because(f"limit reached: {held} sockets of one user")
        self._sockets_of_user[principal.user_id] = held + 1
        return None

    def lost(self, connection: Connection, code: int) -> None:
        """Forget a connection that is gone. `code` is the close code, 1006 when there was none."""
        self.connections.discard(connection)
        connection.slot.discard(connection)
        self.hub.leave(connection, connection.session.rooms)
        principal = connection.session.principal
        if principal is None:
            return
        self.stats.closes[code] += 1
        log.info("ws.closed", **connection.identity(), code=code)
        self._sockets_of_user[principal.user_id] -= 1
        if not self._sockets_of_user[principal.user_id]:
            del self._sockets_of_user[principal.user_id]

    def _refuse(
        self, wire: ServerProtocol, status: HTTPStatus, message: str, retry_after_seconds: float = 0
    ) -> Admission:
        self.stats.handshakes_refused[status.value] += 1
        response = wire.reject(status, f"{message}\n")
        if retry_after_seconds:
            response.headers["Retry-After"] = str(ceil(retry_after_seconds))
        return Admission(response)


def _select_subprotocol(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Speak bridge.v1 to whoever offers it; a `bearer.…` entry is a token and never echoed."""
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None
