"""The public port: accepts sockets, keeps them alive, and lets them go."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from secrets import token_hex

import structlog
from websockets.extensions.permessage_deflate import PerMessageDeflate

from bridge.core.access import Principal
from bridge.core.close import DRAINING, LIMIT, CloseReason
from bridge.core.commands import Draining
from bridge.core.entry import Logged
from bridge.core.hub import Hub
from bridge.core.limits import KeyedLimiter, Waiting
from bridge.core.origins import OriginRules
from bridge.core.outbox import Frame, OutboxLimits, Pool
from bridge.core.run import Coding
from bridge.core.session import SessionRules
from bridge.core.stats import Stats
from bridge.ws.address import Proxies, network_of
from bridge.ws.arrival import Arrival
from bridge.ws.audience import Audience
from bridge.ws.connection import Connection, event_frame
from bridge.ws.deflate import Deflates
from bridge.ws.desk import Desk, Sources
from bridge.ws.gate import Gate
from bridge.ws.tls import Tls
from bridge.ws.wire import NO_EXTENSIONS, Wire

log = structlog.get_logger()

BACKLOG = 4_096  # Clients that the kernel holds until they are accepted, as after a restart.
UNSENT_BYTES_MAX = 65_536  # In the kernel, for each socket.
HANDSHAKE_SECONDS_MIN = 1.0  # So long nobody is made to give way; most need a few round trips.
DRAIN_STEPS_PER_SECOND = 20
DRAIN_STEP_SOCKETS_MIN = 50


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Bounds of the socket edge; times in seconds."""

    outbox: OutboxLimits
    outboxes_bytes_max: int
    message_bytes_max: int
    sockets_max: int
    sockets_per_user_max: int
    handshakes_max: int
    handshakes_per_address_max: int
    ipv6_prefix_bits: int
    handshake_seconds_max: float
    hello_seconds_max: float
    close_seconds_max: float
    answer_seconds_max: float


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
        attempts_of_user: KeyedLimiter,
        verify: Callable[[str], Principal],
        sources: Sources,
        stats: Stats,
        healthy: Callable[[], bool],
        open_for_sockets: Callable[[], bool],
        cookie_name: str,
        proxies: Proxies,
        compress_bytes_min: int | None,
        event_frame: Callable[[Logged, str], Frame] = event_frame,
    ) -> None:
        """Hold what all connections share. `verify` raises TokenRejected, or KeyMissing.

        Events of at least `compress_bytes_min` bytes are compressed for clients that offer it; None for none.
        """
        self.hub = hub
        self.rules = rules
        self.event_frame = event_frame
        self.limits = limits
        self.verify = verify
        self.stats = stats
        stats.sockets_max, stats.outbox_bytes_max = limits.sockets_max, limits.outboxes_bytes_max
        self.loop = asyncio.get_running_loop()
        self.pool = Pool(bytes_max=limits.outboxes_bytes_max)
        self.connections: set[Connection] = set()
        self.desk = Desk(sources, answer_seconds_max=limits.answer_seconds_max)
        self.audience = Audience(hub, self.desk)
        self.gate = Gate(
            origins=origins,
            attempts=attempts,
            stats=stats,
            healthy=healthy,
            full=lambda: self._draining or not open_for_sockets() or self.sockets >= limits.sockets_max,
            cookie_name=cookie_name,
            proxies=proxies,
            ipv6_prefix_bits=limits.ipv6_prefix_bits,
            compression=compress_bytes_min is not None,
        )
        self._deflates = Deflates(bytes_min=compress_bytes_min or 0, stats=stats)
        self._proxies = proxies
        self._attempts_of_user = attempts_of_user
        self._unproven: Waiting[Connection | Arrival] = Waiting(
            count_max=limits.handshakes_max,
            per_network_max=limits.handshakes_per_address_max,
            seconds_min=HANDSHAKE_SECONDS_MIN,
        )
        self._securing: set[asyncio.Task[None]] = set()  # TLS handshakes; at most `handshakes_max`.
        self.sockets = 0  # Those whose users are known: what `sockets_max` limits.
        # Commands are limited by themselves; this limits what else a client can have the node read.
        self._frames_max = 2 * ceil(
            rules.commands_burst_max + rules.commands_per_second_max * rules.ping_interval_seconds
        )
        self._sockets_of_user: Counter[str] = Counter()
        self._draining = False
        self._listener: asyncio.Server | None = None  # Set while accepting.
        self._empty = asyncio.Event()  # Set while there is no connection.
        self._empty.set()
        self._owing: dict[Connection, None] = {}  # Those whose turn it is to replay, the next one first.
        # About one slot a second of the ping interval: every sweep touches an even share of the sockets.
        self._slots: list[set[Connection]] = [set() for _ in range(ceil(rules.ping_interval_seconds))]

    async def start(self, host: str, port: int, tls: Tls | None = None, *, reuse_port: bool = False) -> int:
        """Listen, and return the port (for port 0, the one that was free). Raises OSError.

        With `reuse_port` several processes can listen on one port, and the kernel deals out the clients.
        """
        self._listener = await self.loop.create_server(
            self.new_connection if tls is None else lambda: Arrival(self, tls),
            host,
            port,
            backlog=BACKLOG,
            reuse_port=reuse_port or None,
        )
        for listener in self._listener.sockets:
            # Every accepted socket inherits it. Else the kernel takes up to 4 MB (tcp_wmem) for a client that
            # does not read, where no limit and no overflow policy of ours reaches them.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)
        bound: int = self._listener.sockets[0].getsockname()[1]
        log.info("ws.listening", host=host, port=bound, tls=tls is not None)
        return bound

    async def keep_alive(self) -> None:
        """Sweep every socket once in each ping interval, until cancelled."""
        while True:
            for slot in self._slots:
                await asyncio.sleep(self.rules.ping_interval_seconds / len(self._slots))
                now = time.time()
                for connection in list(slot):
                    connection.guarded(connection.sweep, now)

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
        log.info("ws.draining", sockets=len(self.connections))
        try:
            async with asyncio.timeout(seconds_max):
                await self._dismiss_paced(seconds_max / 2, retry_after_seconds_max)
                await self._empty.wait()
        except TimeoutError:
            log.warning("ws.drain_deadline", sockets=len(self.connections))

    def dismiss_all(self, *, retry_after_seconds_max: float) -> None:
        """Close every socket at once with a jittered hint; new ones may come."""
        for connection in list(self.connections):
            _dismiss(connection, retry_after_seconds_max)

    async def stop(self) -> None:
        """Drop whatever is left. Idempotent."""
        self.stop_accepting()
        for task in self._securing:
            task.cancel()
        if self._securing:
            await asyncio.wait(self._securing)
        for connection in list(self.connections):
            connection.abort()
        await self.desk.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.close_seconds_max):
                await self._empty.wait()

    async def _dismiss_paced(self, seconds: float, retry_after_seconds_max: float) -> None:
        """Begin to close every socket within so many seconds, a few at a time."""
        remaining = list(self.connections)
        steps = max(1, int(seconds * DRAIN_STEPS_PER_SECOND))
        share = max(DRAIN_STEP_SOCKETS_MIN, ceil(len(remaining) / steps))
        for start in range(0, len(remaining), share):
            for connection in remaining[start : start + share]:
                _dismiss(connection, retry_after_seconds_max)
            await asyncio.sleep(1 / DRAIN_STEPS_PER_SECOND)

    # What a connection calls, in the order of its life.

    def new_connection(self) -> Connection:
        """Return a connection for whoever comes next."""
        return Connection(self, token_hex(16))

    def enter(self, one: Connection | Arrival, peer: str) -> None:
        """Count somebody who has come from an address and has not proven yet who it is.

        Who has to go, because there are too many, is dropped: not even a refusal can be afforded.
        """
        # A proxy speaks for many; whom it speaks for is known with the request.
        network = "" if peer in self._proxies else self._network_of(peer)
        self._drop(self._unproven.enter(one, network, self.loop.time()))

    def leave(self, one: Connection | Arrival) -> None:
        """Count somebody no longer, who has proven who it is, or is gone."""
        self._unproven.leave(one)

    def secure(self, arrival: Arrival) -> None:
        """Have a TLS handshake done."""
        task = self.loop.create_task(arrival.secure())
        self._securing.add(task)
        task.add_done_callback(self._securing.discard)

    def accepted(self, connection: Connection) -> None:
        """Note a new connection that can be read from."""
        self.connections.add(connection)
        self._empty.clear()
        self.enter(connection, connection.address)
        if self._draining:
            connection.abort()

    def wire(self, deflate: PerMessageDeflate | None) -> tuple[Wire, Coding | None]:
        """Return the wire of a new WebSocket, and how it gets events. `deflate` is what was agreed on."""
        wire = Wire(
            extensions=NO_EXTENSIONS if deflate is None else [deflate],
            message_bytes_max=self.limits.message_bytes_max,
            frames_max=self._frames_max,
        )
        return wire, None if deflate is None else self._deflates.of(deflate)

    def opened(self, connection: Connection) -> None:
        """Note a connection that has become a WebSocket."""
        self.stats.sockets_opened += 1
        network = self._network_of(connection.address)
        self._drop(self._unproven.move(connection, network, self.loop.time()))
        connection.slot = min(self._slots, key=len)
        connection.slot.add(connection)

    def claim_socket(self, connection: Connection, principal: Principal) -> CloseReason | None:
        """Count one more socket of a user. If a reason is returned it was one too many: close it."""
        user_id, limits = principal.user_id, self.limits
        wait_seconds = self._attempts_of_user.take(user_id, self.loop.time())
        if wait_seconds:
            return LIMIT.because(
                f"limit reached: too many connections of one user; wait {ceil(wait_seconds)} s"
            )
        held = self._sockets_of_user[user_id]
        if held >= limits.sockets_per_user_max:
            return LIMIT.because(f"limit reached: {held} sockets of one user")
        if self.sockets >= limits.sockets_max:
            return LIMIT.because("limit reached: this node takes no more sockets")
        self._sockets_of_user[user_id] = held + 1
        self.sockets += 1
        self.leave(connection)
        return None

    def replay_soon(self, connection: Connection) -> None:
        """Have a connection replay: one in each turn of the event loop, so that nobody waits for many."""
        if not self._owing:
            self.loop.call_soon(self._replay_next)
        self._owing[connection] = None

    def _replay_next(self) -> None:
        connection = next(iter(self._owing))
        del self._owing[connection]
        if self._owing:
            self.loop.call_soon(self._replay_next)
        connection.guarded(connection.replay)

    def lost(self, connection: Connection, code: int | None, *, by_client: bool) -> None:
        """Forget a connection that is gone. `code` is the close code, None if it was never a WebSocket."""
        self.connections.discard(connection)
        self.leave(connection)
        if not self.connections:
            self._empty.set()
        if connection.slot is not None:
            connection.slot.discard(connection)
        if code is not None:
            # A client may close with any code it likes: those are not ours to have a series each.
            self.stats.closes["client" if by_client else code] += 1
            log.info("ws.closed", **connection.identity(), code=code, by_client=by_client)
        principal = connection.session.principal
        if principal is not None:
            self.sockets -= 1
            self._sockets_of_user[principal.user_id] -= 1
            if not self._sockets_of_user[principal.user_id]:
                del self._sockets_of_user[principal.user_id]

    def _network_of(self, address: str) -> str:
        return network_of(address, ipv6_prefix_bits=self.limits.ipv6_prefix_bits)

    def _drop(self, one: Connection | Arrival | None) -> None:
        if one is not None:
            self.stats.handshakes_dropped += 1
            one.abort()


def _dismiss(connection: Connection, retry_after_seconds_max: float) -> None:
    retry_after_ms = int(random.uniform(0.1, retry_after_seconds_max) * 1000)  # noqa: S311 - jitter
    connection.say(Draining(retry_after_ms))
    connection.close(DRAINING.because(f"draining; come back after {retry_after_ms} ms"))
