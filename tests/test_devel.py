"""The developer's tools: what they start is theirs, answers, and is gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aio_pika
import pytest
from pamqp.common import Arguments

from devel import node as node_module, rabbitmq as rabbitmq_module
from devel.errors import DevelError
from devel.handshake import answers
from devel.node import PrivateNode
from devel.node_settings import CONFIG, SCHEDULERS, Ports, configuration, environment
from devel.ports import LOOPBACK, free_ports, is_free
from devel.process import KeptProcess
from devel.rabbitmq import PROJECT, find_or_start, find_server
from tests.servers import Prefix, SharedBroker, private_node

SECONDS_MAX = 30.0
ANSWER_SECONDS_MAX = 2.0


def wait_until(condition: Callable[[], bool], seconds_max: float = SECONDS_MAX) -> None:
    """Return when the condition holds, or fail."""
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def processes_of(folder: Path) -> set[int]:
    """Return the ids of the processes that work in a folder, below it, or have it in their arguments."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            where = (process / "cwd").readlink()
            arguments = (process / "cmdline").read_bytes()
            if where.is_relative_to(folder) or str(folder).encode() in arguments:
                found.add(int(process.name))
    return found


@pytest.fixture
def fresh_node() -> Iterator[PrivateNode]:
    """A node that was never started."""
    try:
        with private_node() as node:
            yield node
    except DevelError as error:
        pytest.skip(error.message)


async def test_node_speaks_amqp_where_it_says(broker_node: PrivateNode) -> None:
    """A started node answers at its URL, and its port with an AMQP handshake."""
    assert answers(LOOPBACK, broker_node.port, ANSWER_SECONDS_MAX)
    async with await aio_pika.connect(broker_node.url) as connection:
        assert not connection.is_closed


