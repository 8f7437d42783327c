"""`bridge lint` as a publisher's CI runs it: no broker, no settings."""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bridge.cli import app, lint as command
from tests.doc_reading import ROOT

GOOD = {"type": "user.enabled", "userId": "u1", "timestamp": "2026-11-21T10:00:00.000Z"}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is set, and there is no settings file: as in another project."""
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)
    for name in ("RABBITMQ_URL", "JWT_SECRET", "NEXTAUTH_SECRET", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def lint(*arguments: str, stdin: str = "") -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["lint", *arguments], input=stdin)


def write(name: str, *events: object) -> None:
    """Write events as JSON lines, which is JSON too if there is but one."""
    Path(name).write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")


def test_good() -> None:
    """Events that would be taken give status 0, from a file or standard input."""
    write("good.json", GOOD)

    assert (result := lint("good.json", "-", stdin=json.dumps([GOOD, GOOD]))).exit_code == 0
    assert result.stdout == "3 event(s), 0 error(s), 0 warning(s)\n"


def test_warning() -> None:
    """A warning is printed, and the status is still 0."""
    write("note.json", {**GOOD, "note": 1})

    result = lint("note.json")

    assert result.exit_code == 0
    assert result.stdout.startswith("note.json:1: warning: user.enabled #1: note is not declared")


def test_bad() -> None:
    """An event that would be refused gives status 1; each format names file, line, reason and field."""
    write("bad.jsonl", GOOD, {"type": "user.enabled"})

    for kind in ("text", "json", "github"):
        assert lint("bad.jsonl", "--format", kind).exit_code == 1
    text, github = (lint("bad.jsonl", "--format", kind).stdout for kind in ("text", "github"))
    assert "bad.jsonl:2: error: user.enabled #2: userId is required and missing [missing_field]" in text
    assert "::error file=bad.jsonl,line=2,title=missing_field::user.enabled: userId is required" in github
    report = json.loads(lint("bad.jsonl", "--format", "json").stdout)
    assert report["events"] == 2
    assert [(each["file"], each["index"], each["field"]) for each in report["findings"]] == [
        ("bad.jsonl", 2, "userId"),
        ("bad.jsonl", 2, "timestamp"),
    ]


def test_annotations_are_escaped() -> None:
    """What an event says cannot begin another command of GitHub's."""
    write("a,b:c.json", {"type": "user.enabled", "x\n::error::%": 1})

    said = lint("a,b:c.json", "--format", "github").stdout

    assert "file=a%2Cb%3Ac.json" in said
    assert "x ::error::%25 is not declared" in said
    assert all(line.startswith(("::error ", "::warning ")) for line in said.splitlines())
    assert not [line for line in lint("a,b:c.json").stdout.splitlines() if line.startswith("::")]


@pytest.mark.parametrize("content", [None, b"\xff", b" " * 101], ids=["missing", "not-utf-8", "too-large"])
def test_unusable(content: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be read gives status 2 and says why."""
    monkeypatch.setattr(command, "FILE_BYTES_MAX", 100)
    if content is not None:
        Path("file.json").write_bytes(content)

    result = lint("file.json")

    assert result.exit_code == 2
    assert "file.json cannot be read" in result.stderr


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("dead_letter", "[unknown_type]"),
        ("pass", "score is not declared for quota.vanished"),
        ("drop", "[dropped]"),
    ],
)
def test_unknown_event_types(rule: str, expected: str) -> None:
    """What a domain does with events that nobody declares is said, if a settings file says what it does."""
    Path("bridge.toml").write_text(f'[ingest.unknown]\nquota = "{rule}"\n')
    event = json.dumps({**GOOD, "type": "quota.vanished", "score": 1})

    result = lint("-", "--config", "bridge.toml", stdin=event)

    assert expected in result.stdout
    assert result.exit_code == (1 if rule == "dead_letter" else 0)


def test_routing_key() -> None:
    """--routing-key is that of every event; a type that contradicts it is an error."""
    assert (
        lint("-", "--routing-key", "user.enabled", stdin=json.dumps({**GOOD, "type": "enabled"})).exit_code
        == 0
    )
    assert "[wrong_type]" in lint("-", "--routing-key", "user.disabled", stdin=json.dumps(GOOD)).stdout


@pytest.mark.parametrize("kind", ["text", "json", "github"])
def test_half_a_character(kind: str) -> None:
    """What cannot be written as UTF-8 is found fault with, and printed all the same."""
    result = lint(
        "-", "-", "--format", kind, stdin='{"type": "\\ud800.x"} {"type": "user.enabled", "\\ud800": 1}'
    )

    assert result.exit_code == 1
    assert "bad_name" in result.stdout


def test_domains_of_a_settings_file() -> None:
    """Events that a settings file declares are known, though it holds no secrets; a bad file is refused."""
    Path("bridge.toml").write_text(
        "[ingest]\nbody_bytes_max = 1024\n"
        '[users]\nquery = "SELECT true"\n'
        '[[domain]]\nname = "match"\ntopics = ["match.#"]\n'
        '[[domain.event]]\nname = "match.scored"\ntargets = ["all"]\nfields = { "score?" = "number" }\n'
    )
    event = json.dumps({**GOOD, "type": "match.scored", "score": "1"})

    assert "[unknown_type]" in lint("-", stdin=event).stdout
    assert "score must be a number" in lint("-", "--config", "bridge.toml", stdin=event).stdout
    large = json.dumps({**GOOD, "reason": "x" * 1024})
    assert "[too_large]" in lint("-", "--config", "bridge.toml", stdin=large).stdout
    Path("bridge.toml").write_text("[ingest]\nbody = 1\n")
    assert lint("-", "--config", "bridge.toml", stdin=event).exit_code == os.EX_CONFIG


def test_documented() -> None:
    """docs/publishing.md shows what the command prints."""
    Path("events").mkdir()
    event = {**GOOD, "type": "quota.updated", "quota_id": "q1", "limits": {}, "usage": {}}
    Path("events/quota.json").write_text(json.dumps(event, indent=2))
    page = (ROOT / "docs" / "publishing.md").read_text(encoding="utf-8")

    printed = lint("events/quota.json").stdout

    assert textwrap.indent(printed, " " * 3) in page
