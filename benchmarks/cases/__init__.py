"""The cases, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import fanout, latency, memory
from benchmarks.figures import Figure
from benchmarks.subject import Options

CASES: dict[str, Callable[[Options], list[Figure]]] = {
    "fanout": fanout.run,
    "memory": memory.run,
    "latency": latency.run,
}
