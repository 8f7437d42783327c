"""What a node does with the traces that events belong to, as the settings say."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from bridge.core.tracecontext import TraceStarter
from bridge.settings import Settings, SettingsError

if TYPE_CHECKING:
    from bridge.spans import EventSpans

FLUSH_SECONDS_MAX = 5.0
_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class Tracing:
    """Begins traces and makes spans; each is None when it is off. Stop it in the end."""

    def __init__(self, settings: Settings) -> None:
        """Make what is on.

        Raises:
            SettingsError: spans are on, and cannot be made: a package is missing, or a variable is wrong.
        """
        require_packages(settings)
        ratio = settings.tracing.begin_ratio
        self.starter = TraceStarter(ratio) if ratio else None
        self.spans: EventSpans | None = None
        if settings.tracing.spans:
            self.spans = _spans_of(settings)

    async def stop(self, *, seconds_max: float) -> None:
        """Export what waits, for so long at most."""
        if self.spans is not None:
            await self.spans.stop(seconds_max=min(seconds_max, FLUSH_SECONDS_MAX))


def require_packages(settings: Settings) -> None:
    """Make sure that what spans need is installed, if they are on. Raises SettingsError."""
    if settings.tracing.spans and not all(map(_is_installed, _NEEDED)):
        problem = (
            "BRIDGE_TRACING__SPANS (in the file: tracing.spans): the packages for spans are not installed: "
            "pip install 'cloudphone-bridge[otel]', or set it to false"
        )
        raise SettingsError([problem])


def _spans_of(settings: Settings) -> EventSpans:
    from bridge.spans import EventSpans  # noqa: PLC0415 - what it imports is an extra, and takes its time

    try:
        return EventSpans(settings.amqp.exchange, settings.amqp.prefix)
    except ValueError as exc:
        raise SettingsError([f"tracing.spans: an OTEL_… variable cannot be: {exc}; correct it"]) from exc


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # Not even the package above it.
        return False
