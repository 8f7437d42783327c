"""Samples: what changed on a node between two looks."""

from __future__ import annotations

import pytest

from bridge.core.samples import DomainReading, Gauges, Latency, between, quantile, read
from bridge.core.stats import LATENCY_BOUNDS_SECONDS, Stats

GAUGES = Gauges(
    sockets=3,
    users=2,
    rooms=5,
    outbox_frames=7,
    outbox_bytes=900,
    domains={
        "quota": DomainReading(waiting=4, consumers=1, attached=True, oldest_unacked_seconds=0.5),
        "device": DomainReading(waiting=None, consumers=None, attached=False, oldest_unacked_seconds=0.0),
    },
)


def test_rates_are_by_the_time_between() -> None:
    """Counters become rates over the seconds that passed, gauges stay as they are."""
    stats = Stats()
    stats.entries_seen = 100
    stats.deliveries["quota", "quota.updated", "logged"] = 50
    before = read(stats, GAUGES, 10.0)
    stats.entries_seen += 8
    stats.frames_sent += 20
    stats.bytes_sent += 4_000
    stats.reconnects += 1
    stats.handshakes_refused[403] += 2
    stats.handshakes_dropped += 1
    stats.tokens_rejected["expired"] += 1
    stats.deliveries["quota", "quota.updated", "logged"] += 6
    stats.deliveries["quota", "", "dead"] += 2

    sample = between(before, read(stats, GAUGES, 12.0))

    assert sample.at == 12_000
    assert (sample.sockets, sample.users, sample.rooms) == (3, 2, 5)
    assert (sample.outbox_frames, sample.outbox_bytes) == (7, 900)
    assert sample.events_per_second == 4.0
    assert (sample.frames_per_second, sample.bytes_per_second) == (10.0, 2_000.0)
    assert (sample.reconnects, sample.refused_per_second) == (1, 2.0)
    assert sample.latency_ms is None
    assert (sample.domains["quota"].events_per_second, sample.domains["quota"].dead_per_second) == (4.0, 1.0)
    assert sample.domains["quota"].waiting == 4
    assert (sample.domains["device"].events_per_second, sample.domains["device"].waiting) == (0.0, None)


def test_no_time_between() -> None:
    """Two looks at one moment, or a clock that was set back, divide by nothing."""
    stats = Stats()

    assert between(read(stats, GAUGES, 10.0), read(stats, GAUGES, 9.0)).events_per_second == 0.0


def test_latency_is_of_the_time_between() -> None:
    """Only what was observed since the look before counts."""
    stats = Stats()
    stats.latency_seconds.observe(2.0, times=1_000)
    before = read(stats, GAUGES, 10.0)
    stats.latency_seconds.observe(0.0015, times=99)
    stats.latency_seconds.observe(0.15, times=1)

    assert between(before, read(stats, GAUGES, 11.0)).latency_ms == Latency(p50=1.51, p99=2.0)


@pytest.mark.parametrize(
    ("observed", "q", "expected"),
    [
        ([0.0005] * 10, 0.5, 0.0005),
        ([0.0005] * 10, 1.0, 0.001),
        ([0.0015, 0.0015], 0.5, 0.0015),
        ([0.0005, 0.3], 0.99, 0.494),
        ([100.0], 0.5, LATENCY_BOUNDS_SECONDS[-1]),
    ],
)
def test_quantiles(observed: list[float], q: float, expected: float) -> None:
    """A quantile is looked for in its bucket, evenly; past the last bound it is that bound."""
    stats = Stats()
    for value in observed:
        stats.latency_seconds.observe(value)

    assert quantile(stats.latency_seconds.counts, q) == pytest.approx(expected)
