"""The cases, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.cases import (
    cluster,
    compression,
    fanout,
    growth,
    handshake,
    ingest,
    latency,
    memory,
    queue,
    resume,
    sizes,
    slow_readers,
)
from benchmarks.figures import Figure
from benchmarks.subject import Options

CASES: dict[str, Callable[[Options], list[Figure]]] = {
    "fanout": fanout.run,
    "sizes": sizes.run,
    "compression": compression.run,
    "handshake": handshake.run,
    "memory": memory.run,
    "growth": growth.run,
    "slow-readers": slow_readers.run,
    "ingest": ingest.run,
    "queue": queue.run,
    "latency": latency.run,
    "latency-stream": partial(latency.run, event_log="stream"),
    "cluster": cluster.run,
    "resume": resume.run,
    "resume-10k": partial(resume.run, sockets=10_000),
}

# Short ones whose bars need no peer and no broker: `make bench-check`.
GUARDED = ("fanout", "compression", "growth", "memory")
