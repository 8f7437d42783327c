"""What the Grafana dashboard shows, panel by panel. `devel.dashboard` makes the JSON out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NODE = 'job=~"$job",instance=~"$instance"'
DOMAIN = f'{NODE},domain=~"$domain"'
BY_NODE = "{{instance}} {{worker}}"
AGE = f"(time() - process_start_time_seconds{{{NODE}}})"


@dataclass(frozen=True)
class Panel:
    """One picture. `queries` are pairs of an expression and its legend; `unit` is one of Grafana's."""

    title: str
    description: str
    unit: str
    queries: Sequence[tuple[str, str]]
    kind: str = "timeseries"
    width: int = 8
    red_from: float | None = None
    max_at: float | None = None


def rate(metric: str, by: str = "", labels: str = NODE) -> str:
    """Return the sum of a counter's rates."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{{{labels}}}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "") -> str:
    """Return a quantile of a histogram."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share:g}, {rate(f'{metric}_bucket', labels)})"


def worst(metric: str, by: str, labels: str = DOMAIN) -> str:
    """Return the highest value of a gauge that every node tells of the same thing."""
    return f"max by ({by}) ({metric}{{{labels}}})"


OVERVIEW = (
    Panel(
        "Nodes ready",
        "Nodes whose vital parts are all well.",
        "short",
        [(f"sum(bridge_ready{{{NODE}}})", "")],
    ),
    Panel("Sockets", "Open now, on all nodes.", "short", [(f"sum(bridge_sockets{{{NODE}}})", "")]),
    Panel(
        "Users", "Users with a socket, by node, added up.", "short", [(f"sum(bridge_users{{{NODE}}})", "")]
    ),
    Panel(
        "Events taken in",
        "Deliveries settled, of whatever fate.",
        "cps",
        [(rate("bridge_deliveries_total"), "")],
    ),
    Panel(
        "Latency, p99",
        "From the publisher's timestamp to the write to the sockets.",
        "s",
        [(quantile(0.99, "bridge_publish_to_socket_seconds"), "")],
        red_from=1,
    ),
    Panel(
        "Dead letters",
        "That wait for somebody to look at them: python -m bridge dead list.",
        "short",
        [(f"max(bridge_dead_letters_waiting{{{NODE}}})", "")],
        red_from=1,
    ),
)

DELIVERY = (
    Panel(
        "Publish to socket",
        "Once for each event that somebody got. As good as the publishers' clocks.",
        "s",
        [
            (quantile(share, "bridge_publish_to_socket_seconds"), f"p{share * 100:g}")
            for share in (0.5, 0.95, 0.99)
        ],
    ),
    Panel(
        "Frames",
        "Written to sockets, or left out for slow ones.",
        "cps",
        [
            (rate("bridge_frames_sent_total"), "sent"),
            (rate("bridge_frames_conflated_total"), "conflated"),
            (rate("bridge_frames_dropped_total"), "dropped, with a gap notice"),
        ],
    ),
    Panel(
        "Bytes",
        "Of frames; and of those that were compressed, before and after.",
        "Bps",
        [
            (rate("bridge_bytes_sent_total"), "sent"),
            (rate("bridge_compressed_bytes_in_total"), "to be compressed"),
            (rate("bridge_compressed_bytes_out_total"), "compressed"),
        ],
    ),
    Panel(
        "Too old, or too many",
        "Events not sent because they had become worthless, and those left out in a storm.",
        "cps",
        [
            (rate("bridge_log_entries_expired_total"), "expired"),
            (rate("bridge_storm_events_total", "type, outcome"), "storm: {{type}} {{outcome}}"),
        ],
    ),
    Panel(
        "Compressions", "Once for all sockets alike.", "cps", [(rate("bridge_compressions_total"), "frames")]
    ),
)

