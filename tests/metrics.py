"""What /metrics can show, and what alerts and pictures read of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import promql_parser as promql
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from bridge.admin.metrics import BridgeCollector, DomainGauge, NodeGauges
from bridge.core.stats import Stats
from tests.doc_reading import ROOT

ALERTS = ROOT / "config" / "prometheus" / "alerts.yml"
TOLD_BY_PROMETHEUS = {"up"}


@cache
def families() -> Sequence[Metric]:
    """Return every metric that /metrics can show, each with a sample."""
    stats = Stats()
    stats.dead_letters_waiting = 0
    for value in vars(stats).values():
        if isinstance(value, dict):  # A counter by labels; what they are does not matter here.
            value["a", "b", "c"] = 1
    domain = DomainGauge("quota", attached=True, consumers=1, waiting=1, oldest_unacked_seconds=0)
    names: dict[str, Any] = dict.fromkeys(NodeGauges.__dataclass_fields__, 0)
    gauges = NodeGauges(**names | {"domains": (domain,)})
    registry = CollectorRegistry()
    registry.register(BridgeCollector(stats, lambda: gauges))
    return list(registry.collect())


@cache
def metrics() -> Mapping[str, set[str]]:
    """Return every sample's name that /metrics can show, with its labels."""
    found: dict[str, set[str]] = {}
    for family in families():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@cache
def rules() -> list[dict[str, Any]]:
    """Return every alert."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def parts(node: Any) -> Iterator[Any]:  # noqa: ANN401 - the parser's classes have no common one
    """Yield an expression and everything that it is made of."""
    yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        inner = getattr(node, name, None)
        if inner is not None:
            yield from parts(inner)
    for inner in getattr(node, "args", ()):
        yield from parts(inner)


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric that an expression reads, with the labels that it asks for."""
    for part in parts(promql.parse(expression)):
        if isinstance(part, promql.VectorSelector):
            assert part.name is not None
            yield part.name, {matcher.name for matcher in part.matchers.matchers}
