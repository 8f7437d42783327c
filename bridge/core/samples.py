"""Looks at a node: what it holds, and what changed since the look before.

Made from the counters that are kept anyway (bridge/core/stats.py): two readings, and their difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bridge.core.stats import LATENCY_BOUNDS_SECONDS, Stats

SECONDS_MIN = 0.001  # Between two readings, so that no rate is divided by nothing.


class DomainReading(NamedTuple):
    """One domain's consumption at one moment. None where the broker has not said yet."""

    waiting: int | None
    consumers: int | None
    attached: bool
    oldest_unacked_seconds: float


class Gauges(NamedTuple):
    """What a node holds at one moment."""

    sockets: int
    users: int
    rooms: int
    outbox_frames: int
    outbox_bytes: int
    domains: Mapping[str, DomainReading]


class Reading(NamedTuple):
    """A node's gauges and counters at one moment. `at` is in seconds since the Unix epoch."""

    at: float
    gauges: Gauges
    entries: int
    frames: int
    bytes: int
    reconnects: int
    refused: int
    latency_counts: tuple[int, ...]
    settled: Mapping[str, int]  # By domain.
    dead: Mapping[str, int]  # By domain.


@dataclass(frozen=True, slots=True)
class DomainSample:
    """How one domain went since the sample before."""

    events_per_second: float
    dead_per_second: float
    waiting: int | None
    consumers: int | None
    attached: bool
    oldest_unacked_seconds: float


@dataclass(frozen=True, slots=True)
class Latency:
    """From publishing to the sockets, in milliseconds: estimated inside of the histogram's buckets."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Sample:
    """How a node went since the sample before. `at` is in milliseconds since the Unix epoch."""

    at: int
    sockets: int
    users: int
    rooms: int
    outbox_frames: int
    outbox_bytes: int
    events_per_second: float
    frames_per_second: float
    bytes_per_second: float
    reconnects: int
    refused_per_second: float
    latency_ms: Latency | None
    domains: Mapping[str, DomainSample]


def read(stats: Stats, gauges: Gauges, at: float) -> Reading:
    """Take down what the counters say now."""
    settled, dead = dict.fromkeys(gauges.domains, 0), dict.fromkeys(gauges.domains, 0)
    for (domain, _, fate), count in stats.deliveries.items():
        settled[domain] = settled.get(domain, 0) + count
        if fate == "dead":
            dead[domain] = dead.get(domain, 0) + count
    return Reading(
        at=at,
        gauges=gauges,
        entries=stats.entries_seen,
        frames=stats.frames_sent,
        bytes=stats.bytes_sent,
        reconnects=stats.reconnects,
        refused=stats.handshakes_refused.total() + stats.handshakes_dropped + stats.tokens_rejected.total(),
        latency_counts=tuple(stats.latency_seconds.counts),
        settled=settled,
        dead=dead,
    )


def between(before: Reading, now: Reading) -> Sample:
    """Return what happened between two readings."""
    seconds = max(SECONDS_MIN, now.at - before.at)
    gauges = now.gauges

    def rate(newer: int, older: int) -> float:
        return round((newer - older) / seconds, 3)

    counts = [new - old for new, old in zip(now.latency_counts, before.latency_counts, strict=True)]
    return Sample(
        at=round(now.at * 1000),
        sockets=gauges.sockets,
        users=gauges.users,
        rooms=gauges.rooms,
        outbox_frames=gauges.outbox_frames,
        outbox_bytes=gauges.outbox_bytes,
        events_per_second=rate(now.entries, before.entries),
        frames_per_second=rate(now.frames, before.frames),
        bytes_per_second=rate(now.bytes, before.bytes),
        reconnects=now.reconnects,
        refused_per_second=rate(now.refused, before.refused),
        latency_ms=_latency(counts),
        domains={
            name: DomainSample(
                rate(now.settled[name], before.settled.get(name, 0)),
                rate(now.dead[name], before.dead.get(name, 0)),
                *domain,
            )
            for name, domain in gauges.domains.items()
        },
    )


def quantile(counts: Sequence[int], q: float) -> float:
    """Estimate a quantile in seconds from a histogram's counts, of which there is at least one.

    Evenly spread inside its bucket; past the last bound it is that bound.
    """
    rank = q * sum(counts)
    lower = 0.0
    for upper, count in zip(LATENCY_BOUNDS_SECONDS, counts, strict=False):
        if count and rank <= count:
            return lower + (upper - lower) * rank / count
        rank -= count
        lower = upper
    return lower


def _latency(counts: Sequence[int]) -> Latency | None:
    if not any(counts):
        return None
    return Latency(round(quantile(counts, 0.5) * 1000, 2), round(quantile(counts, 0.99) * 1000, 2))
