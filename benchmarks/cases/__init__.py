"""The cases, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.cases import cluster, fanout, latency, memory, resume
from benchmarks.figures import Figure
from benchmarks.subject import Options

CASES: dict[str, Callable[[Options], list[Figure]]] = {
    "fanout": fanout.run,
    "memory": memory.run,
    "latency": latency.run,
    "latency-stream": partial(latency.run, event_log="stream"),
    "cluster": cluster.run,
    "resume": resume.run,
}
