"""`make demo` beside a real bridge, and beside none."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import aio_pika
import pytest

from consumers import NAMES
from devel.demo import main
from devel.ports import LOOPBACK, free_ports
from tests.servers import Prefix, SharedBroker

PROJECT = Path(__file__).parents[1]
SECRET = "0123456789abcdef0123456789abcdef"
SECONDS_MAX = 30.0
POLL_SECONDS = 0.05


def bridge_environment(url: str, prefix: str, **more: str) -> dict[str, str]:
    """Return the environment of a bridge, and of the demonstration beside it."""
    foreign = ("BRIDGE_", "RABBITMQ_", "JWT_", "NEXTAUTH_", "DATABASE_")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        "RABBITMQ_URL": url,
        "JWT_SECRET": SECRET,
        "BRIDGE_MODE": "development",
        "BRIDGE_AMQP__PREFIX": prefix,
        "BRIDGE_AMQP__EXCHANGE": f"{prefix}.events",
        "BRIDGE_WS__PORT": "0",
        "BRIDGE_ADMIN__PORT": "0",
        "BRIDGE_LOG__FORMAT": "json",
        **more,
    }


@contextmanager
def running_bridge(environ: Mapping[str, str], log: Path) -> Iterator[str]:
    """Run a bridge until the context is left, and yield its public port once it is ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "serve"], env=environ, cwd=PROJECT, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + SECONDS_MAX
        while (ports := serving(log)) is None or not is_ready(ports["admin_port"]):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(POLL_SECONDS)
        yield str(ports["public_port"])
    finally:
        process.terminate()
        try:
            process.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serving(log: Path) -> dict[str, int] | None:
    """Return the ports that the bridge says it listens on, None while it does not."""
    for line in log.read_text().splitlines():
        with suppress(ValueError):
            entry = json.loads(line)
            if entry["event"] == "app.serving":
                return {name: entry[name] for name in ("public_port", "admin_port")}
    return None


def is_ready(admin_port: int) -> bool:
    """Tell whether the bridge says that it is ready."""
    connection = http.client.HTTPConnection(LOOPBACK, admin_port, timeout=SECONDS_MAX)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture
def beside_a_bridge(rabbitmq: SharedBroker, prefix: Prefix, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The demonstration's environment beside a bridge of its own."""
    environ = bridge_environment(rabbitmq.url, prefix)
    with running_bridge(environ, tmp_path / "bridge.log") as port:
        yield {**environ, "BRIDGE_WS__PORT": port}


def demo(environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the demonstration."""
    return subprocess.Popen(
        [sys.executable, "-m", "devel.demo"],
        env=environ,
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_real_bridge(beside_a_bridge: dict[str, str]) -> None:
    """Beside a real bridge every event arrives, each time, and no message is left in any queue."""
    for _ in range(2):
        printed, errors = demo(beside_a_bridge).communicate(timeout=SECONDS_MAX)

        assert errors == ""
        assert "✓ Every event arrived once" in printed
        assert "dead letter: bad_name" in printed
        assert asyncio.run(messages_left(beside_a_bridge)) == {}


async def messages_left(environ: Mapping[str, str]) -> dict[str, int]:
    """Return the queues of a bridge that are not empty, except for its log."""
    prefix = environ["BRIDGE_AMQP__PREFIX"]
    left = {}
    async with await aio_pika.connect(environ["RABBITMQ_URL"]) as connection:
        channel = await connection.channel()
        for name in ("dead", "unrouted", *NAMES):
            queue = await channel.declare_queue(f"{prefix}.{name}", passive=True)
            if queue.declaration_result.message_count:
                left[name] = queue.declaration_result.message_count
    return left


def test_interrupted(beside_a_bridge: dict[str, str]) -> None:
    """Ctrl-C ends it at once, with status 130 and no traceback."""
    process = demo(beside_a_bridge)
    assert process.stdout is not None
    while "quota.updated" not in process.stdout.readline():
        assert process.poll() is None

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS_MAX)

    assert errors == "\nStopped.\n"
    assert process.returncode == 130


def test_bridge_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings of a bridge that was killed lead to the same advice as none."""
    (port,) = free_ports(1)
    environ = bridge_environment(f"amqp://{LOOPBACK}:{port}/", "test", BRIDGE_WS__PORT=str(port))

    assert main(environ, tmp_path / "env") == 1

    said = capsys.readouterr().err
    assert said.startswith("RabbitMQ does not answer")
    assert said.endswith("start the bridge first: make run.\n")


def test_other_secret(beside_a_bridge: dict[str, str]) -> None:
    """A bridge that does not know our tokens is told apart from one that does not run."""
    other = {**beside_a_bridge, "JWT_SECRET": SECRET[::-1]}

    _, errors = (process := demo(other)).communicate(timeout=SECONDS_MAX)

    assert "4401 bad_signature" in errors
    assert "Traceback" not in errors
    assert process.returncode == 1
