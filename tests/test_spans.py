"""Spans about events: what they say, what they belong to, and that they never hold anything up."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from bridge import tracing
from bridge.core.delivery import Delivery
from bridge.core.entry import Entry, EventKey, Logged
from bridge.core.errors import Reason, Refused
from bridge.core.policy import Policy
from bridge.core.tracecontext import ids_of
from bridge.core.verdict import Fate, Verdict
from bridge.settings import SettingsError, load
from bridge.spans import EventSpans
from bridge.tracing import Tracing
from tests.commands import environment
from tests.eventually import eventually

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE_ID, PARENT_ID = ids_of(TRACE)
DELIVERY = Delivery("quota.updated", b"{}", 1_000.0, 7, message_id="m-1")
TAKEN = Verdict(Fate.LOGGED, "quota.updated", "m-1", TRACE)


class StuckExporter(SpanExporter):
    """An exporter whose collector does not answer until it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.exported = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait, and count."""
        self.go_on.wait(10)
        self.exported += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is to be closed."""


def logged(trace: str = TRACE) -> Logged:
    """Return an entry of the log."""
    key = EventKey("quota.updated", "m-1")
    return Logged(9, Entry(key, ("user:u1",), Policy.CONFLATE, "k", 999.0, None, b"{}", trace))


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Where the spans of `spans` come out at once."""
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> EventSpans:
    """The spans of a node."""
    return EventSpans("events", "bridge", SimpleSpanProcessor(exporter))


def test_taken_in(spans: EventSpans, exporter: InMemorySpanExporter) -> None:
    """The span of a delivery is a consumer's, a child of the publisher's and linked to it."""
    spans.settled("quota", DELIVERY, TAKEN, Fate.LOGGED)

    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind) == ("process bridge.quota", SpanKind.CONSUMER)
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id, span.parent.is_remote) == (TRACE_ID, PARENT_ID, True)
    assert [(link.context.trace_id, link.context.span_id) for link in span.links] == [(TRACE_ID, PARENT_ID)]
    assert span.start_time == 1_000 * 10**9
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "events:quota.updated:bridge.quota",
        "messaging.rabbitmq.destination.routing_key": "quota.updated",
        "messaging.rabbitmq.message.delivery_tag": 7,
        "messaging.message.body.size": 2,
        "messaging.message.id": "m-1",
        "bridge.domain": "quota",
        "bridge.event_type": "quota.updated",
        "bridge.fate": "logged",
    }


def test_refused(spans: EventSpans, exporter: InMemorySpanExporter) -> None:
    """The span of a dead letter failed, with the reason and without the text, which may quote a payload."""
    refused = Refused(Reason.BAD_FIELD, "amount is 'canary'", field="amount")

    spans.settled("quota", DELIVERY, replace(TAKEN, fate=Fate.DEAD, refused=refused), Fate.DEAD)

    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "bad_field"
    assert "canary" not in span.to_json()


def test_begun_here(spans: EventSpans, exporter: InMemorySpanExporter) -> None:
    """Of a trace that was begun here the delivery's span is the root; what follows is its child."""
    spans.settled("quota", DELIVERY, replace(TAKEN, trace_begun=True), Fate.LOGGED)
    spans.handed_out(logged(), sockets=2, began_at=1_000.0, written_at=1_000.5)
    spans.settled("quota", DELIVERY, TAKEN, Fate.LOGGED)

    root, child, other = exporter.get_finished_spans()
    assert root.context is not None
    assert (root.parent, root.links) == (None, ())
    assert (root.context.trace_id, root.context.span_id) == (TRACE_ID, PARENT_ID)
    assert child.parent is not None
    assert child.parent.span_id == PARENT_ID
    assert other.context is not None
    assert other.context.span_id != PARENT_ID


def test_handed_out(spans: EventSpans, exporter: InMemorySpanExporter) -> None:
    """The span of a fan-out says to how many sockets, and how long after the publisher's own time."""
    spans.handed_out(logged(), sockets=3, began_at=1_000.0, written_at=1_000.25)

    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind) == ("fan out", SpanKind.INTERNAL)
    assert (span.start_time, span.end_time) == (1_000 * 10**9, 1_000.25 * 10**9)
    assert span.attributes == {
        "bridge.event_type": "quota.updated",
        "bridge.offset": 9,
        "bridge.sockets": 3,
        "bridge.publish_to_socket_seconds": 1.25,
        "messaging.message.id": "m-1",
    }


async def test_a_collector_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be exported spans take no time, as many are kept as may be, and it can stop."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    exporter = StuckExporter()
    spans = EventSpans("events", "bridge", BatchSpanProcessor(exporter))
    began = time.monotonic()

    for _ in range(500):
        spans.settled("quota", DELIVERY, TAKEN, Fate.LOGGED)
    await spans.stop(seconds_max=0.1)

    assert time.monotonic() - began < 5
    assert exporter.exported == 0
    exporter.go_on.set()
    await eventually(lambda: exporter.exported, "what is left")
    assert exporter.exported <= 8 + 4


async def test_off_by_default() -> None:
    """Unless the settings say so, no trace is begun and no span is made, and stopping has nothing to do."""
    off = Tracing(load(environment("amqp://localhost", "bridge")))

    await off.stop(seconds_max=0.0)

    assert (off.starter, off.spans) == (None, None)


def test_spans_without_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that are on without the extra are refused at start, with what to install."""
    settings = load(environment("amqp://localhost", "bridge", BRIDGE_TRACING__SPANS="true"))
    monkeypatch.setattr(tracing, "_NEEDED", ("no_such_package.inside",))

    with pytest.raises(
        SettingsError, match=r"BRIDGE_TRACING__SPANS .* pip install 'cloudphone-bridge\[otel\]'"
    ):
        Tracing(settings)


def test_a_variable_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a variable of OpenTelemetry's that contradicts another."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")

    with pytest.raises(
        SettingsError, match=r"tracing\.spans: an OTEL_… variable cannot be: .*max_queue_size"
    ):
        Tracing(load(environment("amqp://localhost", "bridge", BRIDGE_TRACING__SPANS="true")))
