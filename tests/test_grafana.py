"""The dashboard is what Grafana says that a dashboard is."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devel import dashboard
from tests.doc_reading import ROOT

SOURCE = Path(__file__).parent / "grafana"
FOLDER = ROOT / ".run" / "tools" / "grafana"
SECONDS_MAX = 120.0
TYPES = {"timeseries": "TimeSeries", "stat": "Stat"}
FLAGS = ("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext")
RESOLUTION = ("--moduleResolution", "bundler")


@pytest.fixture(scope="module")
def compiler() -> Path:
    """TypeScript's compiler, with Grafana's types beside it; it stays there for the next run."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = (SOURCE / "package-lock.json").read_bytes()
    installed = FOLDER / "installed-lock.json"
    if not installed.exists() or installed.read_bytes() != lock:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(SOURCE / name, FOLDER / name)
        done = run(npm, "ci", "--ignore-scripts", "--silent")
        if done.returncode:
            pytest.skip(f"Grafana's types cannot be installed: {done.stderr.strip() or 'npm ci failed'}")
        installed.write_bytes(lock)
    return FOLDER / "node_modules" / ".bin" / "tsc"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command beside Grafana's types."""
    return subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )


def constants(shown: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield each part of a dashboard with the type that it is to be of."""
    yield "Frame", {key: value for key, value in shown.items() if key != "panels"}
    for panel in shown["panels"]:
        if panel["type"] == "row":
            yield "Row", panel
            continue
        yield "Panel", {key: value for key, value in panel.items() if key != "options"}
        yield TYPES[panel["type"]], panel["options"]
        if custom := panel["fieldConfig"]["defaults"].get("custom"):
            yield "TimeSeriesField", custom


def complaints(compiler: Path, shown: dict[str, Any]) -> str:
    """Return what the compiler has to say of a dashboard; nothing if it is one."""
    lines = [(SOURCE / "check.ts").read_text(encoding="utf-8")]
    lines += [
        f"export const part{number}: {kind} = {json.dumps(value)};"
        for number, (kind, value) in enumerate(constants(shown))
    ]
    (FOLDER / "check.ts").write_text("\n".join(lines), encoding="utf-8")
    return run(compiler, *FLAGS, *RESOLUTION, "check.ts").stdout


def test_grafana_agrees(compiler: Path) -> None:
    """Every part of the dashboard is of the type that Grafana has for it, with nothing left over."""
    assert not complaints(compiler, dashboard.dashboard())


def test_grafana_would_object(compiler: Path) -> None:
    """What is no dashboard does not pass for one."""
    wrong = dashboard.dashboard()
    wrong["panels"][0]["gridPos"]["w"] = "wide"
    wrong["panels"][1]["options"]["colourMode"] = "value"

    said = complaints(compiler, wrong)

    assert "'string' is not assignable to type 'number'" in said
    assert "colourMode" in said