@pytest.mark.parametrize("as_shipped", [False, True])
def test_node_as_shipped_or_as_it_suits(tmp_path: Path, *, as_shipped: bool) -> None:
    """A node that is measured has RabbitMQ's own limits and schedulers; any other has its own."""
    ports = Ports(1, 2, 3, {"rabbitmq_prometheus": 4})
    variables = environment(tmp_path, ports, as_shipped=as_shipped)

    assert (CONFIG in configuration(ports, as_shipped=as_shipped)) is not as_shipped
    assert "prometheus.tcp.port = 4" in configuration(ports, as_shipped=as_shipped)
    assert ("RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD" in variables) is not as_shipped
    assert (SCHEDULERS in variables["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]) is not as_shipped


def test_node_obeys_rabbitmqctl(broker_node: PrivateNode) -> None:
    """ctl() reaches the node, and tells what went wrong when it does."""
    assert "guest" in broker_node.ctl("list_users")

    with pytest.raises(DevelError, match="no_such_command"):
        broker_node.ctl("no_such_command")


async def test_killed_node_comes_back_with_port_and_data(broker_node: PrivateNode, prefix: Prefix) -> None:
    """After kill -9 and a restart, a confirmed message is in its quorum queue on the same port."""
    port = broker_node.port
    arguments: Arguments = {"x-queue-type": "quorum"}
    async with await aio_pika.connect(broker_node.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(prefix, durable=True, arguments=arguments)
        await channel.default_exchange.publish(aio_pika.Message(b"still here"), prefix)

    await asyncio.to_thread(broker_node.kill)
    assert not answers(LOOPBACK, port, ANSWER_SECONDS_MAX)
    await asyncio.to_thread(broker_node.restart)

    assert broker_node.port == port
    async with await aio_pika.connect(broker_node.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(prefix, durable=True, arguments=arguments)
        message = await queue.get(no_ack=True, timeout=SECONDS_MAX)
        assert message is not None
        assert message.body == b"still here"
        await channel.queue_delete(prefix)


def test_stopped_node_leaves_nothing(broker_node: PrivateNode) -> None:
    """After stop(), none of its processes runs and nothing listens on its port."""
    assert processes_of(broker_node.folder)

    broker_node.stop()

    wait_until(lambda: not processes_of(broker_node.folder))
    assert is_free(broker_node.port)


def test_node_does_not_outlive_its_owner(tmp_path: Path) -> None:
    """When the process that started a node is killed, the node ends too."""
    server = find_server()
    if server is None:
        pytest.skip("RabbitMQ is not installed here")
    script = (
        "import sys; from pathlib import Path; from devel.node import PrivateNode\n"
        "node = PrivateNode(Path(sys.argv[1]), Path(sys.argv[2])); node.start()\n"
        "print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), str(server)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        assert processes_of(tmp_path)
        owner.kill()

    wait_until(lambda: not processes_of(tmp_path))


@pytest.mark.parametrize("taken", ["distribution", "mapper"])
def test_node_takes_another_port_when_somebody_was_quicker(
    taken: str, fresh_node: PrivateNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that is taken between choosing and listening costs a second try, not the start."""
    with socket.create_server((LOOPBACK, 0)) as quicker:
        # Not the AMQP port, which Erlang takes last: the way on is the same, in half the time.
        amqp, other = free_ports(2)
        number = quicker.getsockname()[1]
        first = iter([[amqp, *((number, other) if taken == "distribution" else (other, number))]])
        monkeypatch.setattr(node_module, "free_ports", lambda count: next(first, None) or free_ports(count))

        fresh_node.start()

    assert "eaddrinuse" in fresh_node.log.read_text()
    assert answers(LOOPBACK, fresh_node.port, ANSWER_SECONDS_MAX)


def test_node_that_cannot_start_shows_why(fresh_node: PrivateNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed start quotes the end of the log, says where it is, and leaves nothing running."""
    monkeypatch.setattr(
        node_module, "configuration", lambda _ports, *, as_shipped: f"# {as_shipped}\nno_such_key = 1\n"
    )

    with pytest.raises(DevelError, match="no_such_key") as caught:
        fresh_node.start()

    assert str(fresh_node.log) in caught.value.message
    assert not fresh_node.running
    assert not processes_of(fresh_node.folder)


def test_keeper_kills_what_does_not_stop(tmp_path: Path) -> None:
    """A command that ignores SIGTERM, and its children, are gone after the grace."""
    process = KeptProcess(
        ["sh", "-c", "trap '' TERM; sleep 1000 & touch up; while :; do wait; done"],
        environment=os.environ,
        folder=tmp_path,
        grace_seconds=0.2,
    )
    wait_until((tmp_path / "up").exists)

    process.stop()

    assert process.status == 128 + signal.SIGKILL
    wait_until(lambda: not processes_of(tmp_path))


def test_keeper_hands_on_the_status(tmp_path: Path) -> None:
    """The status of a command that ends by itself is the command's own."""
    process = KeptProcess(["sh", "-c", "exit 3"], environment=os.environ, folder=tmp_path, grace_seconds=1.0)

    assert process.wait(SECONDS_MAX)
    assert process.status == 3
    process.stop()


def test_given_url_is_used(rabbitmq: SharedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With RABBITMQ_URL set, that broker is used and nothing is started."""
    monkeypatch.setenv("RABBITMQ_URL", rabbitmq.url)

    with find_or_start(tmp_path / "rabbitmq") as broker:
        assert broker.url == rabbitmq.url

    assert not (tmp_path / "rabbitmq").exists()


@pytest.mark.parametrize(
    "url", ["amqp://127.0.0.1:{free}/", "http://127.0.0.1/", "amqp://h:port/", "nonsense"]
)
def test_given_url_that_is_of_no_use(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A RABBITMQ_URL where no broker answers is named; no other broker is used in its place."""
    monkeypatch.setenv("RABBITMQ_URL", url.format(free=free_ports(1)[0]))

    with pytest.raises(DevelError, match="RABBITMQ_URL"), find_or_start(tmp_path):
        pytest.fail("it went on without a broker")


def test_wrapper_of_the_package_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script on PATH that switches to the system's user is passed over."""
    wrapper = tmp_path / "rabbitmq-server"
    wrapper.write_text("#!/bin/sh\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert find_server() != wrapper


def test_docker_compose_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a Docker engine, compose.yaml's service is started in a project of its own, used, and stopped."""
    said, config = tmp_path / "said", tmp_path / "config"
    config.write_text('{"services": {"rabbitmq": {"environment": {"RABBITMQ_DEFAULT_PASS": "p@ss"}}}}')
    _put_docker_on_path(
        tmp_path,
        monkeypatch,
        f"""
        echo "$*" >>{said}
        case "$*" in
            info*) echo 28.0 ;;
            *" port "*) echo 127.0.0.1:15673 ;;
            *" config "*) cat {config} ;;
        esac
        """,
    )

    with find_or_start(tmp_path / "rabbitmq", project=tmp_path) as broker:
        assert broker.url == "amqp://guest:p%40ss@127.0.0.1:15673/"
        assert " stop " not in said.read_text()

    _info, up, *_others, stop = said.read_text().splitlines()
    assert re.fullmatch("compose --project-name bridge-run-[0-9a-f]{8} up --detach --wait rabbitmq", up)
    assert stop.endswith("stop rabbitmq")


def test_docker_that_fails_is_told_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """When docker compose refuses, its reason is shown and the next source is tried."""
    _put_docker_on_path(
        tmp_path, monkeypatch, 'case "$1" in info) echo 28.0 ;; *) echo no space >&2; exit 1 ;; esac'
    )
    monkeypatch.setattr(rabbitmq_module, "find_or_install_server", _nothing_to_install)

    with pytest.raises(DevelError, match="nothing to install"), find_or_start(tmp_path, project=tmp_path):
        pytest.fail("there is no broker")

    shown = capfd.readouterr()
    assert "no space" in shown.err
    assert "Going on without Docker" in shown.out


def _put_docker_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a stand-in for Docker's client on PATH, and a compose.yaml into the folder."""
    docker = folder / "docker"
    docker.write_text(f"#!/bin/sh\n{script}")
    docker.chmod(0o755)
    (folder / "compose.yaml").touch()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv("RABBITMQ_URL", raising=False)


def _nothing_to_install() -> Path:
    raise DevelError("nothing to install")
