"""Alerts and dashboard: their own tools accept them, and what they ask for is there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from devel import dashboard
from devel.errors import DevelError
from devel.promtool import find_or_unpack
from tests.doc_reading import ROOT
from tests.metrics import ALERTS, TOLD_BY_PROMETHEUS, metrics, parts, rules, selectors

FOLDER = ALERTS.parent
TOOLS = ROOT / ".run" / "tools"
COMMON = {"job", "instance", "worker"}  # Prometheus' own, and that of `serve --workers`.
SEVERITIES = {"page", "ticket"}


@cache
def panels() -> list[dict[str, Any]]:
    """Return every panel of the dashboard that shows something."""
    return [panel for panel in dashboard.dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield where each expression stands, and the expression as Prometheus gets it."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"].replace("$__rate_interval", "5m")


def groupings(expression: str) -> Iterator[tuple[Any, set[str]]]:
    """Yield each part that groups or matches by labels, with those labels."""
    for part in parts(promql.parse(expression)):
        modifier = getattr(part, "modifier", None)
        if isinstance(part, promql.AggregateExpr) and modifier is not None:
            yield part, set(modifier.labels)
        elif isinstance(part, promql.BinaryExpr) and modifier is not None and modifier.matching is not None:
            yield part, set(modifier.matching.labels)


every_expression = pytest.mark.parametrize(
    "expression", [each for _, each in expressions()], ids=[where for where, _ in expressions()]
)


@every_expression
def test_metrics_are_there(expression: str) -> None:
    """Each metric that an expression reads is one of /metrics, and has the labels that are asked for."""
    for name, labels in selectors(expression):
        if name not in TOLD_BY_PROMETHEUS:
            assert name in metrics(), name
            assert labels <= metrics()[name] | COMMON, name


@every_expression
def test_labels_are_there(expression: str) -> None:
    """Each label that an expression groups or matches by is one of the metrics below it."""
    for part, labels in groupings(expression):
        below = [metrics().get(name, set()) for name, _ in selectors(part.prettify())]
        assert labels <= set().union(*below) | COMMON


def test_selectors_are_found() -> None:
    """What the tests above look at is found wherever it stands in an expression."""
    expression = 'a{x="1"} / on (j) max_over_time(sum by (k) (rate(b[5m]))[1h:1m]) > clamp_min(c, 5) or (d)'

    assert [name for name, _ in selectors(expression)] == ["a", "b", "c", "d"]
    assert [labels for _, labels in groupings(expression)] == [{"j"}, {"k"}]


def test_nothing_is_unwatched() -> None:
    """Each metric is on the dashboard or watched by an alert."""
    read = {name for _, expression in expressions() for name, _ in selectors(expression)}
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in metrics()}

    assert families <= {re.sub("_(bucket|count|sum)$", "", name) for name in read}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_tells_what_to_do(rule: dict[str, Any]) -> None:
    """Each alert says how urgent it is and what has happened, and leads to its place in the runbook."""
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")

    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert anchor == rule["alert"].lower()
    assert f"\n## {rule['alert']}\n" in (ROOT / page).read_text(encoding="utf-8")


def test_the_runbook_has_no_more() -> None:
    """The runbook has no place for an alert that is not there."""
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")

    assert re.findall("^## (.+)$", runbook, flags=re.MULTILINE) == [rule["alert"] for rule in rules()]


def test_every_alert_is_tested() -> None:
    """Of each alert it is tested when it fires, and when it does not."""
    tests = yaml.safe_load((FOLDER / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
    tested = {
        (one["alertname"], bool(one["exp_alerts"])) for test in tests for one in test["alert_rule_test"]
    }

    assert tested == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


@pytest.fixture(scope="module")
def promtool() -> Path:
    """Prometheus' own tool."""
    try:
        return find_or_unpack(TOOLS)
    except DevelError as error:
        pytest.skip(error.message)


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("test", "rules", "alerts.test.yml")],
    ids=["the example and the rules are valid", "the rules do what their tests say"],
)
def test_prometheus_agrees(promtool: Path, arguments: tuple[str, ...]) -> None:
    """Prometheus' own tool accepts the rules and the example, and runs the tests of the rules."""
    done = subprocess.run(
        [promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboard_is_written() -> None:
    """config/grafana/bridge.json is what `python -m devel.dashboard` makes."""
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.as_text()


def test_panels() -> None:
    """Each panel has its own number and place, a title, a description and a unit."""
    shown = json.loads(dashboard.FILE.read_text(encoding="utf-8"))["panels"]
    places = [panel["gridPos"] for panel in shown]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len({panel["id"] for panel in shown}) == len(shown)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < dashboard.COLUMNS
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
