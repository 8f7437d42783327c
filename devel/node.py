"""A RabbitMQ node of our own: own folder, own ports, any user, loopback only."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from devel.errors import DevelError
from devel.handshake import answers
from devel.node_settings import PLUGIN_CONFIG, Ports, configuration, environment, start_command
from devel.ports import LOOPBACK, free_ports
from devel.process import KeptProcess

START_SECONDS_MAX = 90.0
START_TRIES_MAX = 4
STOP_SECONDS_MAX = 20.0
LOCK_SECONDS_MAX = STOP_SECONDS_MAX + 10.0
CTL_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 2.0
POLL_SECONDS = 0.05
TAIL_LINES = 15
DETS_FLUSH = "[ok = dets:sync(Table) || Table <- dets:all()]."
ERLANG_REPORT = (" crasher:", " supervisor: {local,rabbit_prelaunch_sup}")
PORT_TAKEN = ("eaddrinuse", "address already in use")


class PrivateNode:
    """Owns one RabbitMQ node and what is in its folder. Blocking: from asyncio, use asyncio.to_thread.

    The data stay in the folder, and the AMQP port stays the same, over any number of stop, kill and start.
    """

    def __init__(
        self, folder: Path, server: Path, *, plugins: Sequence[str] = (), as_shipped: bool = False
    ) -> None:
        """Nothing is started yet.

        Args:
            folder: for data, log and settings; made if it is missing.
            server: RabbitMQ's own `rabbitmq-server` script, see devel.rabbitmq.find_server().
            plugins: names of plugins to enable.
            as_shipped: with RabbitMQ's own limits and schedulers, as where it is measured, and not with those
                that suit a developer's machine.
        """
        self.folder = folder.resolve()
        self._server = server
        self._plugins = tuple(plugins)
        self._as_shipped = as_shipped
        self._ports: Ports | None = None  # Of the present or latest life.
        self._process: KeptProcess | None = None
        self._lock: int | None = None  # Open while the node runs; its keeper holds it too.

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The AMQP port, known after the first start."""
        return self._known_ports().amqp

    @property
    def plugin_ports(self) -> Mapping[str, int]:
        """The ports of this life by plugin, for plugins that listen, such as rabbitmq_management."""
        return self._known_ports().plugins

    @property
    def url(self) -> str:
        """Where clients connect: amqp://…, virtual host "/"."""
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/"

    @property
    def log(self) -> Path:
        """What the node has printed and logged, over all its lives."""
        return self.folder / "node.log"

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Start the node and return when it speaks AMQP. Does nothing when it runs.

        Raises:
            DevelError: it did not come up. Nothing of it is left running.
        """
        if self.running:
            return
        self._prepare_folder()
        self._lock = self._take_lock()
        try:
            self._start_on_free_ports()
        except BaseException:
            self.kill(flush=False)
            raise

    def stop(self, hurry: threading.Event | None = None) -> None:
        """Stop the node gracefully; by force after STOP_SECONDS_MAX, or when `hurry` is set.

        Does nothing when it is stopped.
        """
        if self._process:
            self._process.stop(hurry)
        self._forget()

    def kill(self, *, flush: bool = True) -> None:
        """End the node with SIGKILL, as a crash would. Does nothing when it is stopped.

        Args:
            flush: have the node write first what Erlang's dets tables still hold back. A quorum queue that
                was declared in the three seconds before a crash comes back without a leader otherwise, and
                never answers again (seen with RabbitMQ 3.10). Messages are not concerned: what was confirmed
                is on disk.
        """
        if flush and self.running:
            with contextlib.suppress(DevelError):  # A sick node is killed all the same.
                self.ctl("eval", DETS_FLUSH)
        if self._process:
            self._process.kill()
        self._forget()

    def restart(self) -> None:
        """Stop it if it runs, and start it: with the same data, on the same AMQP port."""
        self.stop()
        self.start()

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on the running node and return what it printed.

        Raises:
            DevelError: it failed; the message has what it printed.
        """
        said = f"rabbitmqctl {' '.join(arguments)}"
        try:
            done = subprocess.run(
                [str(self._server.with_name("rabbitmqctl")), "--quiet", *arguments],
                env=environment(self.folder, self._known_ports(), as_shipped=self._as_shipped),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=CTL_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise DevelError(f"{said} took over {CTL_SECONDS_MAX:g} s.") from late
        if done.returncode != 0:
            raise DevelError(f"{said} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _known_ports(self) -> Ports:
        if self._ports is None:
            raise DevelError("This RabbitMQ node was never started: it has no port yet.")
        return self._ports

    def _prepare_folder(self) -> None:
        for name in ("home", "data", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        cookie = self.folder / "home" / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(20))
            cookie.chmod(0o400)  # Erlang refuses one that others may read.
        (self.folder / "env.conf").write_text("# In place of the one in /etc, which is the system node's.\n")
        (self.folder / "enabled_plugins").write_text(f"[{','.join(self._plugins)}].\n")

    def _take_lock(self) -> int:
        """Return the folder's lock, once a former node that is still stopping has given it back."""
        lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            time.sleep(POLL_SECONDS)
        os.close(lock)
        raise DevelError(f"Another RabbitMQ node uses {self.folder}. Stop the one that started it first.")

    def _start_on_free_ports(self) -> None:
        """Start; again on other ports if somebody was quicker to take one of ours."""
        tail = ""
        for _ in range(START_TRIES_MAX):
            ports = self._choose_ports()
            (self.folder / "rabbitmq.conf").write_text(configuration(ports, as_shipped=self._as_shipped))
            seen_bytes = self.log.stat().st_size if self.log.exists() else 0
            self._process = self._spawn(ports)
            if self._await_answer(self._process, ports.amqp):
                self._ports = ports
                return
            self._process.kill()
            tail = _text_after(self.log, seen_bytes)
            if not any(words in tail.lower() for words in PORT_TAKEN):
                break
        raise DevelError(
            f"RabbitMQ did not start. The end of {self.log}:\n\n{_last_lines(tail)}\n\n"
            f"If its data is damaged, remove {self.folder} and try again. "
            "Or set RABBITMQ_URL to another broker."
        )

    def _choose_ports(self) -> Ports:
        """Return free ports. Clients know the AMQP port, so it is chosen only once."""
        listening = [name for name in self._plugins if name in PLUGIN_CONFIG]
        amqp, distribution, mapper, *others = free_ports(3 + len(listening))
        if self._ports:
            amqp = self._ports.amqp
        return Ports(amqp, distribution, mapper, dict(zip(listening, others, strict=True)))

    def _spawn(self, ports: Ports) -> KeptProcess:
        with self.log.open("ab") as output:
            return KeptProcess(
                start_command(self._server),
                environment=environment(self.folder, ports, as_shipped=self._as_shipped),
                folder=self.folder,
                grace_seconds=STOP_SECONDS_MAX,
                output=output,
                held=[] if self._lock is None else [self._lock],
            )

    def _await_answer(self, process: KeptProcess, port: int) -> bool:
        """Tell whether the node speaks AMQP in time. False: it has ended, or the time is over."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while process.running and time.monotonic() < deadline:
            if answers(LOOPBACK, port, ANSWER_SECONDS_MAX):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _forget(self) -> None:
        self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _text_after(log: Path, seen_bytes: int) -> str:
    with log.open("rb") as file:
        file.seek(seen_bytes)
        return file.read().decode(errors="replace")


def _last_lines(text: str) -> str:
    """Return the end of a failed node's log, without the reports that Erlang adds after the reason."""
    lines = itertools.takewhile(lambda line: not line.endswith(ERLANG_REPORT), text.splitlines())
    return "\n".join([line for line in lines if line.strip()][-TAIL_LINES:]) or "(nothing)"
