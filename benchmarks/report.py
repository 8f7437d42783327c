"""Results for people, and for files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Spread

WIDTH_MIN = 100  # Where output goes to a file, so that no column is folded away.


def console() -> Console:
    """Return a console that is wide enough for the table."""
    chosen = Console(highlight=False)
    return chosen if chosen.is_terminal or chosen.width >= WIDTH_MIN else Console(highlight=False, width=140)


def as_json(case: str, figures: Sequence[Figure], facts: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """Return a case's results as plain data."""
    return {
        "case": case,
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "machine": dict(facts),
        "figures": [figure.as_json() for figure in figures],
    }


def write(path: Path, result: object) -> None:
    """Write a result file; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def show(out: Console, results: Mapping[str, Sequence[Figure]], facts: Mapping[str, str]) -> None:
    """Print the table, the facts, and which bars were missed."""
    table = Table(title="min – median – max", title_justify="left", show_lines=False)
    for heading in ("case", "figure", "measured", "against", "limit", "ratio", "bar", ""):
        table.add_column(heading)
    for case, figures in results.items():
        for figure in figures:
            table.add_row(case if figure is figures[0] else "", *_cells(figure))
        table.add_section()
    out.print(table)
    out.print(" · ".join(f"{name}: {value}" for name, value in facts.items()), soft_wrap=True)
    judged = [figure for figures in results.values() for figure in figures if figure.bar is not None]
    missed = [figure for figure in judged if not figure.reached]
    out.print(f"{len(judged) - len(missed)} of {len(judged)} bars reached.")
    for figure in missed:
        measured = figure.ratio if figure.bar and figure.bar.of == "ratio" else figure.value
        shown = _number(measured.middle) if measured else "nothing"
        out.print(f"[bold red]MISSED[/bold red] {figure.name}: {shown}, the bar is {figure.bar}")


def _cells(figure: Figure) -> list[str]:
    verdict = {True: "[green]reached[/green]", False: "[bold red]MISSED[/bold red]", None: ""}[figure.reached]
    return [
        figure.name,
        f"{_spread(figure.value)} {figure.unit}",
        figure.limit.name if figure.limit else "",
        _spread(figure.limit.value) if figure.limit else "",
        _spread(figure.ratio) + "×" if figure.ratio else "",
        str(figure.bar) if figure.bar else "",
        verdict,
    ]


def _spread(spread: Spread) -> str:
    return " – ".join(map(_number, (spread.low, spread.middle, spread.high)))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.2f}"  # noqa: PLR2004 - digits that matter
