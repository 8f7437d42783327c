"""Find a RabbitMQ, or start one, or install one: whatever comes first."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from devel.docker import ComposeBroker, engine_answers
from devel.errors import DevelError
from devel.handshake import answers
from devel.node import PrivateNode

__all__ = ["Broker", "DevelError", "PrivateNode", "find_or_install_server", "find_or_start", "find_server"]

PROJECT = Path(__file__).resolve().parent.parent
ANSWER_SECONDS_MAX = 5.0
PORTS = {"amqp": 5672, "amqps": 5671}
SERVER = "rabbitmq-server"
PACKAGE = "rabbitmq-server"


@dataclass(frozen=True)
class Broker:
    """A RabbitMQ that answers."""

    url: str  # amqp://…
    origin: str  # Where it comes from, for people.
    node: PrivateNode | None = None  # Set if it is a private node.


@contextmanager
def find_or_start(
    folder: Path,
    *,
    project: Path = PROJECT,
    plugins: Sequence[str] = (),
    as_shipped: bool = False,
    hurry: threading.Event | None = None,
) -> Iterator[Broker]:
    """Yield a broker: RABBITMQ_URL's, else compose.yaml's, else a private node. Stop what was started here.

    Args:
        folder: for a private node's data; made if it is needed.
        project: where compose.yaml is.
        plugins: to enable in a private node.
        as_shipped: a private node is to run as RabbitMQ comes, not as it suits a developer's machine.
        hurry: set it to have a private node killed that takes its time to stop.

    Raises:
        DevelError: there is none, with what to do about it.
    """
    if url := os.environ.get("RABBITMQ_URL"):
        yield Broker(_checked(url), "the one of RABBITMQ_URL")
        return
    if (project / "compose.yaml").exists() and engine_answers():
        compose = ComposeBroker(project)
        if url := _start_with_docker(compose):
            try:
                yield Broker(url, "the service rabbitmq of compose.yaml")
            finally:
                compose.stop()
            return
    node = PrivateNode(folder, find_or_install_server(), plugins=plugins, as_shipped=as_shipped)
    _say("Starting a private RabbitMQ node …")
    try:
        node.start()
        yield Broker(node.url, f"a private node, log in {node.log}", node)
    finally:
        node.stop(hurry)


def find_server() -> Path | None:
    """Return RabbitMQ's own start script, or None.

    Not the one that a package puts on PATH: that one switches to the user of the system's node.
    """
    for candidate in _candidates():
        script = candidate.resolve()
        # RabbitMQ's scripts source this neighbour; a wrapper has none.
        if os.access(script, os.X_OK) and script.with_name("rabbitmq-env").exists():
            return script
    return None


def find_or_install_server() -> Path:
    """Return RabbitMQ's own start script, after installing the distribution's package if there is none.

    Raises:
        DevelError: it cannot be installed.
    """
    if script := find_server():
        return script
    _say(f"There is no RabbitMQ here: installing the distribution's package {PACKAGE}, without its service.")
    script = find_server() if _install() else None
    if script is None:
        raise DevelError(
            "RabbitMQ could not be installed. Set RABBITMQ_URL to a broker that runs "
            "(amqp://user:password@host/), or start a Docker engine, "
            f"or install the package {PACKAGE} yourself; then try again."
        )
    return script


def _install() -> bool:
    """Install the package and tell whether that went well. An interrupt is raised when it has ended."""
    with subprocess.Popen(["sh", str(PROJECT / "devel" / "install.sh"), PACKAGE]) as installer:
        try:
            return installer.wait() == 0
        except KeyboardInterrupt:
            _say("Stopping as soon as the package is installed …")
            installer.wait()
            raise


def _candidates() -> Iterator[Path]:
    """Yield where RabbitMQ's start script may be, the likeliest first."""
    yield Path("/usr/lib/rabbitmq/bin", SERVER)
    yield from (Path(folder, SERVER) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)
    if shutil.which("dpkg"):
        listing = subprocess.run(["dpkg", "-L", PACKAGE], capture_output=True, text=True, check=False).stdout
        yield from (Path(line) for line in listing.splitlines() if line.endswith(f"bin/{SERVER}"))


def _start_with_docker(compose: ComposeBroker) -> str | None:
    """Return the broker's URL, or None after saying why Docker was of no help."""
    _say("Starting RabbitMQ with docker compose …")
    try:
        return compose.start()
    except BaseException as reason:
        with suppress(DevelError):  # It may have come half-way.
            compose.stop()
        if not isinstance(reason, DevelError):
            raise
        _say(f"{reason.message}\nGoing on without Docker.")
        return None


def _checked(url: str) -> str:
    """Return the URL if a broker answers there. Raises DevelError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError) as wrong:
        raise DevelError(
            "RABBITMQ_URL is not an AMQP URL. It should look like amqp://user:password@host:5672/"
        ) from wrong
    if not (_listens(host, port) if parts.scheme == "amqps" else answers(host, port, ANSWER_SECONDS_MAX)):
        raise DevelError(
            f"RABBITMQ_URL points to {host}:{port}, and no RabbitMQ answers there. "
            "Start it, correct the variable, or unset it to have a broker started."
        )
    return url


def _listens(host: str, port: int) -> bool:
    """Tell whether the port is open: enough for TLS, whose certificate is the bridge's to check."""
    try:
        socket.create_connection((host, port), ANSWER_SECONDS_MAX).close()
    except OSError:
        return False
    return True


def _say(text: str) -> None:
    print(text, flush=True)
