"""Proxy pools of the proxy-service, for administrators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from bridge.core.catalogue import Domain
from bridge.core.event import BaseEvent, Counters, Identifier, Text
from bridge.core.policy import conflate
from bridge.core.rooms import role_room

DOMAIN = Domain("proxy", publisher="proxy-service", topics=("proxy.#",))


@DOMAIN.event("proxy.pool_changed", overflow=conflate("poolId"))
class ProxyPoolChanged(BaseEvent):
    """A pool's state changed; only its newest state counts, and it counts however late it comes."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "poolId": "pool-eu-1",
        "state": "degraded",
        "previousState": "healthy",
        "counts": {"total": 200, "available": 12, "inUse": 150, "failed": 38},
    }

    pool_id: Identifier = Field(description="The pool concerned.")
    state: Text | None = Field(default=None, description="The pool's state now.")
    previous_state: Text | None = Field(default=None, description="The pool's state before.")
    counts: Counters | None = Field(default=None, description="Numbers of proxies, by what they do.")
    reason: Text | None = Field(default=None, description="Why it changed.")

    def targets(self) -> Sequence[str]:
        """Return the administrators' room."""
        return (role_room("admin"),)
