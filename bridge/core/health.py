"""What readiness is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """Whether one part works, and what a person would want to know about it.

    Without a part that is not `vital` the node is degraded, and still of use.
    """

    part: str
    ok: bool
    detail: str
    vital: bool = True


def is_ready(parts: Iterable[Health]) -> bool:
    """Tell whether a node is of use: whether all its vital parts work."""
    return all(part.ok for part in parts if part.vital)
