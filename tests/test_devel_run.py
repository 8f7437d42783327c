"""`make run`: what it prints, what it tells other terminals, and that nothing is left when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devel.errors import DevelError
from devel.folder import RunFolder, read_env
from devel.ports import free_ports
from devel.rabbitmq import PROJECT
from tests.servers import SharedBroker
from tests.test_devel import processes_of, wait_until

# Stands in for the bridge: answers /readyz, and stops on SIGTERM as it is told.
BRIDGE = """
import http.server, os, signal, sys
if sys.argv[1] == "token":
    print("token-of-" + sys.argv[3])
    sys.exit()
how = os.environ["BRIDGE_STAND_IN"]
if how == "dies":
    sys.exit(78)
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
def on_term(*_):
    print("asked to stop", flush=True)
    if how == "obeys":
        os._exit(0)
signal.signal(signal.SIGTERM, on_term)
http.server.HTTPServer(("127.0.0.1", int(os.environ["BRIDGE_ADMIN__PORT"])), Ready).serve_forever()
"""


@contextmanager
def make_run(folder: Path, broker: SharedBroker, how: str) -> Iterator[subprocess.Popen[str]]:
    """Start what `make run` starts, with a stand-in for the bridge that obeys, resists or dies."""
    stand_in = folder / "bridge.py"
    stand_in.write_text(BRIDGE)
    code = (
        "import sys; from pathlib import Path; from devel.run import main\n"
        "sys.exit(main(Path(sys.argv[1]), [sys.executable, sys.argv[2]]))"
    )
    public, operator = free_ports(2)
    settings = {
        "RABBITMQ_URL": broker.url,
        "BRIDGE_STAND_IN": how,
        "BRIDGE_WS__PORT": str(public),
        "BRIDGE_ADMIN__PORT": str(operator),
    }
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder / ".run"), str(stand_in)],
        cwd=PROJECT,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Return what it printed up to the line with these words; all of it if they do not come."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            break
    return "".join(lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_and_stop(number: signal.Signals, rabbitmq: SharedBroker, tmp_path: Path) -> None:
    """It shows the socket and a token, tells other terminals, and at a signal stops all that it started."""
    env = tmp_path / ".run" / "env"
    with make_run(tmp_path, rabbitmq, "obeys") as process:
        banner = read_until(process, "Ctrl-C")
        settings = read_env(env)

        assert f"ws://127.0.0.1:{settings['BRIDGE_WS__PORT']}/ws" in banner
        assert "token-of-u1" in banner
        assert settings["RABBITMQ_URL"] == rabbitmq.url

        process.send_signal(number)
        assert "asked to stop" in read_until(process, "Stopped.")
        assert process.wait() == 0

    assert not env.exists()
    assert not processes_of(tmp_path)


def test_second_signal_does_not_wait(rabbitmq: SharedBroker, tmp_path: Path) -> None:
    """A bridge that takes its time is killed at the second Ctrl-C."""
    with make_run(tmp_path, rabbitmq, "resists") as process:
        read_until(process, "Ctrl-C stops")
        process.send_signal(signal.SIGINT)
        read_until(process, "asked to stop")
        process.send_signal(signal.SIGINT)

        assert process.wait() == 0

    wait_until(lambda: not processes_of(tmp_path))


def test_bridge_that_does_not_start(rabbitmq: SharedBroker, tmp_path: Path) -> None:
    """When the bridge refuses to start, that is said with its status, without a traceback."""
    with make_run(tmp_path, rabbitmq, "dies") as process:
        said = read_until(process, "did not start")

        assert "status 78" in said
        assert "Traceback" not in said
        assert process.wait() == 1


def test_killed_run_takes_the_bridge_along(rabbitmq: SharedBroker, tmp_path: Path) -> None:
    """Even kill -9 leaves no bridge behind."""
    with make_run(tmp_path, rabbitmq, "obeys") as process:
        read_until(process, "Ctrl-C stops")
        process.kill()

    wait_until(lambda: not processes_of(tmp_path))


def test_second_run_says_that_one_is_running(tmp_path: Path) -> None:
    """The folder .run has one owner; a second one is told where the first one's bridge is."""
    with RunFolder(tmp_path / ".run") as first:
        first.write_env({"BRIDGE_WS__PORT": "8080"})
        with pytest.raises(DevelError, match="8080"), RunFolder(tmp_path / ".run"):
            pytest.fail("both own it")


def test_settings_for_other_terminals(tmp_path: Path) -> None:
    """.run/env is for its owner alone, can be read by a shell and by us, and goes with the bridge."""
    settings = {"RABBITMQ_URL": "amqp://guest:it's $HOME@h/", "EMPTY": ""}
    path = tmp_path / ".run" / "env"
    with RunFolder(path.parent) as folder:
        folder.write_env(settings)

        assert read_env(path) == settings
        assert path.stat().st_mode & 0o777 == 0o600
        shell = subprocess.run(
            ["sh", "-c", f'. {path}; printf %s "$RABBITMQ_URL"'], capture_output=True, text=True, check=True
        )
        assert shell.stdout == settings["RABBITMQ_URL"]

    assert read_env(path) == {}


def test_secret_is_made_once(tmp_path: Path) -> None:
    """The JWT secret has 32 bytes, is for its owner alone, and outlives a restart."""
    with RunFolder(tmp_path) as folder:
        secret = folder.secret()
    with RunFolder(tmp_path) as folder:
        assert folder.secret() == secret

    assert len(bytes.fromhex(secret)) == 32
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
