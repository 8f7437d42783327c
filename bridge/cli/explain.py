"""`bridge explain`: who would get an event, and why or why not."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from bridge.cli.common import catalogue_or_exit, console, fail, settings_or_exit
from bridge.core.access import ASK, AccessRules, Principal
from bridge.core.catalogue import Catalogue, EventType
from bridge.core.errors import Refused
from bridge.core.examples import sample
from bridge.core.rooms import parse_room


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
    event_type = _resolve(catalogue_or_exit(settings), event)
    principal = Principal(user, frozenset(role or ()), tuple(claim or ()))
    rules = AccessRules(frozenset(settings.auth.public_kinds), frozenset(settings.grants))
    decision = rules.decide(principal, room)
    depends = decision.code == ASK
    goes, why_goes = _goes_there(event_type, room)
    automatic = room in principal.own_rooms
    joined = "is in without asking" if automatic else "may be let into" if depends else "may join"
    _line(
        decision.allowed or depends,
        f"user {user} {joined if decision.allowed or depends else 'may not join'} {room}: {decision.why}",
    )
    _line(goes, f"{event_type.name} version {event_type.version} {why_goes}")
    age = event_type.age_seconds_max
    if age is not None:
        _line(True, f"only while it is younger than {age:g} s")
    _line(True, f"if the socket does not keep up: {event_type.overflow.policy.value.replace('_', ' ')}")
    reached = (decision.allowed or depends) and goes
    condition = "" if automatic else " once subscribed"
    condition += " if the query grants the room" if depends else ""
    console.print(f"[bold]{'delivered' + condition if reached else 'not delivered'}[/bold]")
    if not reached:
        raise typer.Exit(1)


def _resolve(catalogue: Catalogue, name: str) -> EventType:
    try:
        event_type = catalogue.resolve(name)
    except Refused as refused:
        fail(refused.message)
    if event_type is None:
        known = ", ".join(sorted(known_type.name for known_type in catalogue.event_types))
        fail(f"there is no event type {name!r}; known: {known}")
    return event_type


def _goes_there(event_type: EventType, room: str) -> tuple[bool, str]:
    """Tell whether the event type goes to rooms of this kind, from its example."""
    wanted = parse_room(room)
    event = sample(event_type)
    kinds = {parsed.kind: parsed for target in event.targets() if (parsed := parse_room(target))}
    rooms = (
        ", ".join(f"{parsed.kind}:…" if parsed.id else parsed.kind for parsed in kinds.values()) or "no room"
    )
    if wanted is None or wanted.kind not in kinds:
        return False, f"goes to {rooms}, not to {room}"
    if wanted.kind == "role" and kinds["role"].id != wanted.id:
        return False, f"goes to role:{kinds['role'].id}, not to {room}"
    return True, f"goes to {rooms}; to {room} when the event names it"


def _line(good: bool, text: str) -> None:
    console.print(f"{'[green]✓[/green]' if good else '[red]✗[/red]'} {escape(text)}", soft_wrap=True)
