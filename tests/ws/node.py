"""A socket server on a free port, with everything behind it but the broker."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from itertools import cycle
from secrets import token_hex
from typing import Any
from unittest.mock import patch

from bridge.auth.claims import ClaimRules
from bridge.auth.keys import key_from_secret
from bridge.auth.tokens import TokenRules, TokenVerifier, make_token
from bridge.core.access import AccessRules, Principal
from bridge.core.dedupe import Once
from bridge.core.entry import Entry, EventKey, Logged, Position
from bridge.core.hub import Hub
from bridge.core.limits import KeyedLimiter, RateLimit
from bridge.core.origins import OriginRules
from bridge.core.outbox import OutboxLimits
from bridge.core.policy import Policy
from bridge.core.revocation import Change, ChangeKind, Revocations
from bridge.core.session import SessionRules
from bridge.core.stats import Stats
from bridge.core.window import Window, WindowLimits
from bridge.fanout import Fanout
from bridge.reader import NodeReader
from bridge.ws import connection, desk, endpoint, gate, server
from bridge.ws.address import ForwardedHeader, Proxies
from bridge.ws.connection import Connection, event_frame
from bridge.ws.desk import Sources
from bridge.ws.server import SocketLimits, SocketServer
from bridge.ws.tls import Tls

HOST = "127.0.0.1"
DEADLINE_SECONDS = 5.0
EPOCH = "e1"
COOKIE = "bridge_token"
TOKENS = TokenRules(
    keys=(key_from_secret("a secret of thirty-two characters", "HS256"),),
    claims=ClaimRules(leeway_seconds=0.0),
)


def token(user_id: str = "u1", *, seconds: float = 3_600.0, rooms: Sequence[str] = ()) -> str:
    """Return a token for a user that is valid for so long."""
    return make_token(TOKENS, user_id=user_id, rooms=rooms, seconds=seconds)


@dataclass
class Options:
    """What a test may want otherwise. The names are those of the settings; times in seconds."""

    message_bytes_max: int = 65_536
    sockets_max: int = 1_000
    sockets_per_user_max: int = 100
    handshakes_max: int = 5_000
    handshakes_per_address_max: int = 1_000
    ipv6_prefix_bits: int = 64
    handshake_seconds_max: float = DEADLINE_SECONDS
    hello_seconds_max: float = DEADLINE_SECONDS
    close_seconds_max: float = 2.0
    outbox_frames_max: int = 1_000
    outbox_bytes_max: int = 1_048_576
    outboxes_bytes_max: int = 2**30
    rooms_max: int = 100
    commands_per_second_max: float = 20.0
    commands_burst_max: int = 40
    mistakes_max: int = 20
    expiring_notice_seconds: float = 60.0
    expiry_grace_seconds: float = 0.0
    answer_seconds_max: float = DEADLINE_SECONDS
    commands_waiting_max: int = 16
    ping_interval_seconds: float = 25.0
    attempts_per_minute_max: int = 100_000
    user_attempts_per_minute_max: int = 100_000
    trusted_proxies: tuple[str, ...] = ()
    forwarded_header: ForwardedHeader = "x-forwarded-for"
    allowed_origins: tuple[str, ...] = ()
    allow_missing_origin: bool = True
    compress_bytes_min: int | None = 512
    tls: Tls | None = None
    verify: Callable[[str], Principal] = TokenVerifier(TOKENS).verify
    sources: Sources = field(default_factory=Sources)


class Diary:
    """Stands in for the loggers of the socket edge, and keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **values: object) -> None:
        """Keep a line."""
        self.lines.append((event, values))

    warning = error = exception = info

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return what was said with each line of this name."""
        return [values for name, values in self.lines if name == event]


@dataclass
class Node:
    """A running node."""

    server: SocketServer
    reader: NodeReader
    fanout: Fanout[Connection]
    hub: Hub[Connection]
    stats: Stats
    diary: Diary
    tls: bool
    port: int = 0
    healthy: bool = True
    knows_the_log: bool = True
    trouble: list[str] = field(default_factory=list)  # What asyncio had to report.

    @property
    def url(self) -> str:
        """Where the WebSockets are."""
        return f"{'wss' if self.tls else 'ws'}://{HOST}:{self.port}/ws"

    @property
    def offset(self) -> int:
        """The newest offset of the log."""
        return self.server.rules.window.head

    def publish(
        self,
        *numbers: int,
        to: str | Sequence[str] = "all",
        policy: Policy = Policy.MUST_DELIVER,
        key: str = "",
        padding: int = 0,
    ) -> None:
        """Have the log hand out a run of events with these numbers, in one go; to several rooms in turn."""
        rooms = cycle([to] if isinstance(to, str) else to)
        first = self.offset + 1
        self.fanout.receive(
            [
                Logged(offset, an_entry(number, to=next(rooms), policy=policy, key=key, padding=padding))
                for offset, number in enumerate(numbers, first)
            ]
        )

    def log(self, *entries: Entry) -> None:
        """Have the log show a run of entries, in one go."""
        self.reader.receive([Logged(offset, entry) for offset, entry in enumerate(entries, self.offset + 1)])

    def connection_of(self, user_id: str) -> Connection:
        """Return the server's end of a user's only socket."""
        (found,) = self.hub.members(f"user:{user_id}")
        return found


def an_entry(
    number: int, *, to: str, policy: Policy = Policy.MUST_DELIVER, key: str = "", padding: int = 0
) -> Entry:
    """Return a log entry that carries a number, and so many bytes beside it."""
    payload = {"type": "test.happened", "version": 1, "data": {"number": number, "padding": "x" * padding}}
    return Entry(
        key=EventKey("test.happened", str(number)),
        targets=(to,),
        policy=policy,
        conflate_key=key,
        occurred_at=time.time(),
        expires_at=None,
        payload=json.dumps(payload).encode(),
    )


def a_change(kind: ChangeKind, user_id: str, **data: object) -> Entry:
    """Return the log entry of a change of who may what."""
    payload = {"type": kind.value, "version": 1, "data": {"userId": user_id, **data}}
    return Entry(
        key=EventKey(kind.value, token_hex(8)),
        targets=(),
        policy=Policy.MUST_DELIVER,
        conflate_key="",
        occurred_at=time.time(),
        expires_at=None,
        payload=json.dumps(payload).encode(),
    )


@asynccontextmanager
async def running(**changes: Any) -> AsyncIterator[Node]:  # noqa: ANN401 - see Options
    """Run a node with these options. At the end nothing may be left of it, and nothing may have raised."""
    node, tls = _build(Options(**changes))
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: node.trouble.append(str(context)))
    with (
        patch.object(connection, "log", node.diary),
        patch.object(desk, "log", node.diary),
        patch.object(endpoint, "log", node.diary),
        patch.object(gate, "log", node.diary),
        patch.object(server, "log", node.diary),
    ):
        node.port = await node.server.start(HOST, 0, tls)
        keep_alive = asyncio.create_task(node.server.keep_alive())
        try:
            yield node
        finally:
            keep_alive.cancel()
            await asyncio.wait([keep_alive])
            await node.server.stop()
    assert not node.trouble, node.trouble
    assert not node.server.connections
    assert not len(node.hub)
    assert not node.server.users
    assert not node.server.pool.bytes_held
    assert not node.server.pool.holders
    assert not node.server.sockets
    assert not len(node.server.desk)
    assert not node.server.audience.replaying
    assert not len(node.server._unproven)
    assert not node.server._securing


def _limiter(per_minute_max: int) -> KeyedLimiter:
    return KeyedLimiter(RateLimit(per_minute_max, 60.0), keys_max=1_000, seed=b"seed")


def _build(options: Options) -> tuple[Node, Tls | None]:
    hub: Hub[Connection] = Hub()
    stats = Stats()
    window = Window(WindowLimits(seconds_max=600.0, bytes_max=1 << 24))
    window.begin(Position(EPOCH, 0))
    revocations = Revocations(seconds_max=3_600.0, marks_max=1_000)
    names = {entry.name for entry in fields(Options)}
    given = {name: getattr(options, name) for name in names}
    rules = SessionRules(
        access=AccessRules(frozenset({"device"}), options.sources.query_kinds, revocations),
        window=window,
        users_checked=options.sources.users is not None,
        inbox=options.sources.inbox is not None,
        **{entry.name: given[entry.name] for entry in fields(SessionRules) if entry.name in names},
    )
    limits = SocketLimits(
        outbox=OutboxLimits(options.outbox_frames_max, options.outbox_bytes_max),
        **{entry.name: given[entry.name] for entry in fields(SocketLimits) if entry.name in names},
    )
    sockets = SocketServer(
        hub=hub,
        rules=rules,
        limits=limits,
        origins=OriginRules(options.allowed_origins, allow_missing=options.allow_missing_origin),
        attempts=_limiter(options.attempts_per_minute_max),
        attempts_of_user=_limiter(options.user_attempts_per_minute_max),
        verify=options.verify,
        sources=options.sources,
        stats=stats,
        open_for_sockets=lambda: node.knows_the_log,
        healthy=lambda: node.healthy,
        cookie_name=COOKIE,
        proxies=Proxies(options.trusted_proxies, header=options.forwarded_header),
        compress_bytes_min=options.compress_bytes_min,
    )
    fanout = Fanout(
        hub,
        window,
        frame=event_frame,
        on_new_life=lambda: sockets.dismiss_all(retry_after_seconds_max=1.0),
        stats=stats,
    )

    def on_change(change: Change, logged_at: float) -> None:
        revocations.apply(change, logged_at=logged_at, now=time.time())
        sockets.audience.access_changed(change)

    reader = NodeReader(Once(window_seconds=600.0, keys_max=1_000), fanout, on_change)
    node = Node(sockets, reader, fanout, hub, stats, Diary(), tls=options.tls is not None)
    return node, options.tls
