"""The bridge, built by its own composition root, whose one domain is attached to its queue on demand.

    python -m benchmarks.amqp.gateway '{"settings": {…}}'

All else of it runs from the start, and goes on through every drain.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks.amqp.frames import ROUTING_KEY
from benchmarks.amqp.window import POLL_SECONDS, Window
from benchmarks.machine import Cpu, allow_files
from benchmarks.servers.lines import obey, say
from bridge import logs
from bridge.amqp import consumer as consumers
from bridge.amqp.consumer import DomainConsumer
from bridge.app import Bridge
from bridge.collector import collecting
from bridge.core.verdict import Fate
from bridge.settings import Settings

DOMAIN = ROUTING_KEY.partition(".")[0]
READY_SECONDS_MAX = 30.0


class Gate:
    """Stands before a consumer's attaching."""

    def __init__(self, ready: Callable[[], Awaitable[None]]) -> None:
        """`ready` is what the consumer waits for by itself."""
        self._ready = ready
        self.open = asyncio.Event()
        self.reached = asyncio.Event()  # Set while the consumer waits here, or has passed.

    async def wait(self) -> None:
        """Wait for both."""
        await self._ready()
        self.reached.set()
        await self.open.wait()


class Gateway:
    """A bridge that serves."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._consumer = next(one for one in _consumers(bridge) if one.domain.name == DOMAIN)
        self._gate = Gate(self._consumer._ready)  # noqa: SLF001 - the one place where attaching can wait
        self._consumer._ready = self._gate.wait  # noqa: SLF001

    async def ready(self) -> str:
        """Wait until all but our domain is attached; return what is in the way, empty if nothing."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            late = [one.queue_name for one in _consumers(self._bridge) if not one.attached]
            if late == [self._consumer.queue_name] and self._gate.reached.is_set():
                return ""
            await asyncio.sleep(POLL_SECONDS)
        return f"not attached within {READY_SECONDS_MAX:g} s: {', '.join(late)}"

    async def drain(self, events: int) -> dict[str, float]:
        """Take so many events from the queue, all valid and new; each is acked and was fanned out."""
        stats = self._bridge.stats
        key = (DOMAIN, ROUTING_KEY, Fate.LOGGED.value)
        acked_before, seen_before = stats.deliveries[key], stats.entries_seen
        await self._gate.reached.wait()
        window = Window()
        self._gate.open.set()
        taken = await window.until(
            lambda: min(stats.deliveries[key] - acked_before, stats.entries_seen - seen_before), events
        )
        await self.detach()
        return taken

    async def attach(self) -> dict[str, bool]:
        """Consume from now on."""
        await self._gate.reached.wait()
        self._gate.open.set()
        while not self._consumer.attached:  # noqa: ASYNC110 - the bridge tells nobody
            await asyncio.sleep(POLL_SECONDS)
        return {"attached": True}

    async def detach(self) -> dict[str, bool]:
        """Consume no longer."""
        self._gate.reached.clear()
        self._gate.open.clear()
        self._consumer.doubt("measuring what comes after")
        await self._gate.reached.wait()
        return {"attached": False}

    async def cpu(self) -> dict[str, float]:
        """Answer with the CPU time used so far."""
        return Cpu.now()._asdict()


def _consumers(bridge: Bridge) -> list[DomainConsumer]:
    return bridge._consumers  # noqa: SLF001 - nobody else has a use for them


async def main() -> None:
    """Serve until the end of standard input."""
    argument = json.loads(sys.argv[1])
    allow_files()
    logs.configure(level="ERROR", pretty=False)
    # What was detached on purpose comes back at once.
    consumers.WORK_BACKOFF_SECONDS_MAX = consumers.BACKOFF_SECONDS_FIRST
    bridge = Bridge(Settings.model_validate(argument["settings"]))
    gateway = Gateway(bridge)
    async with bridge.serving() as ports, collecting(bridge.stats.sockets_closed):
        if trouble := await gateway.ready():
            say(error=trouble)
            return
        await obey(
            {
                "drain": gateway.drain,
                "attach": gateway.attach,
                "detach": gateway.detach,
                "cpu": gateway.cpu,
            },
            port=ports.public,
        )


if __name__ == "__main__":
    asyncio.run(main())
