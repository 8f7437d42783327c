"""What readiness is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """Whether one part works, and what a person would want to know about it."""

    part: str
    ok: bool
    detail: str
