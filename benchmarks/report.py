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

APART = ("user_us", "system_us", "wall_us")
WIDTH_MIN = 100  # Where output goes to a file, so that no column is folded away.


def console() -> Console:
    """Return a console that is wide enough for the table."""
    chosen = Console(highlight=False)
    return chosen if chosen.is_terminal or chosen.width >= WIDTH_MIN else Console(highlight=False, width=190)


def as_json(
    case: str, figures: Sequence[Figure], facts: Mapping[str, str], seconds: float, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a case's results as plain data."""
    return {
        "case": case,
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "machine": dict(facts),
        "notes": list(notes),
        "figures": [figure.as_json() for figure in figures],
    }


def write(path: Path, result: object) -> None:
    """Write a result file; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def show(out: Console, results: Mapping[str, Sequence[Figure]], facts: Mapping[str, str]) -> None:
    """Print the table, the facts, and which bars were missed."""
    table = Table(title="min – median – max", title_justify="left", show_lines=False)
    for heading in ("case", "figure", "unit", "measured", "against", "its value", "ratio", "bar", ""):
        table.add_column(heading, no_wrap=heading in {"measured", "its value", "ratio"})
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
        shown = _number(figure.judged.middle) if figure.judged else "nothing"
        against = f" against {figure.limit.name}" if figure.limit else ""
        out.print(f"{_verdict(figure)}: {figure.name}{against}: {shown}, the bar is {figure.bar}")


def show_apart(out: Console, results: Mapping[str, Sequence[Figure]]) -> None:
    """Print user, system and wall time apart, for figures whose details tell them."""
    table = Table(title="µs each: CPU of the server in user mode and in the kernel, and wall time")
    for heading in ("case", "figure", "side"):
        table.add_column(heading)
    for heading in APART:
        table.add_column(heading.removesuffix("_us"), justify="right")
    for case, figures in results.items():
        for (name, side), found in apart(figures).items():
            table.add_row(case, name, side, *(_number(found[key]) for key in APART))
        table.add_section()
    if table.row_count:
        out.print(table)


def apart(figures: Sequence[Figure]) -> dict[tuple[str, str], Mapping[str, float]]:
    """Return the details of each side of each figure, by both names, where they have all of APART."""
    return {
        (figure.name, side): found
        for figure in figures
        for side, found in figure.details.items()
        if isinstance(found, Mapping) and found.keys() >= set(APART)
    }


def show_notes(out: Console, notes: Mapping[str, Sequence[str]]) -> None:
    """Print what a reader of the figures has to know."""
    for case, said in notes.items():
        for note in said:
            out.print(f"{case}: {note}", markup=False)


def _cells(figure: Figure) -> list[str]:
    return [
        figure.name,
        figure.unit,
        _spread(figure.value),
        figure.limit.name if figure.limit else "",
        _spread(figure.limit.value) if figure.limit else "",
        _spread(figure.ratio) + "×" if figure.ratio else "",
        str(figure.bar) if figure.bar else "",
        _verdict(figure),
    ]


def _verdict(figure: Figure) -> str:
    if figure.bar is None:
        return ""
    if figure.reached:
        return "[green]reached[/green]"
    return "[bold red]MISSED[/bold red]" if figure.failed else "[yellow]missed, within the noise[/yellow]"


def _spread(spread: Spread) -> str:
    return " – ".join(map(_number, (spread.low, spread.middle, spread.high)))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.2f}"  # noqa: PLR2004 - digits that matter
