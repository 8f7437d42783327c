"""The browser client in clients/typescript: in step with the bridge, and its own tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.cli import app
from bridge.core.catalogue import Catalogue
from bridge.core.close import CATALOGUE, UNAUTHENTICATED
from bridge.core.typescript import typescript_of
from bridge.ws.dialects.bridge_v1 import ROOMS_PER_COMMAND_MAX
from consumers import domains
from tests.doc_reading import ROOT
from tests.servers import SharedBroker

PACKAGE = ROOT / "clients" / "typescript"
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
TEST_SECONDS_MAX = 400.0


def source(name: str) -> str:
    """Return a file of the client."""
    return (PACKAGE / "src" / name).read_text(encoding="utf-8")


def test_types_of_events() -> None:
    """The client has the types that `python -m bridge export typescript --built-in` writes."""
    assert source("events.ts") == typescript_of(Catalogue(domains()))


def test_close_codes() -> None:
    """The client stays away after the codes that do not reconnect, and after no other."""
    verdicts = dict(re.findall(r"^  (\d{4}): \"(\w+)\",$", source("closing.ts"), re.MULTILINE))

    assert {code for code, verdict in verdicts.items() if verdict in ("final", "token")} == {
        str(reason.code) for reason in CATALOGUE if not reason.reconnect
    }
    assert verdicts[str(UNAUTHENTICATED.code)] == "token"
    assert verdicts.keys() <= {str(reason.code) for reason in CATALOGUE}


def test_rooms_in_one_command() -> None:
    """The client asks for no more rooms at once than a command may have."""
    limits = dict(re.findall(r"export const (\w+_ROOMS_MAX) = (\d+);", source("session.ts")))

    assert limits.keys() == {"COMMAND_ROOMS_MAX", "HELLO_ROOMS_MAX"}
    assert all(int(limit) <= ROOMS_PER_COMMAND_MAX for limit in limits.values())


@pytest.mark.parametrize(
    ("kind", "beginning"),
    [("typescript", "// Written by"), ("jsonschema", "{"), ("asyncapi", "{"), ("markdown", "# Events")],
)
def test_export_needs_no_settings(kind: str, beginning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --built-in the events are written without settings; otherwise settings are asked for."""
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)
    for name in ("RABBITMQ_URL", "JWT_SECRET", "NEXTAUTH_SECRET"):
        monkeypatch.delenv(name, raising=False)

    built_in = CliRunner().invoke(app, ["export", kind, "--built-in"])
    with_settings = CliRunner().invoke(app, ["export", kind])

    assert built_in.exit_code == 0
    assert built_in.stdout.startswith(beginning)
    assert with_settings.exit_code == os.EX_CONFIG
    assert "--built-in" in with_settings.output


def test_export_with_a_domain_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that the settings declare are exported like the built-in ones."""
    settings = tmp_path / "bridge.toml"
    settings.write_text(
        '[[domain]]\nname = "match"\ntopics = ["match.#"]\n'
        '[[domain.event]]\nname = "match.scored"\ntargets = ["match:{matchId}"]\n'
        'fields = { matchId = "id", "score?" = "number", tags = "list of text" }\n'
    )
    monkeypatch.setenv("BRIDGE_CONFIG", str(settings))
    monkeypatch.setenv("RABBITMQ_URL", "amqp://127.0.0.1/a%2Fb")
    monkeypatch.setenv("BRIDGE_AMQP__EXCHANGE", "scores")
    monkeypatch.setenv("JWT_SECRET", "b3V0IG9mIHRoZSBibHVlLCBhIHNlY3JldCB0aGF0IGlzIGxvbmc")

    types = CliRunner().invoke(app, ["export", "typescript"]).stdout
    schema = json.loads(CliRunner().invoke(app, ["export", "jsonschema"]).stdout)
    document = json.loads(CliRunner().invoke(app, ["export", "asyncapi"]).stdout)
    page = CliRunner().invoke(app, ["export", "markdown"]).stdout

    assert '"match.scored": { version: 1; data: MatchScored };' in types
    assert schema["$defs"]["match.scored"]["properties"]["data"]["required"] == ["matchId", "tags"]
    exchange = document["channels"]["match.scored"]["bindings"]["amqp"]["exchange"]
    assert (exchange["name"], exchange["vhost"]) == ("scores", "a/b")
    assert "| `tags` | list of text | yes |" in page


# The client's own tests, with Node.js.


@pytest.fixture(scope="module")
def package() -> Path:
    """The client's folder, built."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not on PATH")
    if not (PACKAGE / "node_modules").is_dir():
        pytest.skip("the client's packages are not installed; `make client` does it")
    npm("build")
    return PACKAGE


def npm(script: str, environment: dict[str, str] | None = None) -> None:
    """Run a script of the client's package.json. What it wrote is shown if it fails."""
    done = subprocess.run(
        ["npm", "run", "--silent", script],
        cwd=PACKAGE,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=TEST_SECONDS_MAX,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}", pytrace=False)


def on(broker: SharedBroker) -> dict[str, str]:
    """Return the environment in which a stage takes the broker of this run."""
    return {"RABBITMQ_TEST_URL": broker.url, "CLIENT_TEST_PYTHON": sys.executable}


def test_style_and_types(package: Path) -> None:
    """The client passes its compiler and its linter."""
    assert package.is_dir()
    npm("check")


def test_against_fakes(package: Path) -> None:
    """The client does what its tests say, and its package is small, whole and typed."""
    assert package.is_dir()
    npm("test")


def test_against_bridges(package: Path, rabbitmq: SharedBroker) -> None:
    """The client resumes over a killed node, a draining one and a dead link, and renews its token."""
    assert package.is_dir()
    npm("test:live", on(rabbitmq))


def test_in_a_browser(package: Path, rabbitmq: SharedBroker) -> None:
    """A page in Chromium misses nothing over a killed node, a lost network, an ended token, and sleep."""
    assert package.is_dir()
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}; install chromium, or name another in CHROMIUM")
    npm("test:browser", on(rabbitmq))