INPUT = (
    Panel(
        "Deliveries by domain",
        "Settled.",
        "cps",
        [(rate("bridge_deliveries_total", "domain", DOMAIN), "{{domain}}")],
    ),
    Panel(
        "Deliveries by fate",
        "What became of them.",
        "cps",
        [(rate("bridge_deliveries_total", "fate", DOMAIN), "{{fate}}")],
    ),
    Panel(
        "Waiting",
        "Ready in the queue: the lag.",
        "short",
        [(worst("bridge_domain_waiting", "domain"), "{{domain}}")],
    ),
    Panel(
        "Oldest in hand",
        "Age of the oldest delivery that is not acked. Over a few seconds something is stuck.",
        "s",
        [(worst("bridge_domain_oldest_unacked_seconds", "domain"), "{{domain}}")],
        red_from=30,
    ),
    Panel(
        "Consumers",
        "That the broker sees (single active consumer), and ours that are attached.",
        "short",
        [
            (worst("bridge_domain_consumers", "domain"), "{{domain}}: seen"),
            (f"sum by (domain) (bridge_domain_attached{{{DOMAIN}}})", "{{domain}}: attached"),
        ],
    ),
    Panel(
        "Refused",
        "Dead letters by reason, and deliveries given back after a fault of ours.",
        "cps",
        [
            (rate("bridge_dead_letters_total", "domain, reason", DOMAIN), "{{domain}}: {{reason}}"),
            (rate("bridge_requeued_total", "domain", DOMAIN), "{{domain}}: given back"),
        ],
    ),
)

SOCKETS = (
    Panel(
        "Sockets by node",
        "Open now, and the limit.",
        "short",
        [
            (f"bridge_sockets{{{NODE}}}", BY_NODE),
            (f"max(bridge_sockets_max{{{NODE}}})", "limit of a node"),
        ],
    ),
    Panel(
        "Opened and closed",
        "Closes by code; 1006 is without a close frame, 4008 a slow consumer.",
        "cps",
        [
            (rate("bridge_sockets_opened_total"), "opened"),
            (rate("bridge_closes_total", "code"), "closed {{code}}"),
        ],
    ),
    Panel(
        "Turned away",
        "Handshakes refused or dropped, and tokens rejected.",
        "cps",
        [
            (rate("bridge_handshakes_refused_total", "status"), "{{status}}"),
            (rate("bridge_handshakes_dropped_total"), "dropped unheard"),
            (rate("bridge_tokens_rejected_total", "reason"), "token: {{reason}}"),
        ],
    ),
    Panel(
        "Outboxes",
        "How full a node's outboxes are: bytes that wait for slow sockets, of what may.",
        "percentunit",
        [(f"bridge_outbox_bytes{{{NODE}}} / bridge_outbox_bytes_max{{{NODE}}}", BY_NODE)],
        red_from=0.8,
        max_at=1,
    ),
    Panel("Frames waiting", "For slow sockets.", "short", [(f"bridge_outbox_frames{{{NODE}}}", BY_NODE)]),
    Panel(
        "Coming back",
        "Clients that asked for what they had missed, and those that were given all of it.",
        "cps",
        [
            (rate("bridge_resumes_asked_total"), "asked"),
            (rate("bridge_resumes_recovered_total"), "recovered"),
        ],
    ),
    Panel("Commands", "Received.", "cps", [(rate("bridge_commands_total", "op"), "{{op}}")]),
    Panel("Errors", "Sent to clients.", "cps", [(rate("bridge_command_errors_total", "code"), "{{code}}")]),
    Panel(
        "Rooms and users",
        "With a member now; and sockets that wait for an answer.",
        "short",
        [
            (f"sum(bridge_rooms{{{NODE}}})", "rooms"),
            (f"sum(bridge_users{{{NODE}}})", "users"),
            (f"sum(bridge_sockets_waiting{{{NODE}}})", "sockets waiting for an answer"),
        ],
    ),
)

