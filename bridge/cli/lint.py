"""`bridge lint`: judge a publisher's example events as the bridge would, with no broker."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from pydantic.alias_generators import to_camel

from bridge.cli.common import catalogue_or_exit, errors, exit_with_problems, visible
from bridge.core.by_hand import judge
from bridge.core.lint import Finding, Level, Linter, Report
from bridge.settings import CONFIG_VARIABLE, Settings, SettingsError, load

FILE_BYTES_MAX = 64 * 2**20
STDIN = "-"
LINES = (".jsonl", ".ndjson")
WRONG, UNUSABLE = 1, 2  # Exit statuses, beside 0.

Reports: TypeAlias = Mapping[str, Report]


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def lint(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…", help="An event, a list of events, or JSON lines; - is standard input."
        ),
    ],
    routing_key: Annotated[
        str | None, typer.Option(help="That of every event; else each names it in type or pattern.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            envvar=CONFIG_VARIABLE,
            help="A bridge.toml: the domains that it declares count too. It needs no secrets.",
        ),
    ] = None,
    output: Annotated[
        Format,
        typer.Option("--format", help="For people, programs, or GitHub Actions, which annotates."),
    ] = Format.TEXT,
) -> None:
    """Judge example events as the bridge would; needs no broker and no secrets.

    Exit status 0: all would be taken, maybe with warnings; 1: one would be refused; 2: a file is unreadable.
    """
    settings = _settings(config)
    catalogue = catalogue_or_exit(settings)
    body_bytes_max = settings.ingest.body_bytes_max
    linter = Linter(
        catalogue,
        lambda delivery: judge(catalogue, delivery, body_bytes_max=body_bytes_max),
        body_bytes_max=body_bytes_max,
        routing_key=routing_key,
    )
    reports = {name: linter.lint(_read(name), by_line=name.endswith(LINES)) for name in dict.fromkeys(files)}
    for line in _PRINTERS[output](reports):
        typer.echo(line)
    if any(finding.level is Level.ERROR for report in reports.values() for finding in report.findings):
        raise typer.Exit(WRONG)


def _settings(config: Path | None) -> Settings:
    """Return the settings of a file, or the defaults; what is secret is made up, for nothing here uses it."""
    made_up = {
        "RABBITMQ_URL": "amqp://localhost",
        "DATABASE_URL": "postgresql://localhost/bridge",
        "JWT_SECRET": secrets.token_hex(32),
        CONFIG_VARIABLE: os.devnull if config is None else str(config),
    }
    try:
        return load(made_up)
    except SettingsError as exc:
        exit_with_problems(exc)


def _read(name: str) -> str:
    """Return the text of a file, or exit."""
    try:
        with sys.stdin.buffer if name == STDIN else Path(name).open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) <= FILE_BYTES_MAX:
            return data.decode("utf-8-sig")
        problem = f"it has more than {FILE_BYTES_MAX} bytes; take it apart"
    except OSError as exc:
        problem = exc.strerror or type(exc).__name__
    except UnicodeDecodeError as exc:
        problem = f"it is not UTF-8: byte {exc.start} cannot be read"
    errors.print(f"{name} cannot be read: {problem}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(UNUSABLE)


def _text(reports: Reports) -> Iterator[str]:
    for name, finding in _all(reports):
        about = " ".join(filter(None, (finding.event_type, f"#{finding.index}" if finding.index else "")))
        where = ": ".join(filter(None, (f"{name}:{finding.line}", finding.level, about)))
        yield _on_one_line(f"{where}: {finding.message} [{finding.reason}]")
        if finding.remedy:
            yield _on_one_line(f"    {finding.remedy}")
    counts = {level: sum(finding.level is level for _, finding in _all(reports)) for level in Level}
    events = sum(report.events for report in reports.values())
    yield f"{events} event(s), {counts[Level.ERROR]} error(s), {counts[Level.WARNING]} warning(s)"


def _json(reports: Reports) -> Iterator[str]:
    yield json.dumps(
        {
            "events": sum(report.events for report in reports.values()),
            "findings": [
                {"file": name, **{to_camel(key): value for key, value in asdict(finding).items()}}
                for name, finding in _all(reports)
            ],
        },
        indent=2,
    )


def _github(reports: Reports) -> Iterator[str]:
    """Write workflow commands: docs.github.com, Workflow commands for GitHub Actions."""
    for name, finding in _all(reports):
        properties = {"file": name, "line": str(finding.line), "title": finding.reason}
        listed = ",".join(f"{key}={_escaped(value, ',:')}" for key, value in properties.items())
        about = f"{finding.event_type}: " if finding.event_type else ""
        remedy = f"; {finding.remedy}" if finding.remedy else ""
        yield f"::{finding.level} {listed}::{_escaped(about + finding.message + remedy)}"


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"%{ord(letter):02X}" if letter in f"%{more}" else letter for letter in _on_one_line(text))


def _on_one_line(text: str) -> str:
    """Return text that begins no line of its own: what an event says could be a command to the reader."""
    return visible(text).replace("\n", " ")


def _all(reports: Reports) -> Iterator[tuple[str, Finding]]:
    for name, report in reports.items():
        for finding in report.findings:
            yield name, finding


_PRINTERS = {Format.TEXT: _text, Format.JSON: _json, Format.GITHUB: _github}
