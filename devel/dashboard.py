"""Makes the Grafana dashboard out of its panels: `python -m devel.dashboard` writes the JSON.

Whoever changes it in Grafana carries the change over to `devel/panels.py`, which can be read. Tests hold
the file to that, and every expression to the metrics that there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from devel.panels import NODE, OVERVIEW, ROWS, Panel

FILE = Path(__file__).resolve().parent.parent / "config" / "grafana" / "bridge.json"
UID = "cloudphone-bridge"
SCHEMA_VERSION = 39  # Of Grafana 10.4 and later.
COLUMNS = 24
HEIGHT, STAT_HEIGHT = 8, 4
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """Return the dashboard, as Grafana imports it."""
    return {
        "uid": UID,
        "title": "Cloud-phone bridge",
        "description": "From RabbitMQ to the browser. Made by devel/dashboard.py; see docs/monitoring.md.",
        "tags": ["bridge", "rabbitmq", "websocket"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "templating": {"list": [_datasource(), *map(_variable, ("job", "instance", "domain"))]},
        "panels": list(_placed()),
    }


def as_text() -> str:
    """Return the file's text."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def _placed() -> Iterator[dict[str, Any]]:
    """Yield every panel with its id and place."""
    width = COLUMNS // len(OVERVIEW)
    for index, panel in enumerate(OVERVIEW):
        place = {"x": index * width, "y": 0, "w": width, "h": STAT_HEIGHT}
        yield _panel(panel, index + 1, place, kind="stat")
    number, y = len(OVERVIEW), STAT_HEIGHT
    for title, panels in ROWS:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        y += 1
        x = 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + HEIGHT
            number += 1
            yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": HEIGHT}, kind=panel.kind)
            x += panel.width
        y += HEIGHT


def _panel(panel: Panel, number: int, place: dict[str, int], *, kind: str) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.max_at is not None:
        defaults["max"] = panel.max_at
    if kind == "stat":
        options: dict[str, Any] = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value" if panel.red_from is not None else "none",
            "graphMode": "area",
        }
    else:
        shown = "line" if panel.red_from is not None else "off"
        defaults["custom"] = {"fillOpacity": 8, "showPoints": "never", "thresholdsStyle": {"mode": shown}}
        options = {
            "legend": {
                "showLegend": True,
                "displayMode": "table",
                "placement": "bottom",
                "calcs": ["lastNotNull", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "id": number,
        "type": kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend or "__auto",
                "range": kind != "stat",
                "instant": kind == "stat",
            }
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "type": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
        "refresh": 1,
        "regex": "",
        "current": {"text": "default", "value": "default"},
    }


def _variable(label: str) -> dict[str, Any]:
    """Return a choice of a label's values; each is narrowed by those before it."""
    metric = {
        "job": "bridge_ready",
        "instance": 'bridge_ready{job=~"$job"}',
        "domain": f"bridge_domain_attached{{{NODE}}}",
    }[label]
    return {
        "name": label,
        "type": "query",
        "label": label.capitalize(),
        "datasource": SOURCE,
        "query": {"query": f"label_values({metric}, {label})", "refId": "StandardVariableQuery"},
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
        "options": [],
        "refresh": 2,
        "regex": "",
        "sort": 1,
    }


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(as_text(), encoding="utf-8")
