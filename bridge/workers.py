"""Several nodes on one machine, behind one port: started, watched, started again, stopped.

Each worker is an ordinary node, `python -m bridge serve` with the same settings. The kernel spreads
connections over them (SO_REUSEPORT); they know nothing of each other but what the log tells every
node. This process serves no socket: it owns the workers and the one operator port.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import structlog

from bridge.admin.console import add_notice
from bridge.admin.handed_on import HandedOn
from bridge.admin.merged import MergedCollector, ask
from bridge.admin.server import AdminServer
from bridge.core.backoff import Backoff
from bridge.core.health import Health
from bridge.settings import Settings

log = structlog.get_logger()

BACKOFF_SECONDS_FIRST = 0.5
BACKOFF_SECONDS_MAX = 10.0
STEADY_SECONDS = 30.0  # A worker that has lived so long begins its back-off anew.
PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 5.0  # Beyond the workers' own deadline, before they are killed.


class Workers:
    """Owns the worker processes."""

    def __init__(self, settings: Settings, count: int) -> None:
        """Run `count` nodes with these settings."""
        self._settings = settings
        self._count = count
        self._processes: dict[str, Process] = {}
        self._sockets: dict[str, Path] = {}  # Of each worker's operator port.
        self._stopping = asyncio.Event()
        self._collector = MergedCollector()

    async def run(self) -> None:
        """Run until `stop`. Raises OSError when a port cannot be had."""
        settings = self._settings
        console = HandedOn(self._sockets).add_to if settings.admin.token is not None else add_notice
        admin = AdminServer(
            health=self._health, collector=self._collector, refresh=self._refresh, console=console
        )
        if settings.admin.exposed:
            log.warning("console.exposed", host=settings.admin.host)
        with (
            TemporaryDirectory(prefix="bridge-") as folder,
            _ReservedPort(settings.ws.host, settings.ws.port) as port,
        ):
            try:
                admin_port = await admin.start(settings.admin.host, settings.admin.port)
                log.info(
                    "workers.serving", workers=self._count, public_port=port.number, admin_port=admin_port
                )
                async with asyncio.TaskGroup() as tasks:
                    deadline = tasks.create_task(self._kill_late())
                    keeping = []
                    for number in range(self._count):
                        name = str(number)
                        self._sockets[name] = Path(folder) / f"{name}.sock"
                        keeping.append(tasks.create_task(self._keep(name, port.number)))
                    await asyncio.wait(keeping)
                    deadline.cancel()
            finally:
                self._kill_all()  # None is left, but after a failure of our own.
                await admin.stop()

    def stop(self, number: signal.Signals) -> None:
        """Pass a signal on to every worker, and start none again."""
        self._stopping.set()
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(number)

    async def _keep(self, name: str, port: int) -> None:
        """Keep one worker running until stopped."""
        backoff = Backoff(seconds_first=BACKOFF_SECONDS_FIRST, seconds_max=BACKOFF_SECONDS_MAX)
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            started_at = clock()
            process = await self._start(name, port)
            status = await process.wait()
            if self._stopping.is_set():
                return
            if status == os.EX_CONFIG:
                log.error("workers.misconfigured", worker=name)
                self.stop(signal.SIGTERM)
                return
            if clock() - started_at > STEADY_SECONDS:
                backoff.reset()
            wait_seconds = backoff.next()
            log.error("workers.died", worker=name, status=status, retry_seconds=round(wait_seconds, 3))
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def _start(self, name: str, port: int) -> Process:
        self._sockets[name].unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bridge",
            "serve",
            env=self._environment(name, port),
            start_new_session=True,  # Ctrl-C is for us to pass on, once.
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        self._processes[name] = process
        if self._stopping.is_set():  # While it was being made.
            process.send_signal(signal.SIGTERM)
        log.info("workers.started", worker=name, pid=process.pid)
        return process

    def _environment(self, name: str, port: int) -> Mapping[str, str]:
        return {
            **os.environ,
            "BRIDGE_WS__PORT": str(port),
            "BRIDGE_WS__REUSE_PORT": "true",
            "BRIDGE_ADMIN__SOCKET": str(self._sockets[name]),
        }

    async def _kill_late(self) -> None:
        """Once stopped, kill what has not left by its own deadline and some grace."""
        await self._stopping.wait()
        await asyncio.sleep(self._settings.shutdown.drain_seconds_max + GRACE_SECONDS)
        self._kill_all()

    def _kill_all(self) -> None:
        for process in self._processes.values():
            if process.returncode is None:
                log.warning("workers.killed", pid=process.pid)
                process.kill()

    async def _refresh(self) -> None:
        self._collector.answers = await ask(self._sockets)

    def _health(self) -> list[Health]:
        return [part for answer in self._collector.answers for part in answer.health]


def _end_with_parent() -> None:
    """In the new process: have the kernel end it in order when we are gone, however we went (prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class _ReservedPort:
    """A port that is ours while the context is open: bound, but not listening."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._address = (host, port)
        self.number = 0

    def __enter__(self) -> Self:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # The former for what a node left behind.
            self._socket.setsockopt(socket.SOL_SOCKET, option, 1)
        self._socket.bind(self._address)
        self.number = int(self._socket.getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
