"""`bridge tail`: watch what arrives on the bus, and what the bridge makes of it."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import Annotated

import typer
from rich.markup import escape as escape_markup

from bridge.amqp.source import StockSource
from bridge.cli.common import bus, catalogue_or_exit, console, run, settings_or_exit, visible
from bridge.core.by_hand import judge
from bridge.core.delivery import Delivery
from bridge.core.rooms import user_room
from bridge.core.verdict import Fate, Verdict
from bridge.settings import Settings


def tail(
    event_type: Annotated[
        str, typer.Option("--type", help="Show only types like this, such as device.*")
    ] = "*",
    user: Annotated[str | None, typer.Option(help="Show only events that go to this user's room.")] = None,
    count: Annotated[int, typer.Option(help="Stop after so many; 0 goes on.", min=0)] = 0,
) -> None:
    """Print every event as it arrives, with where it goes or why it is refused. Consumes nothing."""
    run(_tail(settings_or_exit(), event_type, user, count))


async def _tail(settings: Settings, pattern: str, user: str | None, count: int) -> None:
    catalogue = catalogue_or_exit(settings)
    shown = 0
    async with bus(settings) as connected:
        await connected.topology.declare(connected.channel)
        # A queue of our own, bound beside the bridge: behind bridge.in it would hide what is unrouted.
        queue = await connected.channel.declare_queue(exclusive=True, auto_delete=True)
        await queue.bind(settings.amqp.exchange, "#")
        source = StockSource(connected.channel, queue.name, prefetch=100)
        await source.start()
        console.print("watching … Ctrl-C ends", style="dim")
        while batch := await source.read():
            for delivery in batch:
                verdict = judge(catalogue, delivery, body_bytes_max=settings.ingest.body_bytes_max)
                if _wanted(delivery, verdict, pattern, user):
                    _show(delivery, verdict)
                    shown += 1
                    if shown == count:
                        return
            await source.ack(batch[-1])


def _wanted(delivery: Delivery, verdict: Verdict, pattern: str, user: str | None) -> bool:
    if not fnmatchcase(verdict.event_type or delivery.routing_key, pattern):
        return False
    return user is None or any(user_room(user) in entry.targets for entry in verdict.entries)


def _show(delivery: Delivery, verdict: Verdict) -> None:
    at = time.strftime("%H:%M:%S", time.localtime(delivery.received_at))
    name = escape(verdict.event_type or delivery.routing_key)
    match verdict.fate:
        case Fate.LOGGED:
            for entry in verdict.entries:
                rooms = escape(", ".join(entry.targets) or "no room")
                event_type = entry.key.event_type
                _line(f"{at} [green]{event_type}[/green] {escape(verdict.event_id)} → {rooms}")
        case Fate.DEAD if verdict.refused is not None:
            why = escape(verdict.refused.message)
            _line(f"{at} [red]{name}[/red] {escape(verdict.event_id)} refused: {why}")
        case _:
            _line(f"{at} [yellow]{name}[/yellow] {escape(verdict.event_id)} {verdict.fate.value}")


def _line(text: str) -> None:
    console.print(text, soft_wrap=True)


def escape(text: str) -> str:
    """Return a stranger's text as plain text, for the terminal and for rich."""
    return escape_markup(visible(text))
