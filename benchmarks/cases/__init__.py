"""The cases, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.cases import (
    cluster,
    compression,
    fanout,
    grants,
    growth,
    handshake,
    handshake_users,
    ingest,
    latency,
    limiter,
    memory,
    queue,
    resume,
    revocation,
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
    "revocation": revocation.run,
    "grants": grants.run,
    "limiter": limiter.run,
    "handshake-users": handshake_users.run,
}

# Those that `make bench-check` plays, in short and without peers that have to be installed.
GUARDED = ("fanout", "compression", "growth", "memory", "ingest")
