"""The publishing examples of docs/publishing.md, each run against a real RabbitMQ and a real bridge."""

from __future__ import annotations

import asyncio
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path

import aio_pika
import pytest
from yarl import URL

from devel.errors import DevelError
from devel.node import PrivateNode
from devel.ports import free_ports
from devel.rabbitmq import find_or_install_server
from tests.commands import environment
from tests.doc_reading import ROOT, blocks, read
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.test_end_to_end import ServedNode, client, now, serving

EXAMPLES = ROOT / "examples"
MANAGEMENT = "rabbitmq_management"
EXAMPLE_SECONDS_MAX = 60.0
UNBOUND = "amq.topic"  # An exchange that the bridge does not know.

PYTHON = (sys.executable, str(EXAMPLES / "python" / "publish.py"))
SHELL = (str(EXAMPLES / "rabbitmqadmin" / "publish.sh"),)
NESTJS = ("node", str(EXAMPLES / "nestjs" / "dist" / "main.js"))


@pytest.fixture(scope="module")
def broker() -> Iterator[PrivateNode]:
    """A RabbitMQ with its management plug-in."""
    try:
        server = find_or_install_server()
    except DevelError as error:
        pytest.skip(error.message)
    with tempfile.TemporaryDirectory(prefix="bridge-test-") as folder, ExitStack() as stack:
        node = PrivateNode(Path(folder), server, plugins=[MANAGEMENT])
        stack.callback(node.kill, flush=False)
        node.start()
        yield node


@pytest.fixture(scope="module")
def bridge(broker: PrivateNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedNode]:
    """A bridge beside it."""
    with serving(environment(broker.url, "example"), tmp_path_factory.mktemp("bridge")) as node:
        yield node


@pytest.fixture
def variables(broker: PrivateNode) -> dict[str, str]:
    """What the examples read from their environment."""
    return {
        "PATH": os.environ["PATH"],
        "RABBITMQ_URL": broker.url,
        "MANAGEMENT_URL": f"http://127.0.0.1:{broker.plugin_ports[MANAGEMENT]}",
        "EXCHANGE": "example.events",
    }


def run(command: tuple[str, ...], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run an example to its end."""
    return subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=EXAMPLE_SECONDS_MAX, check=False
    )


def need(command: tuple[str, ...]) -> None:
    """Skip what cannot be run here; build what has to be built."""
    if command == SHELL and shutil.which("rabbitmqadmin") is None:
        pytest.skip("rabbitmqadmin is not on PATH; it comes with RabbitMQ's management plug-in")
    if command == NESTJS:
        if shutil.which("npm") is None:
            pytest.skip("npm is not on PATH")
        if not (EXAMPLES / "nestjs" / "node_modules").is_dir():
            pytest.skip(
                "its packages are not installed; `npm ci --prefix examples/nestjs --ignore-scripts` does it"
            )
        built = run(("npm", "run", "--silent", "--prefix", str(EXAMPLES / "nestjs"), "build"), os.environ)
        assert built.returncode == 0, built.stdout + built.stderr


@pytest.mark.parametrize("command", [PYTHON, SHELL, NESTJS], ids=["python", "rabbitmqadmin", "nestjs"])
async def test_example(command: tuple[str, ...], bridge: ServedNode, variables: dict[str, str]) -> None:
    """What an example publishes reaches its user, under the id that the example gave it."""
    need(command)
    await bridge.ready()
    async with client(bridge, "u7") as page:
        done = await asyncio.to_thread(run, (*command, "u7"), variables)

        assert done.returncode == 0, done.stderr
        (message_id,) = re.findall(r"^published quota\.updated, message_id (\S+)$", done.stdout, re.MULTILINE)
        frame = await page.gets(message_id)
        assert (frame["type"], frame["room"], frame["data"]["usage"]) == (
            "quota.updated",
            "user:u7",
            {"devices": 4},
        )


@pytest.mark.parametrize("command", [PYTHON, SHELL], ids=["python", "rabbitmqadmin"])
def test_nobody_listens(command: tuple[str, ...], variables: dict[str, str]) -> None:
    """What no queue takes is not published in silence."""
    need(command)

    done = run(command, {**variables, "EXCHANGE": UNBOUND})

    assert done.returncode == 1
    assert "published" not in done.stdout


async def test_a_broker_that_is_away(broker: PrivateNode, bridge: ServedNode) -> None:
    """The Python example keeps an event while RabbitMQ is away, and publishes it under the id that it has."""
    await bridge.ready()
    example = runpy.run_path(PYTHON[1])
    event = {"userId": "u8", "timestamp": now(), "quotaId": "q1", "limits": {}, "usage": {}}
    (port,) = free_ports(1)
    address = URL(broker.url)
    assert address.host is not None
    assert address.port is not None
    between = partial(Proxy, address.host, address.port, listen_at=port)
    through = str(address.with_host("127.0.0.1").with_port(port))
    async with AsyncExitStack() as stack:
        page = await stack.enter_async_context(client(bridge, "u8"))
        async with between():
            connection = await aio_pika.connect_robust(through, reconnect_interval=0.1)
            stack.push_async_callback(connection.close)
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            exchange = await channel.get_exchange("example.events")
        await eventually(lambda: channel.is_closed, "a connection that is known to be gone")
        publishing = asyncio.create_task(example["publish"](exchange, "quota.updated", event, "kept-1"))
        await stack.enter_async_context(between())

        assert await publishing == "kept-1"
        await page.gets("kept-1")


def test_documented() -> None:
    """docs/publishing.md leads to each example, and what it shows of them is in them."""
    page = "docs/publishing.md"
    shown = [*blocks(page, "python"), *blocks(page, "ts"), *blocks(page, "sh")]
    files = [path for path in EXAMPLES.glob("*/**/*.*") if "node_modules" not in path.parts]
    text = "".join(path.read_text(encoding="utf-8") for path in files if path.suffix in (".py", ".sh", ".ts"))

    assert {folder.name for folder in EXAMPLES.iterdir()} == set(re.findall(r"examples/([a-z]+)", read(page)))
    assert len(shown) == 4
    assert [block for block in shown if block not in text] == []
