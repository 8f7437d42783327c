"""`bridge publish`: put an event on the bus by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

import typer

from bridge.cli.common import bus, catalogue_or_exit, console, errors, fail, run, settings_or_exit, visible
from bridge.core.by_hand import event_by_hand, judge
from bridge.core.catalogue import Catalogue
from bridge.core.delivery import Delivery
from bridge.core.errors import Refused
from bridge.core.examples import published
from bridge.core.explain import find_type
from bridge.core.lint import UNDECLARED, Finding, Linter
from bridge.core.times import iso_utc
from bridge.settings import Settings


def publish(
    event_type: Annotated[
        str, typer.Argument(metavar="TYPE", help="The routing key, such as quota.updated.")
    ],
    data: Annotated[str, typer.Argument(help="The payload as JSON; - reads it from standard input.")] = "{}",
    user: Annotated[str | None, typer.Option(help="Sets userId.")] = None,
    message_id: Annotated[str | None, typer.Option(help="The AMQP message_id; a new one by default.")] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Start from the type's example payload.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Publish although the bridge would refuse it.")
    ] = False,
) -> None:
    """Publish one event to the exchange, after checking it as the bridge would."""
    settings = settings_or_exit()
    catalogue = catalogue_or_exit(settings)
    now = datetime.now(UTC)
    payload = _example(catalogue, event_type, now) if example else {}
    given = _given(data)
    if (user is not None or example) and not given.keys().isdisjoint({"pattern", "specversion"}):
        fail(
            "--user and --example are for a payload that is not wrapped; write userId and the rest into data"
        )
    payload |= given
    if user is not None:
        payload["userId"] = user
    try:
        delivery = event_by_hand(event_type, payload, now=now, message_id=message_id or uuid4().hex)
    except ValueError as exc:
        fail(str(exc))
    verdict = judge(catalogue, delivery, body_bytes_max=settings.ingest.body_bytes_max)
    for finding in _undeclared(catalogue, delivery, settings):
        errors.print(visible(f"warning: {finding.message}; {finding.remedy}"), markup=False, soft_wrap=True)
    if verdict.refused is not None and not force:
        fail(f"The bridge would refuse this: {verdict.refused.message}. Publish it anyway with --force.")
    run(send(settings, delivery))
    said = visible(f"published {event_type}, message_id {delivery.message_id}")
    console.print(said, markup=False, soft_wrap=True)
    for entry in verdict.entries:
        rooms = ", ".join(entry.targets) or "no room"
        console.print(visible(f"  {entry.key.event_type} → {rooms}"), markup=False, soft_wrap=True)
    if verdict.refused is not None:
        said = visible(f"  it will be dead-lettered: {verdict.refused.message}")
        errors.print(said, markup=False, soft_wrap=True)


def _undeclared(catalogue: Catalogue, delivery: Delivery, settings: Settings) -> Iterator[Finding]:
    """Yield what `lint` would say of fields that will not leave the bridge."""
    body_bytes_max = settings.ingest.body_bytes_max
    linter = Linter(
        catalogue,
        lambda one: judge(catalogue, one, body_bytes_max=body_bytes_max),
        body_bytes_max=body_bytes_max,
        routing_key=delivery.routing_key,
    )
    found = linter.lint(delivery.body.decode(), by_line=False).findings
    return (finding for finding in found if finding.reason == UNDECLARED)


def _example(catalogue: Catalogue, event_type: str, now: datetime) -> dict[str, Any]:
    """Return the example of an event type, as if it happened now; exit if there is no such type."""
    try:
        return published(find_type(catalogue, event_type), timestamp=iso_utc(now))
    except Refused as refused:
        fail(refused.message)


def _given(data: str) -> dict[str, Any]:
    """Return the payload that was typed, or exit."""
    try:
        given = json.loads(sys.stdin.read() if data == "-" else data)
    except (ValueError, RecursionError) as exc:
        fail(f"the payload is not JSON: {exc}")
    if not isinstance(given, dict):
        fail("the payload must be a JSON object")
    return given


async def send(settings: Settings, delivery: Delivery) -> None:
    """Publish a delivery to the exchange as a microservice would."""
    async with bus(settings) as connected:
        await connected.publisher.publish_event(delivery)
