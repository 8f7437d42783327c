"""Bridge processes, as many as a scenario wants, and the means to hurt them."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp
import jwt

READY_SECONDS_MAX = 40.0
STOP_SECONDS_MAX = 30.0
SECRET = secrets.token_hex(32)
ROOT = Path(__file__).resolve().parents[2]


def token(user: str) -> str:
    """Return a token for a user that outlives any scenario."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + 36_000}, SECRET, algorithm="HS256")


class NodeProcess:
    """One `bridge serve` process."""

    arguments: Sequence[str] = ("serve",)
    serving = "app.serving"  # The log event that tells the ports.

    def __init__(self, name: str, environment: Mapping[str, str], *, module: str = "bridge") -> None:
        """Nothing runs yet. `module` is what is run with -m; faulty nodes have their own."""
        self.name = name
        self._environment = dict(environment)
        self._module = module
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._serving = asyncio.Event()
        self.port = 0
        self.admin_port = 0
        self.log: list[dict[str, object]] = []

    @property
    def url(self) -> str:
        """Where its sockets are."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it; return when it is ready. The ports stay the same over restarts."""
        self._serving.clear()
        ports = {"BRIDGE_WS__PORT": str(self.port), "BRIDGE_ADMIN__PORT": str(self.admin_port)}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            *self.arguments,
            cwd=ROOT,
            env={**os.environ, **self._environment, **ports},
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=2**20,
        )
        self._reading = asyncio.create_task(self._read())
        async with asyncio.timeout(READY_SECONDS_MAX):
            await self._serving.wait()
        await self.ready()

    async def ready(self) -> None:
        """Return when /readyz says so. Raises TimeoutError with what it said last."""
        await eventually(self.is_ready, seconds=READY_SECONDS_MAX, what=f"{self.name} to be ready")

    async def is_ready(self) -> bool:
        """Ask /readyz."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
                session.get(f"http://127.0.0.1:{self.admin_port}/readyz") as response,
            ):
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self.running:
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self.send(signal.SIGKILL)
        await self.gone()

    async def stop(self) -> int:
        """Stop it in order; return its exit status."""
        self.send(signal.SIGTERM)
        return await self.gone()

    async def gone(self) -> int:
        """Wait until the process has ended; return its exit status."""
        assert self._process is not None
        async with asyncio.timeout(STOP_SECONDS_MAX):
            status = await self._process.wait()
            if self._reading is not None:
                await self._reading
        return status

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"event": "raw", "text": line.decode(errors="replace").rstrip()}
            self.log.append(entry)
            if entry.get("event") == self.serving:
                self.port = int(entry["public_port"])
                self.admin_port = int(entry["admin_port"])
                self._serving.set()


class Cluster:
    """Nodes with the same settings, and so one cluster."""

    def __init__(self, broker_url: str, prefix: str, *, settings: Mapping[str, str] | None = None) -> None:
        """Nothing runs yet. `prefix` keeps this cluster's names on the broker apart."""
        self.prefix = prefix
        self.exchange = f"{prefix}.events"
        self.environment = {
            "RABBITMQ_URL": broker_url,
            "JWT_SECRET": SECRET,
            "BRIDGE_AMQP__PREFIX": prefix,
            "BRIDGE_AMQP__EXCHANGE": self.exchange,
            "BRIDGE_EVENT_LOG__KIND": "stream",
            "BRIDGE_WS__HOST": "127.0.0.1",
            "BRIDGE_WS__ATTEMPTS_PER_MINUTE_MAX": "1000000",
            "BRIDGE_WS__SOCKETS_PER_USER_MAX": "100000",
            "BRIDGE_SHUTDOWN__DRAIN_SECONDS_MAX": "5",
            "BRIDGE_SHUTDOWN__RETRY_AFTER_SECONDS_MAX": "0.5",
            **(settings or {}),
        }
        self.nodes: list[NodeProcess] = []

    async def add(self, *, module: str = "bridge", settings: Mapping[str, str] | None = None) -> NodeProcess:
        """Start one more node; return when it is ready."""
        node = NodeProcess(f"node{len(self.nodes)}", {**self.environment, **(settings or {})}, module=module)
        self.nodes.append(node)
        await node.start()
        return node

    def urls(self) -> Sequence[str]:
        """Where the sockets are of the nodes that run."""
        return [node.url for node in self.nodes if node.running and node.port] or [self.nodes[0].url]

    async def stop(self) -> None:
        """End every node."""
        for node in self.nodes:
            if node.running:
                await node.kill()
        await asyncio.sleep(0)  # Let the loop close the pipes of what has ended.


async def eventually(condition, *, seconds: float, what: str) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    """Return when the condition, a coroutine function, holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        await asyncio.sleep(0.05)
