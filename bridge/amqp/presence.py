"""Nodes of a cluster know of each other, and ask each other, over a fanout exchange. Never vital.

On a link of its own: it publishes all the time, and a broker that is short of memory or disk stops
reading from connections that do. The other two must not have to wait for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bridge.amqp.link import Connection
from bridge.amqp.topology import Names
from bridge.core.health import Health
from bridge.core.presence import NodeAnswer, NodeSeen, NodeStatus, SocketStatus
from bridge.core.stats import Stats


class Presence:
    """This node's part in the cluster. `run` is a work for a Link of its own."""

    def __init__(
        self,
        names: Names,
        *,
        status: Callable[[], NodeStatus],
        sockets_of: Callable[[str], Sequence[SocketStatus]],
        stats: Stats,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Attach to nothing yet.

        `status` tells how this node is now, always with the same `id`: `uuid4().hex`, drawn at the start.
        `sockets_of` tells the sockets that a user has here. Neither may block, and both are called on the
        event loop, `sockets_of` for other nodes too.
        """
        self._names = names
        self._status = status
        self._sockets_of = sockets_of
        self._stats = stats
        self._clock = clock

    def health(self) -> Health:
        """Tell whether this node hears the cluster. Not vital: without it the node is degraded."""
        return Health("nodes", ok=False, detail="not attached yet", vital=False)

    def nodes(self) -> list[NodeSeen]:
        """Return every node that is known, this one first, the others by name and id."""
        return [NodeSeen(self._status(), 0.0, own=True)]

    async def ask_sockets(self, user_id: str) -> list[NodeAnswer]:
        """Ask every known node for the sockets of a user, and return what each said, this one first.

        Takes `ANSWER_SECONDS_MAX` at most. Never raises: a node that does not answer, or cannot be asked,
        is there with `answered=False`.
        """
        status = self._status()
        return [NodeAnswer(status.id, status.name, True, self._sockets_of(user_id), own=True)]  # noqa: FBT003

    async def run(self, connection: Connection) -> None:
        """Tell, listen and answer over this connection until cancelled; attach again after every trouble."""
        raise NotImplementedError

    async def leave(self) -> None:
        """Say goodbye, if there is anybody to say it to, and tell nothing more. Takes a second at most.

        Call it when the node has drained, before `run` is cancelled.
        """
