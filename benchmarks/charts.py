"""Results as pictures: one SVG for each case and unit, with the medians as bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure

WIDTH = 900
ROW_HEIGHT, HEAD_HEIGHT = 24, 80
OURS, THEIRS = "#3465a4", "#babdb6"


def rows(figures: Sequence[Figure]) -> list[tuple[str, float, bool]]:
    """Return name, median, and whether it is what was measured, for each bar from the top. Pure.

    Under what was measured comes everything that it was measured against.
    """
    found: list[tuple[str, float, bool]] = []
    for name in dict.fromkeys(figure.name for figure in figures):
        alike = [figure for figure in figures if figure.name == name]
        found.append((name, alike[0].value.middle, True))
        found.extend(
            (figure.limit.name, figure.limit.value.middle, False) for figure in alike if figure.limit
        )
    return found


def write(folder: Path, case: str, figures: Sequence[Figure]) -> list[Path]:
    """Write the charts of a case, one for each unit; return their files."""
    written = []
    for number, unit in enumerate(dict.fromkeys(figure.unit for figure in figures)):
        path = folder / (f"{case}.svg" if number == 0 else f"{case}-{number + 1}.svg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_svg(f"{case}, {unit}", rows([figure for figure in figures if figure.unit == unit])))
        written.append(path)
    return written


def _svg(title: str, bars: Sequence[tuple[str, float, bool]]) -> bytes:
    # Here, since it hooks into the import system of every program that it is imported in.
    from pygal import Config, HorizontalBar  # noqa: PLC0415 - see above
    from pygal.style import CleanStyle  # noqa: PLC0415 - see above

    config = Config()
    config.js = []  # A file that is whole by itself.
    config.style = CleanStyle(font_family="sans-serif", value_font_size=12, label_font_size=12)
    config.title, config.width, config.height = title, WIDTH, HEAD_HEIGHT + ROW_HEIGHT * len(bars)
    config.print_values, config.show_legend, config.truncate_label = True, False, -1
    config.value_formatter = lambda value: f"{value:,.3g}" if value < 1_000 else f"{value:,.0f}"  # noqa: PLR2004 - digits that matter
    chart = HorizontalBar(config)
    upwards = list(reversed(bars))  # The library draws from the bottom.
    chart.x_labels = [name for name, _, _ in upwards]
    chart.add("", [{"value": value, "color": OURS if ours else THEIRS} for _, value, ours in upwards])
    rendered: bytes = chart.render()
    return rendered
