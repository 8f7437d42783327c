"""OpenTelemetry spans about the events of sampled traces.

    process bridge.quota   CONSUMER   from the delivery to its ack; linked to the publisher's span
    fan out                INTERNAL   from the log to the sockets; only where somebody got it

Both are children of the publisher's span; a trace that was begun here has the first as its root. Spans are
made when all is over, from times that were noted anyway, so nothing is open across a wait. They go into the
bounded queue of the SDK's BatchSpanProcessor, which drops the oldest and exports from a thread of its own.

Names follow the semantic conventions for messaging and RabbitMQ. This is the only file that imports
OpenTelemetry, and it is imported only if `tracing.spans` is on: the packages are an extra.
"""

from __future__ import annotations

import asyncio
import threading
from uuid import uuid4

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from bridge import __version__
from bridge.core.delivery import Delivery
from bridge.core.entry import Logged
from bridge.core.tracecontext import ids_of
from bridge.core.verdict import Fate, Verdict

log = structlog.get_logger()

OWN_NAME = "cloudphone-bridge"  # Unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES gives another.
_FAILURES = frozenset({Fate.DEAD, Fate.FAILED})


class EventSpans:
    """Makes the spans of one node. Make, use, stop."""

    def __init__(self, exchange: str, prefix: str, processor: SpanProcessor | None = None) -> None:
        """`exchange` is the publishers', `prefix` that of the queues.

        Without a processor, spans are exported by OTLP as the OTEL_… variables say, which are read here.
        """
        self._exchange = exchange
        self._prefix = prefix
        self._ids = _Ids()
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False, id_generator=self._ids)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("bridge", __version__)

    def settled(self, domain: str, delivery: Delivery, verdict: Verdict, fate: Fate) -> None:
        """Make the span of a delivery."""
        queue, routing_key = f"{self._prefix}.{domain}", delivery.routing_key
        attributes: dict[str, AttributeValue] = {
            "messaging.system": "rabbitmq",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": f"{self._exchange}:{routing_key}:{queue}",
            "messaging.rabbitmq.destination.routing_key": routing_key,
            "messaging.rabbitmq.message.delivery_tag": delivery.tag,
            "messaging.message.body.size": len(delivery.body),
            "bridge.domain": domain,
            "bridge.event_type": verdict.event_type,
            "bridge.fate": fate.value,
        }
        if verdict.event_id:
            attributes["messaging.message.id"] = verdict.event_id
        if verdict.refused is not None:
            attributes["error.type"] = verdict.refused.reason.value
        publisher = None if verdict.trace_begun else _context(verdict.traceparent)
        if publisher is None:
            self._ids.preset = ids_of(verdict.traceparent)
        span = self._tracer.start_span(
            f"process {queue}",
            context=None if publisher is None else set_span_in_context(NonRecordingSpan(publisher)),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=() if publisher is None else (Link(publisher),),
            start_time=_nanoseconds(delivery.received_at),
        )
        self._ids.preset = None
        if fate in _FAILURES:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def handed_out(self, logged: Logged, *, sockets: int, began_at: float, written_at: float) -> None:
        """Make the span of one node's fan-out of an event."""
        entry = logged.entry
        publisher = _context(entry.trace)
        span = self._tracer.start_span(
            "fan out",
            context=set_span_in_context(NonRecordingSpan(publisher)),
            attributes={
                "bridge.event_type": entry.key.event_type,
                "bridge.offset": logged.offset,
                "bridge.sockets": sockets,
                "bridge.publish_to_socket_seconds": max(0.0, written_at - entry.occurred_at),
                "messaging.message.id": entry.key.event_id,
            },
            links=(Link(publisher),),
            start_time=_nanoseconds(began_at),
        )
        span.end(_nanoseconds(written_at))

    async def stop(self, *, seconds_max: float) -> None:
        """Export what waits, but not for longer; what is left then is lost. Idempotent."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        # Not asyncio's own threads: the process waits for those, and an exporter can hang.
        threading.Thread(target=shut_down, name="spans", daemon=True).start()
        try:
            async with asyncio.timeout(seconds_max):
                await done.wait()
        except TimeoutError:
            log.warning("tracing.spans_lost", seconds_max=seconds_max)


class _Ids(RandomIdGenerator):
    """Random ids, but those of a trace that was begun here for the span that is its root."""

    def __init__(self) -> None:
        self.preset: tuple[int, int] | None = None  # Set while such a span is made.

    def generate_trace_id(self) -> int:
        return self.preset[0] if self.preset else super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self.preset[1] if self.preset else super().generate_span_id()


def _resource() -> Resource:
    resource = Resource.create({SERVICE_VERSION: __version__, SERVICE_INSTANCE_ID: uuid4().hex})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: OWN_NAME}))
    return resource


def _context(traceparent: str) -> SpanContext:
    """Return the publisher's span. Only sampled traces come here."""
    trace_id, parent_id = ids_of(traceparent)
    return SpanContext(trace_id, parent_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