LOG = (
    Panel(
        "Behind the newest node",
        "Offsets; 1,024 are one message of the stream.",
        "short",
        [(f"scalar(max(bridge_log_offset{{{NODE}}})) - bridge_log_offset{{{NODE}}}", BY_NODE)],
    ),
    Panel(
        "Read lag, p99",
        "From the append to the reading, to the second.",
        "s",
        [(quantile(0.99, "bridge_log_read_lag_seconds", "instance, worker"), BY_NODE)],
        red_from=5,
    ),
    Panel(
        "Caught up",
        "1 while a node sees the log as it is.",
        "short",
        [(f"bridge_log_caught_up{{{NODE}}}", BY_NODE)],
    ),
    Panel(
        "Entries",
        "Seen, and messages that could not be read.",
        "cps",
        [
            (rate("bridge_log_entries_total", "instance, worker"), BY_NODE),
            (rate("bridge_log_damaged_total"), "damaged"),
        ],
    ),
    Panel(
        "Passed over",
        "What came from other nodes and was no message of one, or too much.",
        "cps",
        [(rate("bridge_node_messages_ignored_total", "reason"), "{{reason}}")],
    ),
    Panel("Replay window", "By estimate.", "bytes", [(f"bridge_window_bytes{{{NODE}}}", BY_NODE)]),
    Panel(
        "Remembered",
        "Entries in the window, identities of events, and revocations; of the node that has most.",
        "short",
        [
            (f"max(bridge_window_entries{{{NODE}}})", "entries"),
            (f"max(bridge_dedupe_keys{{{NODE}}})", "identities"),
            (f"max(bridge_revocations{{{NODE}}})", "revocations"),
        ],
    ),
    Panel(
        "Forgotten early",
        "Parts of the memory of identities that were full before their time.",
        "cps",
        [(rate("bridge_dedupe_shortened_total", "instance, worker"), BY_NODE)],
    ),
)

PROCESS = (
    Panel(
        "CPU",
        "Cores in use; a node can use one.",
        "percentunit",
        [(f"rate(process_cpu_seconds_total{{{NODE}}}[$__rate_interval])", BY_NODE)],
        red_from=0.9,
    ),
    Panel(
        "Memory",
        "Resident, and mapped.",
        "bytes",
        [
            (f"process_resident_memory_bytes{{{NODE}}}", BY_NODE),
            (f"max(process_virtual_memory_bytes{{{NODE}}})", "mapped, the most"),
        ],
    ),
    Panel(
        "Event loop, p99",
        "How late a task runs. From 0.1 s on a node is overloaded.",
        "s",
        [(quantile(0.99, "bridge_event_loop_lag_seconds", "instance, worker"), BY_NODE)],
        red_from=0.2,
    ),
    Panel(
        "Files",
        "Descriptors in use, of those allowed.",
        "percentunit",
        [(f"process_open_fds{{{NODE}}} / process_max_fds{{{NODE}}}", BY_NODE)],
        red_from=0.9,
        max_at=1,
    ),
    Panel(
        "Connections to RabbitMQ lost",
        "In the last five minutes.",
        "short",
        [(f"increase(bridge_amqp_reconnects_total{{{NODE}}}[5m])", BY_NODE)],
    ),
    Panel(
        "Age and version",
        "Since the start.",
        "s",
        [
            (
                f"{AGE} * on (job, instance, worker) group_left (version) bridge_build_info{{{NODE}}}",
                f"{BY_NODE} {{{{version}}}}",
            )
        ],
    ),
)

DATABASE = (
    Panel(
        "Answers",
        "About users and grants, and where they were found.",
        "cps",
        [(rate("bridge_database_answers_total", "question, source"), "{{question}}: {{source}}")],
    ),
    Panel(
        "Questions",
        "To the database, with the wait for a connection.",
        "s",
        [(quantile(share, "bridge_database_seconds"), f"p{share * 100:g}") for share in (0.5, 0.99)],
    ),
    Panel("Inboxes", "Items.", "cps", [(rate("bridge_inbox_items_total", "outcome"), "{{outcome}}")]),
)

ROWS = (
    ("Delivery", DELIVERY),
    ("Input", INPUT),
    ("Sockets", SOCKETS),
    ("Event log", LOG),
    ("Process", PROCESS),
    ("Database and inboxes", DATABASE),
)
