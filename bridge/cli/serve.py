"""`bridge serve`: run a node until a signal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Annotated

import structlog
import typer

from bridge import __version__, is_compiled
from bridge.app import Bridge
from bridge.cli.common import exit_with_problems, settings_or_exit
from bridge.collector import collecting
from bridge.logs import configure
from bridge.settings import Settings, SettingsError
from bridge.workers import Workers

log = structlog.get_logger()


def serve(
    workers: Annotated[int, typer.Option(help="Run so many nodes behind one port.", min=1, max=256)] = 1,
) -> None:
    """Run the bridge until SIGTERM or Ctrl-C; a second signal leaves at once."""
    settings = settings_or_exit()
    pretty = settings.log.format == "pretty" or (
        settings.log.format == "auto" and settings.development and sys.stderr.isatty()
    )
    configure(level=settings.log.level, pretty=pretty)
    try:
        asyncio.run(_serve(settings) if workers == 1 else _serve_many(settings, workers))
    except SettingsError as exc:
        exit_with_problems(exc)
    except OSError as exc:
        log.error("app.start_failed", reason=str(exc), remedy="free the port, or set ws.port / admin.port")  # noqa: TRY400 - the reason says it all
        raise typer.Exit(os.EX_UNAVAILABLE) from None


async def _serve_many(settings: Settings, count: int) -> None:
    if settings.event_log.kind != "stream":
        raise SettingsError(
            ["BRIDGE_EVENT_LOG__KIND (in the file: event_log.kind): workers share a log; set it to stream"]
        )
    workers = Workers(settings, count)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, workers.stop, signal.SIGTERM)
    await workers.run()
    log.info("workers.stopped")


async def _serve(settings: Settings) -> None:
    asked = asyncio.Event()

    def on_signal(number: int) -> None:
        if asked.is_set():
            log.warning("app.leaving_at_once", signal=signal.Signals(number).name)
            # Not sys.exit: a second signal says that an orderly way out takes too long.
            os._exit(128 + number)
        log.info("app.stopping", signal=signal.Signals(number).name)
        asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    bridge = Bridge(settings)
    log.info(
        "app.starting",
        version=__version__,
        compiled=is_compiled(),
        mode=settings.mode,
        domains=list(bridge.catalogue.domains),
    )
    async with bridge.serving() as ports, collecting(bridge.stats.sockets_closed):
        log.info("app.serving", public_port=ports.public, admin_port=ports.admin)
        await asked.wait()
    log.info("app.stopped")
