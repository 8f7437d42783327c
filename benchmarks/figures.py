"""Results as data: what was measured, beside what, and whether it is good enough. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median, quantiles
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Spread:
    """What repeated measurements came to: the lowest, the quartiles around the median, the highest."""

    low: float
    lower: float
    middle: float
    upper: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one measurement."""
        few = len(values) == 1
        lower, _, upper = [*values] * 3 if few else quantiles(values, n=4, method="inclusive")
        return cls(min(values), lower, median(values), upper, max(values))


@dataclass(frozen=True, slots=True)
class Bar:
    """What the median of a figure's value or ratio has to reach."""

    bound: float
    of: Literal["value", "ratio"]
    at_least: bool = False

    def __str__(self) -> str:
        """Say it as in a table."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:.3g}{'×' if self.of == 'ratio' else ''}"

    def reached(self, value: float) -> bool:
        """Tell whether a value is on the right side."""
        return value >= self.bound if self.at_least else value <= self.bound

    def nearest(self, spread: Spread) -> float:
        """Return the quartile of a spread that is on the right side of its median."""
        return spread.upper if self.at_least else spread.lower


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure is measured against, in the figure's unit and in the same run."""

    name: str
    value: Spread


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `ratio` is taken pair by pair, so it is not that of the two medians."""

    name: str
    unit: str
    value: Spread
    limit: Limit | None = None
    ratio: Spread | None = None
    bar: Bar | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells this figure from the others of its case."""
        return self.name, self.unit, self.limit.name if self.limit else ""

    @property
    def reached(self) -> bool | None:
        """Whether the bar is reached; None without a bar."""
        if self.bar is None:
            return None
        return self.judged is not None and self.bar.reached(self.judged.middle)

    @property
    def judged(self) -> Spread | None:
        """What the bar is about."""
        return self.ratio if self.bar is not None and self.bar.of == "ratio" else self.value

    @property
    def failed(self) -> bool:
        """Whether the bar is missed by more than the noise of this run.

        Plainly: three of four rounds missed it. The noise is the distance from the median to the
        quartile on the bar's side; a bar within it could have been reached by the same program.
        """
        if self.bar is None or self.reached:
            return False
        return self.judged is None or not self.bar.reached(self.bar.nearest(self.judged))

    def as_json(self) -> dict[str, Any]:
        """Return plain data for a result file."""
        return {**asdict(self), "reached": self.reached, "failed": self.failed}


def merged(runs: Sequence[Sequence[Figure]]) -> list[Figure]:
    """Summarise several runs of one case: of each figure, the spread of the medians of its runs.

    What was not measured in every run is left out. Details are those of the last run.
    """
    if len(runs) == 1:
        return list(runs[0])
    found = [{figure.key: figure for figure in run} for run in runs]
    return [
        _merged([run[figure.key] for run in found])
        for figure in runs[-1]
        if all(figure.key in run for run in found)
    ]


def _merged(figures: Sequence[Figure]) -> Figure:
    last = figures[-1]
    limits = [figure.limit.value.middle for figure in figures if figure.limit]
    found = [figure.ratio.middle for figure in figures if figure.ratio]
    return replace(
        last,
        value=Spread.of([figure.value.middle for figure in figures]),
        limit=Limit(last.limit.name, Spread.of(limits)) if last.limit else None,
        ratio=Spread.of(found) if found else None,
    )


def ratios(values: Sequence[float], limits: Sequence[float]) -> Spread:
    """Return the spread of the ratios of measurements that were taken in pairs."""
    return Spread.of([value / limit for value, limit in zip(values, limits, strict=True)])


def percentile(ascending: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` (0 to 1) of the values do not exceed."""
    return ascending[min(len(ascending) - 1, max(0, round(share * len(ascending) + 0.5) - 1))]
