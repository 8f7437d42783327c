"""An OpenTelemetry collector for tests: takes spans by OTLP over HTTP, and keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class KeptSpan:
    """One span as it came. Ids are hexadecimal."""

    service: str
    node: str  # service.instance.id
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]  # Ids of the spans that are linked.
    attributes: dict[str, Any]
    seconds: float
    failed: bool


class Collector:
    """Where spans go."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[KeptSpan] = []

    def named(self, name: str) -> list[KeptSpan]:
        """The spans of one name."""
        return [span for span in self.spans if span.name == name]

    async def take(self, request: web.Request) -> web.Response:
        """Take an export."""
        export = ExportTraceServiceRequest.FromString(await request.read())
        for resource_spans in export.resource_spans:
            resource = _plain(resource_spans.resource.attributes)
            for scope_spans in resource_spans.scope_spans:
                self.spans += [_kept(resource, span) for span in scope_spans.spans]
        return web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Listen on a free port of loopback for the length of the context."""
    collector = Collector()
    app = web.Application()
    app.add_routes([web.post("/v1/traces", collector.take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield collector
    finally:
        await runner.cleanup()


def _kept(resource: dict[str, Any], span: Any) -> KeptSpan:  # noqa: ANN401 - protobuf's
    return KeptSpan(
        service=resource["service.name"],
        node=resource["service.instance.id"],
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=tuple(link.span_id.hex() for link in span.links),
        attributes=_plain(span.attributes),
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
    )


def _plain(attributes: Any) -> dict[str, Any]:  # noqa: ANN401 - protobuf's
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
