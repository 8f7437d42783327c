"""The composition root: builds every part, hands each what it needs, owns start and stop order.

start   admin port → public port, closed until all is well → RabbitMQ
stop    public port stops accepting → deliveries in hand are finished and acked →
sockets are closed, paced → RabbitMQ → admin port; all under one deadline
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import structlog

from bridge.admin.metrics import BridgeCollector
from bridge.admin.server import AdminServer
from bridge.amqp.burial import Burial
from bridge.amqp.consumer import DomainConsumer, Work as ConsumerWork
from bridge.amqp.feed import StreamFeed
from bridge.amqp.link import Connection, Link, Work
from bridge.amqp.probe import Probe
from bridge.amqp.source import StockSource
from bridge.amqp.stream import StreamLog
from bridge.amqp.topology import Names, Topology
from bridge.ceilings import ceilings_of
from bridge.console import console_of
from bridge.core.catalogue import RESERVED_NAMES, UNROUTED, Catalogue, Domain
from bridge.core.commands import Unread
from bridge.core.dedupe import Once
from bridge.core.feed import Feed
from bridge.core.health import Health, is_ready
from bridge.core.hub import Hub
from bridge.core.intake import Intake
from bridge.core.log import MemoryLog, Reader, Readers
from bridge.core.revocation import Change, Revocations
from bridge.core.stats import Stats
from bridge.core.tables import build
from bridge.core.tracecontext import log_fields
from bridge.core.window import Window, WindowLimits
from bridge.fanout import Fanout
from bridge.ingest import Ingest
from bridge.keyring import verifier_of
from bridge.lag import watch_lag
from bridge.reader import NodeReader
from bridge.retention import retention_of
from bridge.settings import Settings, SettingsError
from bridge.sockets import frame_of, limiter_of, origin_rules_of, session_rules_of, socket_limits_of, tls_of
from bridge.storage import store_rules_of
from bridge.store.memory_feed import MemoryFeed
from bridge.store.store import Store
from bridge.tracing import Tracing
from bridge.view import View
from bridge.ws.address import Proxies
from bridge.ws.connection import Connection as Socket
from bridge.ws.desk import Sources
from bridge.ws.server import SocketServer
from consumers import NoDomainError, domains as built_in_domains

log = structlog.get_logger()


def catalogue_of(settings: Settings) -> Catalogue:
    """Build the catalogue: the built-in domains, those of the settings, and the one that catches the rest.

    Raises:
        SettingsError: two domains claim one name, a rule names no domain, or a file declares none.
    """
    try:
        built_in = built_in_domains()
    except NoDomainError as exc:
        raise SettingsError([f"domain: {exc}"]) from exc
    unrouted = Domain(UNROUTED, "anybody", topics=(), unknown=settings.ingest.unrouted, catches_unrouted=True)
    files = {domain.name for domain in built_in}
    tables = [table for table in settings.domain if table.name not in files]
    domains = [*built_in, *map(build, tables), unrouted]
    known = {domain.name for domain in domains}
    problems = [
        f"ingest.unknown.{name}: there is no domain {name}; there are {', '.join(sorted(known))}"
        for name in settings.ingest.unknown
        if name not in known
    ]
    problems += [
        f"domain {table.name}: the name is reserved; choose another"
        for table in settings.domain
        if table.name in RESERVED_NAMES
    ]
    problems += [
        f"domain {table.name}: a file in consumers/ declares it already; choose another name"
        for table in settings.domain
        if table.name in files
    ]
    try:
        catalogue = Catalogue(
            replace(domain, unknown=settings.ingest.unknown.get(domain.name, domain.unknown))
            for domain in domains
        )
    except ValueError as exc:
        raise SettingsError([*problems, f"domain: {exc}"]) from exc
    if problems:
        raise SettingsError(problems)
    return catalogue


def topology_of(settings: Settings, catalogue: Catalogue) -> Topology:
    """Return what is to stand on the broker."""
    return Topology(
        Names(settings.amqp.exchange, settings.amqp.prefix),
        catalogue.domains.values(),
        delivery_limit=settings.amqp.delivery_limit,
    )


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the bridge listens, once it does."""

    public: int
    admin: int


