"""Puts the operator console of a node together: its page and API, its errands on the bus, its cluster."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from uuid import uuid4

import structlog

from bridge import __version__
from bridge.admin.console import AddTo, Console, add_notice
from bridge.admin.console_api import Node
from bridge.admin.console_streams import Sampler
from bridge.amqp.errands import Errands
from bridge.amqp.link import Link
from bridge.amqp.presence import Presence
from bridge.amqp.topology import Names
from bridge.core.access import AccessRules
from bridge.core.catalogue import Catalogue
from bridge.core.health import Health
from bridge.core.presence import NodeStatus
from bridge.settings import Settings
from bridge.view import View

log = structlog.get_logger()


def console_of(
    settings: Settings,
    catalogue: Catalogue,
    names: Names,
    view: View,
    *,
    health: Callable[[], Sequence[Health]],
    draining: Callable[[], bool],
) -> NodeConsole | NoConsole:
    """Return the console of a node, which does nothing unless `admin.token` is set."""
    admin = settings.admin
    if admin.token is None:
        return NoConsole()
    if admin.exposed:
        log.warning("console.exposed", host=admin.host)
    token = admin.token.get_secret_value()
    return NodeConsole(settings, catalogue, names, view, token=token, health=health, draining=draining)


class NoConsole:
    """A console that is off: it says so below /console, and does nothing."""

    def __init__(self) -> None:
        self.add_to: AddTo = add_notice

    def health(self) -> list[Health]:
        """Tell how the parts are that work for the console; none is vital."""
        return []

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is to run beside the node, each until it is cancelled."""
        return []

    async def leave(self) -> None:
        """Have the other nodes know that this one goes."""


class NodeConsole:
    """The console of one node, with what works for it alone."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        names: Names,
        view: View,
        *,
        token: str,
        health: Callable[[], Sequence[Health]],
        draining: Callable[[], bool],
    ) -> None:
        """Listen nowhere and connect to nothing yet."""
        url, prefix = settings.amqp.url.get_secret_value(), settings.amqp.prefix
        self._view = view
        self._draining = draining
        self._id = uuid4().hex
        self._name = f"{socket.gethostname()[:200]}:{os.getpid()}"
        self._started_at = time.time()
        self._sampler = Sampler(view.reading)
        self._presence = Presence(names, status=self._status, sockets_of=view.sockets_of, stats=view.stats)
        self._link = Link(
            url, f"{prefix} nodes", works=[self._presence.run], stats=view.stats, reader=settings.amqp.reader
        )
        node = Node(
            version=__version__,
            development=settings.development,
            body_bytes_max=settings.ingest.body_bytes_max,
            catalogue=catalogue,
            access=AccessRules(frozenset(settings.auth.public_kinds), frozenset(settings.grants)),
            window=view.window,
            bus=Errands(url, f"{prefix} operator", names, settings.amqp.reader),
            health=health,
            log=view.log,
            domains=view.domains,
            entries_seen=lambda: view.stats.entries_seen,
            nodes=self._presence.nodes,
            ask_sockets=self._presence.ask_sockets,
        )
        self.add_to: AddTo = Console(token, node, self._sampler).add_to

    def health(self) -> list[Health]:
        """Tell whether this node hears the others."""
        return [self._presence.health()]

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is to run beside the node, each until it is cancelled."""
        return [self._sampler.run(), self._link.run()]

    async def leave(self) -> None:
        """Have the other nodes know that this one goes."""
        await self._presence.leave()

    def _status(self) -> NodeStatus:
        sockets, newest = self._view.sockets, self._sampler.newest
        return NodeStatus(
            id=self._id,
            name=self._name,
            version=__version__,
            started_at=self._started_at,
            sockets=len(sockets.connections),
            users=sockets.users,
            events_per_second=newest.events_per_second if newest else 0.0,
            ready=self._view.ready(),
            draining=self._draining(),
        )
