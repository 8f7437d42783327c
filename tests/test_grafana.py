"""The dashboard is what Grafana says that a dashboard is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from devel import dashboard
from tests.npm import installed, run

SOURCE = Path(__file__).parent / "grafana"
TYPES = {"timeseries": "TimeSeries", "stat": "Stat"}
FLAGS = (
    *("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022"),
    *("--module", "esnext", "--moduleResolution", "bundler"),
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


def source(shown: dict[str, Any]) -> str:
    """Return a program that the compiler objects to unless this is a dashboard."""
    lines = [(SOURCE / "check.ts").read_text(encoding="utf-8")]
    lines += [
        f"export const part{number}: {kind} = {json.dumps(value)};"
        for number, (kind, value) in enumerate(constants(shown))
    ]
    return "\n".join(lines)


def test_grafana_agrees() -> None:
    """Every part of the dashboard is of the type that Grafana has for it, with nothing left over.

    What is no dashboard would not pass for one.
    """
    folder = installed(SOURCE)
    wrong = dashboard.dashboard()
    wrong["panels"][0]["gridPos"]["w"] = "wide"
    wrong["panels"][1]["options"]["colourMode"] = "value"
    (folder / "right.ts").write_text(source(dashboard.dashboard()), encoding="utf-8")
    (folder / "wrong.ts").write_text(source(wrong), encoding="utf-8")

    # Both at once, as the compiler takes seconds to read the types.
    said = run(folder, folder / "node_modules" / ".bin" / "tsc", *FLAGS, "right.ts", "wrong.ts").stdout

    assert "right.ts" not in said
    assert "wrong.ts" in said
    assert "'string' is not assignable to type 'number'" in said
    assert "colourMode" in said