class Bridge:
    """One node."""

    def __init__(self, settings: Settings) -> None:
        """Build every part. Must be called on the running event loop.

        Raises:
            SettingsError: the settings are not usable together.
        """
        self.settings = settings
        self.catalogue = catalogue_of(settings)
        self._ceilings = ceilings_of(settings, self.catalogue)
        self.stats = Stats()
        self.hub: Hub[Socket] = Hub()
        self._tls = tls_of(settings)
        self._tracing = Tracing(settings)
        self._verifier = verifier_of(settings)
        store_rules = store_rules_of(settings, self.catalogue)
        self._store = Store(store_rules, self.stats) if store_rules is not None else None
        self._once = Once(
            window_seconds=settings.ingest.dedupe_seconds, keys_max=settings.ingest.dedupe_keys_max
        )
        self.window = Window(
            WindowLimits(settings.event_log.window_seconds_max, settings.event_log.window_bytes_max)
        )
        self.revocations = Revocations(
            seconds_max=settings.access.remember_seconds, marks_max=settings.access.revocations_max
        )
        self._reader = NodeReader(
            self._once,
            Fanout(
                self.hub,
                self.window,
                frame=frame_of(settings),
                on_new_life=self._restart_sockets,
                stats=self.stats,
                spans=self._tracing.spans,
            ),
            on_change=self._access_changed,
        )
        topology = topology_of(settings, self.catalogue)
        self._names = topology.names
        self._ingests: dict[str, Ingest] = {}
        self._feed: Feed
        self._stream: StreamLog | None = None  # Set once, here; None when the log is in memory.
        if settings.event_log.kind == "stream":
            self._stream = StreamLog(self._names.log, retention_of(settings), self._reader, self.stats)
            url = settings.amqp.url.get_secret_value()
            self._feed = StreamFeed(url, f"{settings.amqp.prefix} inbox", self._stream, settings.amqp.reader)
        else:
            told: Reader = self._reader
            if store_rules is not None:
                self._feed = memory_feed = MemoryFeed(store_rules.wants)
                told = Readers(memory_feed, told)
            self.stats.log_caught_up = True
            self._memory = MemoryLog(epoch=uuid4().hex, reader=told)
        self._consumers = [
            DomainConsumer(
                domain,
                topology,
                self._ingest(domain),
                ready=self._stream.caught_up if self._stream else _at_once,
                prefetch=settings.amqp.prefetch,
            )
            for domain in self.catalogue.domains.values()
        ]
        url, prefix = settings.amqp.url.get_secret_value(), settings.amqp.prefix
        # Two connections: a broker short of memory or disk stops reading from those that publish
        # (https://www.rabbitmq.com/docs/alarms), and watching must go on then.
        reader = settings.amqp.reader
        self._ingest_link = Link(
            url,
            f"{prefix} ingest",
            works=[consumer.run for consumer in self._consumers],
            stats=self.stats,
            reader=reader,
        )
        self._probe = Probe(topology, self._consumers, self.stats)
        watching: list[Work] = [self._probe.run]
        if self._stream is not None:
            watching.append(self._stream.tail)
        self._watch_link = Link(url, f"{prefix} watch", works=watching, stats=self.stats, reader=reader)
        self._sockets = self._socket_server()
        self._draining = False
        view = View(
            stats=self.stats,
            hub=self.hub,
            window=self.window,
            once=self._once,
            revocations=self.revocations,
            sockets=self._sockets,
            consumers=self._consumers,
            ingests=self._ingests,
            ceilings=self._ceilings,
            log_kind=settings.event_log.kind,
            ready=lambda: self.ready,
        )
        self._console = console_of(
            settings, self.catalogue, self._names, view, health=self.health, draining=lambda: self._draining
        )
        self._admin = AdminServer(
            health=self.health,
            collector=BridgeCollector(self.stats, view.gauges),
            console=self._console.add_to,
        )

    def health(self) -> list[Health]:
        """Tell how every part is; the node is ready when all are well."""
        own = Health("node", not self._draining, "draining" if self._draining else "serving")
        links = (self._ingest_link.health(), self._watch_link.health(), self._probe.health())
        stream = [self._stream.health()] if self._stream else []
        held_up = [
            Health(f"ingest {name}", ok=False, detail=ingest.trouble)
            for name, ingest in self._ingests.items()
            if ingest.trouble
        ]
        return [
            own,
            *links,
            *stream,
            *self._verifier.health(),
            *(self._store.health() if self._store is not None else ()),
            *(consumer.health() for consumer in self._consumers),
            *held_up,
            *self._console.health(),
        ]

    @property
    def ready(self) -> bool:
        """Whether every vital part is well."""
        return is_ready(self.health())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Ports]:
        """Serve while the context is open; leave it to drain and stop.

        Raises:
            OSError: a port cannot be had.
        """
        settings = self.settings
        async with AsyncExitStack() as stack:
            admin_port = await self._admin.start(
                settings.admin.host, settings.admin.port, settings.admin.socket
            )
            stack.push_async_callback(self._admin.stop)
            stack.push_async_callback(self._sockets.stop)
            public_port = await self._sockets.start(
                settings.ws.host, settings.ws.port, self._tls, reuse_port=settings.ws.reuse_port
            )
            # A task that fails ends the process, loudly: whatever supervises it starts a new one.
            async with asyncio.TaskGroup() as tasks:
                ingest = tasks.create_task(self._ingest_link.run())
                beside = [
                    tasks.create_task(self._watch_link.run()),
                    tasks.create_task(self._verifier.run()),
                    *([tasks.create_task(self._store.run(self._feed))] if self._store is not None else []),
                    tasks.create_task(self._tell_unread()),
                    tasks.create_task(self._sockets.keep_alive()),
                    tasks.create_task(watch_lag(self.stats.loop_lag_seconds)),
                    *([tasks.create_task(self._tls.watch())] if self._tls else []),
                    *map(tasks.create_task, self._console.works()),
                ]
                yield Ports(public_port, admin_port)
                await self._drain(ingest)
                for task in (ingest, *beside):
                    task.cancel()

    async def _drain(self, ingest: asyncio.Task[None]) -> None:
        """Finish what is in hand and let the sockets go, within the deadline; then say goodbye within 1 s."""
        self._draining = True
        shutdown = self.settings.shutdown
        deadline = time.monotonic() + shutdown.drain_seconds_max
        self._sockets.stop_accepting()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(shutdown.drain_seconds_max / 2):
                self._ingest_link.stop()
                for consumer in self._consumers:
                    consumer.stop()
                await asyncio.wait((ingest,))
        seconds_max = max(0.1, deadline - time.monotonic())
        await asyncio.gather(
            self._sockets.drain(
                seconds_max=seconds_max, retry_after_seconds_max=shutdown.retry_after_seconds_max
            ),
            self._tracing.stop(seconds_max=seconds_max),
        )
        await self._console.leave()

    def _restart_sockets(self) -> None:
        """Let every client come back: the log began anew, and none can know what it missed."""
        log.error("app.log_began_anew", sockets=len(self._sockets.connections))
        self._sockets.dismiss_all(retry_after_seconds_max=self.settings.shutdown.retry_after_seconds_max)

    def _access_changed(self, change: Change, logged_at: float) -> None:
        """Obey a change of who may what, before anything that was logged after it is handed out."""
        evicted = self.revocations.evicted
        self.revocations.apply(change, logged_at=logged_at, now=time.time())
        if self.revocations.evicted > evicted:
            log.warning("access.revocations_full", revocations=len(self.revocations))
        if self._store is not None:
            self._store.forget(change.user_id)
        self._sockets.audience.access_changed(change)
        ids = {"user_id": change.user_id, "room": change.room, **log_fields(change.trace)}
        log.info("access.changed", change=change.kind.value, **ids)

    async def _tell_unread(self) -> None:
        """Tell users how much of their inbox is unread, whenever that changes, on whichever node."""
        if self._store is not None and self._store.inbox is not None:
            async for user_id, unread in self._store.inbox.watch_unread():
                self._sockets.audience.tell(user_id, Unread(unread))

    def _ingest(self, domain: Domain) -> ConsumerWork:
        """Return the work of a domain's consumer."""
        ingest = self._ingests[domain.name] = Ingest(
            domain=domain,
            intake=Intake(
                self.catalogue,
                domain,
                body_bytes_max=self.settings.ingest.body_bytes_max,
                traces=self._tracing.starter,
            ),
            once=self._once,
            stats=self.stats,
            ceilings=self._ceilings,
            unacked_max=self.settings.amqp.prefetch // 2,
            spans=self._tracing.spans,
        )

        async def work(source: StockSource, connection: Connection) -> None:
            event_log = self._stream.appender(source) if self._stream else self._memory
            async with Burial(self._names, connection) as dead_letters:
                await ingest.run(source, event_log, dead_letters)

        return work

    def _socket_server(self) -> SocketServer:
        settings, ws = self.settings, self.settings.ws
        sources = Sources(fetch_keys=self._verifier.fetch_keys)
        if self._store is not None:
            store = self._store
            sources = replace(sources, users=store.users, grants=store.grants, inbox=store.inbox)
        return SocketServer(
            hub=self.hub,
            rules=session_rules_of(settings, self.window, self.revocations, sources),
            limits=socket_limits_of(settings),
            origins=origin_rules_of(settings),
            attempts=limiter_of(ws.attempts_per_minute_max, ws.addresses_max),
            attempts_of_user=limiter_of(ws.user_attempts_per_minute_max, ws.addresses_max),
            verify=self._verifier.verify,
            sources=sources,
            stats=self.stats,
            healthy=lambda: self.ready,
            open_for_sockets=lambda: self._stream is None or self._stream.known,
            cookie_name=settings.auth.cookie_name,
            proxies=Proxies(ws.trusted_proxies, header=ws.forwarded_header),
            compress_bytes_min=ws.compress_bytes_min if ws.compression else None,
            event_frame=frame_of(settings),
        )


async def _at_once() -> None:
    """Be ready."""
