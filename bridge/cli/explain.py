"""`bridge explain`: who would get an event, and why or why not."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from bridge.cli.common import catalogue_or_exit, console, fail, settings_or_exit
from bridge.core.access import AccessRules, Principal
from bridge.core.errors import Refused
from bridge.core.explain import explain as explained, find_type


def explain(
    user: Annotated[str, typer.Option(help="The user.")],
    room: Annotated[str, typer.Option(help="The room, such as device:d7.")],
    event: Annotated[str, typer.Option(help="The event type, such as device.started.")],
    role: Annotated[list[str] | None, typer.Option(help="A role of the user's token; repeatable.")] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(help="An entry of the token's rooms claim, such as device:*; repeatable."),
    ] = None,
) -> None:
    """Say whether this event would reach this user through this room. Exit status 0 if so, 1 if not."""
    settings = settings_or_exit()
    try:
        event_type = find_type(catalogue_or_exit(settings), event)
    except Refused as refused:
        fail(refused.message)
    principal = Principal(user, frozenset(role or ()), tuple(claim or ()))
    rules = AccessRules(frozenset(settings.auth.public_kinds), frozenset(settings.grants))
    explanation = explained(rules, principal, event_type, room)
    for step in explanation.steps:
        mark = "[green]✓[/green]" if step.ok else "[red]✗[/red]"
        console.print(f"{mark} {escape(step.text)}", soft_wrap=True)
    console.print(f"[bold]{explanation.verdict}[/bold]")
    if not explanation.delivered:
        raise typer.Exit(1)
