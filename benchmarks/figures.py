"""Results as data: what was measured, beside what, and whether it is good enough. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Spread:
    """What repeated measurements came to: the lowest, the median, the highest."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one measurement."""
        return cls(min(values), median(values), max(values))


@dataclass(frozen=True, slots=True)
class Bar:
    """What the median of a figure's value or ratio has to reach."""

    bound: float
    of: Literal["value", "ratio"]
    at_least: bool = False

    def __str__(self) -> str:
        """Say it as in a table."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{'×' if self.of == 'ratio' else ''}"

    def reached(self, value: float) -> bool:
        """Tell whether a value is on the right side."""
        return value >= self.bound if self.at_least else value <= self.bound


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
    def reached(self) -> bool | None:
        """Whether the bar is reached; None without a bar."""
        if self.bar is None:
            return None
        measured = self.value if self.bar.of == "value" else self.ratio
        return measured is not None and self.bar.reached(measured.middle)

    def as_json(self) -> dict[str, Any]:
        """Return plain data for a result file."""
        return {**asdict(self), "reached": self.reached}


def ratios(values: Sequence[float], limits: Sequence[float]) -> Spread:
    """Return the spread of the ratios of measurements that were taken in pairs."""
    return Spread.of([value / limit for value, limit in zip(values, limits, strict=True)])


def percentile(ascending: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` (0 to 1) of the values do not exceed."""
    return ascending[min(len(ascending) - 1, max(0, round(share * len(ascending) + 0.5) - 1))]
