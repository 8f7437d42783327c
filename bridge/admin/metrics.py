"""The node's numbers as Prometheus metrics, gathered when they are asked for."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bridge import __version__, is_compiled
from bridge.core.close import CATALOGUE
from bridge.core.stats import Histogram, Stats

# There from the start: of what appears with the first close, Prometheus does not see that it has risen.
_NO_CLOSES: dict[int | str, int] = {reason.code: 0 for reason in CATALOGUE}


@dataclass(frozen=True, slots=True)
class DomainGauge:
    """What one domain's consumption looks like now. None where the broker has not said yet."""

    domain: str
    attached: bool
    consumers: int | None
    waiting: int | None
    oldest_unacked_seconds: float


@dataclass(frozen=True, slots=True)
class NodeGauges:
    """What the node looks like now."""

    sockets: int
    users: int
    rooms: int
    outbox_frames: int
    outbox_bytes: int
    log_offset: int
    window_entries: int
    window_bytes: int
    dedupe_keys: int
    dedupe_shortened: int
    revocations: int
    sockets_waiting: int
    ready: bool
    domains: tuple[DomainGauge, ...]


class BridgeCollector(Collector):
    """Reads the counters and gauges at each scrape; nothing is kept twice."""

    def __init__(self, stats: Stats, gauges: Callable[[], NodeGauges]) -> None:
        """`gauges` is called at each scrape."""
        self._stats = stats
        self._gauges = gauges
        self._process = ProcessCollector(registry=None)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._counters()
        yield from self._labelled_counters()
        yield from self._database()
        yield from self._node_gauges()
        yield from self._histograms()
        yield from self._process.collect()

    def _counters(self) -> Iterator[Metric]:
        stats = self._stats
        for name, text, value in (
            ("bridge_log_entries", "Log entries seen by this node.", stats.entries_seen),
            (
                "bridge_log_entries_expired",
                "Entries not sent because they were too old.",
                stats.entries_expired,
            ),
            ("bridge_log_damaged", "Messages of the log that are foreign or damaged.", stats.log_damaged),
            ("bridge_frames_sent", "Frames written to sockets.", stats.frames_sent),
            ("bridge_bytes_sent", "Bytes of those frames.", stats.bytes_sent),
            ("bridge_compressions", "Frames compressed, once for all sockets alike.", stats.compressions),
            ("bridge_compressed_bytes_in", "Bytes of those frames before.", stats.compressed_bytes_in),
            ("bridge_compressed_bytes_out", "Bytes of those frames after.", stats.compressed_bytes_out),
            ("bridge_frames_conflated", "Frames superseded while they waited.", stats.frames_conflated),
            ("bridge_frames_dropped", "Frames dropped with a gap notice.", stats.frames_dropped),
            ("bridge_sockets_opened", "WebSockets opened.", stats.sockets_opened),
            ("bridge_handshakes_dropped", "Dropped: too many at once.", stats.handshakes_dropped),
            ("bridge_resumes_asked", "Commands with a position.", stats.resumes_asked),
            ("bridge_resumes_recovered", "Those given all they had missed.", stats.resumes_recovered),
            ("bridge_amqp_reconnects", "Connections lost, and attempts in vain.", stats.reconnects),
        ):
            yield CounterMetricFamily(name, text, value=value)

    def _histograms(self) -> Iterator[Metric]:
        stats = self._stats
        for name, text, histogram in (
            (
                "bridge_publish_to_socket_seconds",
                "From the event's timestamp to the write to the sockets, once per event.",
                stats.latency_seconds,
            ),
            (
                "bridge_log_read_lag_seconds",
                "From the append to this node's reading it, to the second.",
                stats.log_read_lag_seconds,
            ),
            (
                "bridge_event_loop_lag_seconds",
                "How late the event loop wakes a task, twice a second.",
                stats.loop_lag_seconds,
            ),
            (
                "bridge_database_seconds",
                "For one question, with the wait for a connection.",
                stats.database_seconds,
            ),
        ):
            yield _histogram(name, text, histogram)

    def _database(self) -> Iterator[Metric]:
        stats = self._stats
        answers = CounterMetricFamily(
            "bridge_database_answers", "Answers about users and grants.", labels=("question", "source")
        )
        for labels, count in stats.database_answers.items():
            answers.add_metric(labels, count)
        yield answers

    def _labelled_counters(self) -> Iterator[Metric]:
        stats = self._stats
        deliveries = CounterMetricFamily(
            "bridge_deliveries", "Deliveries settled.", labels=("domain", "type", "fate")
        )
        for labels, count in stats.deliveries.items():
            deliveries.add_metric(labels, count)
        yield deliveries
        dead = CounterMetricFamily(
            "bridge_dead_letters", "Dead letters written.", labels=("domain", "reason")
        )
        for dead_labels, count in stats.dead_letters.items():
            dead.add_metric(dead_labels, count)
        yield dead
        storms = CounterMetricFamily(
            "bridge_storm_events", "Events left out in storms.", labels=("type", "outcome")
        )
        for storm_labels, count in stats.storm_events.items():
            storms.add_metric(storm_labels, count)
        yield storms
        for name, text, label, counter in (
            ("bridge_requeued", "Deliveries given back after a failure of ours.", "domain", stats.requeued),
            ("bridge_commands", "Commands received.", "op", stats.commands),
            ("bridge_command_errors", "Errors sent to clients.", "code", stats.errors),
            ("bridge_closes", "WebSockets closed.", "code", {**_NO_CLOSES, **stats.closes}),
            ("bridge_handshakes_refused", "Upgrades refused.", "status", stats.handshakes_refused),
            ("bridge_tokens_rejected", "Tokens rejected.", "reason", stats.tokens_rejected),
            ("bridge_inbox_items", "Items of inboxes.", "outcome", stats.inbox_items),
            ("bridge_node_messages_ignored", "From nodes.", "reason", stats.node_messages_ignored),
        ):
            family = CounterMetricFamily(name, text, labels=(label,))
            for key, count in counter.items():
                family.add_metric((str(key),), count)
            yield family

    def _node_gauges(self) -> Iterator[Metric]:
        now, stats = self._gauges(), self._stats
        build = GaugeMetricFamily("bridge_build_info", "Always 1.", labels=("version", "python", "compiled"))
        compiled = "yes" if is_compiled() else "no"
        build.add_metric((__version__, platform.python_version(), compiled), 1)
        yield build
        for name, text, value in (
            ("bridge_ready", "1 when this node is ready.", int(now.ready)),
            ("bridge_sockets", "Sockets open now.", now.sockets),
            ("bridge_users", "Users with a socket now.", now.users),
            ("bridge_rooms", "Rooms with a member now.", now.rooms),
            ("bridge_outbox_frames", "Frames waiting for slow sockets.", now.outbox_frames),
            ("bridge_outbox_bytes", "Bytes waiting for slow sockets.", now.outbox_bytes),
            ("bridge_window_entries", "Entries in the replay window.", now.window_entries),
            ("bridge_window_bytes", "Estimated bytes of the replay window.", now.window_bytes),
            ("bridge_log_offset", "Offset of the newest log entry seen.", now.log_offset),
            ("bridge_dedupe_keys", "Event identities remembered.", now.dedupe_keys),
            ("bridge_revocations", "Revocations remembered.", now.revocations),
            ("bridge_sockets_waiting", "Sockets that wait for an answer.", now.sockets_waiting),
            ("bridge_sockets_max", "The limit on sockets.", stats.sockets_max),
            ("bridge_outbox_bytes_max", "The limit on the bytes of all outboxes.", stats.outbox_bytes_max),
            ("bridge_log_caught_up", "1 when this node sees the log as it is.", int(stats.log_caught_up)),
        ):
            yield GaugeMetricFamily(name, text, value=value)
        yield CounterMetricFamily(
            "bridge_dedupe_shortened",
            "Generations of identities forgotten early, in all parts.",
            value=now.dedupe_shortened,
        )
        dead = GaugeMetricFamily("bridge_dead_letters_waiting", "Messages in the dead-letter queue.")
        if stats.dead_letters_waiting is not None:
            dead.add_metric((), stats.dead_letters_waiting)
        yield dead
        attached = GaugeMetricFamily(
            "bridge_domain_attached", "1 when our consumer is attached.", labels=("domain",)
        )
        consumers = GaugeMetricFamily(
            "bridge_domain_consumers", "Consumers the broker sees.", labels=("domain",)
        )
        waiting = GaugeMetricFamily(
            "bridge_domain_waiting", "Messages ready in the queue.", labels=("domain",)
        )
        unacked = GaugeMetricFamily(
            "bridge_domain_oldest_unacked_seconds", "Age of the oldest delivery in hand.", labels=("domain",)
        )
        for domain in now.domains:
            labels = (domain.domain,)
            attached.add_metric(labels, int(domain.attached))
            unacked.add_metric(labels, domain.oldest_unacked_seconds)
            if domain.consumers is not None:
                consumers.add_metric(labels, domain.consumers)
            if domain.waiting is not None:
                waiting.add_metric(labels, domain.waiting)
        yield from (attached, consumers, waiting, unacked)


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    bounds = [*map(str, histogram.bounds), "+Inf"]
    return HistogramMetricFamily(
        name,
        text,
        buckets=list(zip(bounds, accumulate(histogram.counts), strict=True)),
        sum_value=histogram.total,
    )
