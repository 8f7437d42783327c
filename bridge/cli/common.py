"""What the commands share: settings or a clear refusal, and a connection to the bus."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import typer
from rich.console import Console

from bridge.amqp.link import CONNECT_ERRORS, RETRYABLE, Channel, Connection, connect
from bridge.amqp.publisher import Publisher, PublishFailedError
from bridge.amqp.topology import Topology, TopologyError
from bridge.app import catalogue_of, topology_of
from bridge.core.catalogue import Catalogue
from bridge.core.errors import cause_of
from bridge.settings import Settings, SettingsError, load

T = TypeVar("T")

# Into a file or pipe nothing is to be wrapped: others will cut and search it.
PIPE_WIDTH = 200
console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
errors = Console(stderr=True, highlight=False)


def settings_or_exit() -> Settings:
    """Return the settings; print every problem and exit with status 78 (EX_CONFIG) if there is one."""
    try:
        return load()
    except SettingsError as exc:
        exit_with_problems(exc)


def catalogue_or_exit(settings: Settings) -> Catalogue:
    """Return the catalogue, or exit as above."""
    try:
        return catalogue_of(settings)
    except SettingsError as exc:
        exit_with_problems(exc)


def exit_with_problems(exc: SettingsError) -> NoReturn:
    """Print every problem with the settings and exit with status 78."""
    errors.print(f"[red]The settings have {len(exc.problems)} problem(s):[/red]")
    for problem in exc.problems:
        errors.print(f"  • {problem}", markup=False, soft_wrap=True)
    raise typer.Exit(os.EX_CONFIG)


def visible(text: str) -> str:
    """Return text of a stranger's as a terminal can show it: control characters do nothing there."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text
    )


def fail(message: str) -> NoReturn:
    """Print what went wrong and exit with status 1."""
    errors.print(visible(message), style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; trouble with the broker becomes one line, Ctrl-C an exit."""
    try:
        return asyncio.run(work)
    except typer.Exit:
        raise
    except (PublishFailedError, TopologyError) as exc:
        fail(str(exc))
    except RETRYABLE as exc:
        fail(f"RabbitMQ: {cause_of(exc)}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@dataclass(frozen=True, slots=True)
class Bus:
    """An open connection to the event bus."""

    topology: Topology
    connection: Connection
    channel: Channel
    publisher: Publisher


@asynccontextmanager
async def bus(settings: Settings) -> AsyncIterator[Bus]:
    """Connect to RabbitMQ for the length of a command."""
    topology = topology_of(settings, catalogue_or_exit(settings))
    try:
        connection = await connect(settings.amqp.url.get_secret_value(), "bridge command")
    except CONNECT_ERRORS as exc:
        fail(f"RabbitMQ does not answer ({cause_of(exc)}). Try: python -m bridge check")
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        yield Bus(topology, connection, channel, Publisher(topology.names, channel))
