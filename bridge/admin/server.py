"""The operator port: /livez, /readyz, /metrics, /console."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bridge.admin.console import AddTo, add_notice
from bridge.admin.console_web import BODY_BYTES_MAX
from bridge.core.health import Health, is_ready
from bridge.core.trace import where

log = structlog.get_logger()


_THEIRS = (HttpProcessingError, web.RequestPayloadError, ConnectionError)


class _Faults(logging.Logger):
    """Takes what aiohttp logs: a fault of ours is told without its text, and bad requests not at all.

    Their text quotes the headers, and so tokens; anybody can send any number of them, and each is answered.
    """

    def exception(self, *_: object, exc_info: object = None, **__: object) -> None:
        if isinstance(exc_info, Exception) and not isinstance(exc_info, _THEIRS):
            log.error("admin.failed", error=type(exc_info).__name__, where=where(exc_info))


class AdminServer:
    """Owns the operator port. Start, then stop."""

    def __init__(
        self,
        *,
        health: Callable[[], Sequence[Health]],
        collector: Collector,
        refresh: Callable[[], Awaitable[None]] | None = None,
        console: AddTo = add_notice,
    ) -> None:
        """`health` and `collector` are asked at each request, after `refresh` if there is one.

        `console` adds what is to be below /console.
        """
        self._health = health
        self._refresh = refresh
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        console(app)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
            logger=_Faults("admin", logging.ERROR),
        )

    async def start(self, host: str, port: int, socket: Path | None = None) -> int:
        """Listen on the port, or on a Unix socket instead; return the port (0 for a socket).

        For port 0 that is the one that was free. Raises OSError.
        """
        await self._runner.setup()
        if socket is not None:
            await web.UnixSite(self._runner, str(socket)).start()
            return 0
        await web.TCPSite(self._runner, host, port).start()
        bound: int = self._runner.addresses[0][1]
        log.info("admin.listening", host=host, port=bound)
        return bound

    async def stop(self) -> None:
        """Stop listening. Idempotent."""
        await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        await self._refreshed()
        parts = self._health()
        ready = is_ready(parts)
        body = {
            "ready": ready,
            "degraded": not all(part.ok for part in parts),
            "parts": [asdict(part) for part in parts],
        }
        return web.json_response(
            body, status=200 if ready else 503, dumps=lambda data: json.dumps(data, indent=2)
        )

    async def _metrics(self, request: web.Request) -> web.Response:
        await self._refreshed()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _refreshed(self) -> None:
        if self._refresh is not None:
            await self._refresh()
