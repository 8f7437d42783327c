"""A RabbitMQ node of our own: own folder, own ports, own user, nothing of the system's touched.

It runs the script that RabbitMQ itself ships, on loopback, with every variable of the environment that
steers RabbitMQ or Erlang set here or removed (https://www.rabbitmq.com/docs/configure#supported-environment-variables).

Three things make it quick, measured with RabbitMQ 3.10 on two cores (7 s as the package comes, 2 s so):
RabbitMQ tells Erlang's schedulers to sleep at once when idle, which costs a thread switch for each of
the 50,000 files that are looked for while booting: they may spin for a moment instead. Erlang's
distribution is up before RabbitMQ looks, so it starts no second Erlang just to have a port mapper; and
there is no port mapper (epmd), as the one port is known. And no plugin is enabled that is not asked for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from devel.errors import DevelError
from devel.handshake import answers
from devel.ports import LOOPBACK, free_ports
from devel.process import KeptProcess

NODE_NAME = "bridge@localhost"
START_SECONDS_MAX = 90.0
START_TRIES_MAX = 4
STOP_SECONDS_MAX = 20.0
LOCK_SECONDS_MAX = STOP_SECONDS_MAX + 10.0
CTL_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 2.0
POLL_SECONDS = 0.05
TAIL_LINES = 15
PORT_TAKEN = ("eaddrinuse", "address already in use")

# Erlang's: two schedulers are plenty for one developer, and each brings memory of its own.
SCHEDULERS = "+S 2:2"

CONFIG = """\
# Alarms stop every publisher. These limits are far below the defaults, for small machines.
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.relative = 0.8
# The default of 512 MB lets the log of quorum queues grow in memory up to that size.
raft.wal_max_size_bytes = 16777216
"""

# Plugins that listen. Without these lines they would, on every interface and on the port of the system's node.
PLUGIN_CONFIG = {
    "rabbitmq_management": "management.tcp.ip = {host}\nmanagement.tcp.port = {port}\n",
    "rabbitmq_prometheus": "prometheus.tcp.ip = {host}\nprometheus.tcp.port = {port}\n",
    "rabbitmq_stream": "stream.listeners.tcp.1 = {host}:{port}\n",
}


class PrivateNode:
    """Owns one RabbitMQ node and its folder's contents. Blocking: from asyncio, use asyncio.to_thread.

    The data stay in the folder, and the AMQP port stays the same, over any number of stop, kill and start.
    """

    def __init__(self, folder: Path, server: Path, *, plugins: Sequence[str] = ()) -> None:
        """Nothing is started yet.

        Args:
            folder: for data, log and settings; made if it is missing.
            server: RabbitMQ's own `rabbitmq-server` script, see devel.rabbitmq.find_server().
            plugins: names of plugins to enable.
        """
        self.folder = folder.resolve()
        self.plugin_ports: dict[str, int] = {}  # By plugin, for those that listen. Set by start().
        self._server = server
        self._plugins = tuple(plugins)
        self._port = 0  # Set by the first start() that succeeds, then kept.
        self._dist_port = 0  # Set by each start(): Erlang's distribution, which only ctl() speaks.
        self._process: KeptProcess | None = None
        self._lock: int | None = None  # Open while the node runs; the keeper holds it too.

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def port(self) -> int:
        """The AMQP port, or 0 before the first start."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients connect: amqp://…, virtual host "/"."""
        return f"amqp://guest:guest@{LOOPBACK}:{self._port}/"

    @property
    def running(self) -> bool:
        """Whether its process is there. It answers: start() has returned since."""
        return self._process is not None and self._process.running

    @property
    def log(self) -> Path:
        """What the node has printed and logged, over all its lives."""
        return self.folder / "node.log"

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
            self.kill()
            raise

    def stop(self) -> None:
        """Stop the node gracefully, by force after STOP_SECONDS_MAX. Does nothing when it is stopped."""
        if self._process:
            self._process.stop()
        self._forget()

    def kill(self) -> None:
        """End the node with SIGKILL, as a crash would. Does nothing when it is stopped."""
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
        command = [str(self._server.with_name("rabbitmqctl")), "--quiet", *arguments]
        try:
            done = subprocess.run(
                command,
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=CTL_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise DevelError(f"rabbitmqctl {' '.join(arguments)} took over {CTL_SECONDS_MAX:g} s.") from late
        if done.returncode != 0:
            raise DevelError(f"rabbitmqctl {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _prepare_folder(self) -> None:
        for name in ("home", "data", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        cookie = self.folder / "home" / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(20))
            cookie.chmod(0o400)  # Erlang refuses one that others may read.
        (self.folder / "env.conf").write_text("# Empty: the one in /etc is the system node's.\n")
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
        for port, *others in _port_choices(self._port, 1 + len(self._plugins)):
            self._port, self._dist_port = port, others[0]
            self.plugin_ports = dict(zip(self._listening_plugins(), others[1:], strict=False))
            self._write_config()
            seen = self.log.stat().st_size if self.log.exists() else 0
            self._spawn()
            if self._await_answer():
                return
            tail = _tail(self.log, seen)
            self._end_process()
            if not any(words in tail.lower() for words in PORT_TAKEN):
                break
        raise DevelError(
            f"RabbitMQ did not start. The end of {self.log}:\n\n{_last_lines(tail)}\n\n"
            f"If its data is damaged, remove {self.folder} and try again; or set RABBITMQ_URL to another broker."
        )

    def _listening_plugins(self) -> list[str]:
        return [plugin for plugin in self._plugins if plugin in PLUGIN_CONFIG]

    def _write_config(self) -> None:
        parts = [CONFIG]
        parts += [PLUGIN_CONFIG[name].format(host=LOOPBACK, port=n) for name, n in self.plugin_ports.items()]
        (self.folder / "rabbitmq.conf").write_text("".join(parts))

    def _spawn(self) -> None:
        with self.log.open("ab") as output:
            self._process = KeptProcess(
                [str(self._server)],
                environment=self._environment(),
                folder=self.folder,
                grace_seconds=STOP_SECONDS_MAX,
                output=output,
                held=[] if self._lock is None else [self._lock],
            )

    def _await_answer(self) -> bool:
        """Tell whether the node speaks AMQP in time. False: it has ended, or the time is over."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while self.running and time.monotonic() < deadline:
            if answers(LOOPBACK, self._port, ANSWER_SECONDS_MAX):
                # Still ours? Somebody else's broker could have answered while ours fails to bind.
                return self.running
            time.sleep(POLL_SECONDS)
        return False

    def _end_process(self) -> None:
        if self._process:
            self._process.kill()
        self._process = None

    def _forget(self) -> None:
        self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _environment(self) -> dict[str, str]:
        """Return the environment for the node's scripts."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_", "NOTIFY_SOCKET"))
        }
        no_port_mapper = f"-start_epmd false -erl_epmd_port {self._dist_port}"
        interface = f"inet_dist_use_interface {{{LOOPBACK.replace('.', ',')}}}"
        listen = f"inet_dist_listen_min {self._dist_port} inet_dist_listen_max {self._dist_port}"
        return inherited | {
            "HOME": str(self.folder / "home"),  # Erlang's cookie is there.
            "LC_ALL": "C.UTF-8",  # rabbitmqctl complains about anything that is not UTF-8.
            "RABBITMQ_NODENAME": NODE_NAME,
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": "-",  # Standard output: one place to look when it does not start.
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD": "short",
            # The script then becomes Erlang instead of a shell around it: one process, and signals reach it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"{SCHEDULERS} -sname {NODE_NAME} {no_port_mapper} -kernel {interface} {listen}"
            ),
            "RABBITMQ_CTL_ERL_ARGS": f"{no_port_mapper} -dist_listen false",
            # Should anything start a port mapper all the same, it finds its port taken and leaves.
            "ERL_EPMD_PORT": str(self._dist_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
        }


def _port_choices(amqp_port: int, others: int) -> Iterator[list[int]]:
    """Yield ports to try: the AMQP port (that one, unless it is 0), and `others` more."""
    for _ in range(START_TRIES_MAX):
        if amqp_port:
            yield [amqp_port, *free_ports(others)]
        else:
            yield free_ports(1 + others)


def _tail(log: Path, seen: int) -> str:
    """Return what the log has beyond its first `seen` bytes."""
    with log.open("rb") as file:
        file.seek(seen)
        return file.read().decode(errors="replace")


def _last_lines(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-TAIL_LINES:]) or "(nothing)"
