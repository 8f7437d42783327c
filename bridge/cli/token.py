"""`bridge token`: make a token for development and for trying things out."""

from __future__ import annotations

from typing import Annotated

import typer

from bridge.app import token_rules_of
from bridge.auth.tokens import make_token
from bridge.cli.common import fail, settings_or_exit
from bridge.core.rooms import parse_room, role_room, user_room


def token(
    user: Annotated[str, typer.Option(help="The user the token names.")],
    role: Annotated[list[str] | None, typer.Option(help="A role; may be given several times.")] = None,
    room: Annotated[
        list[str] | None, typer.Option(help="A room or pattern, such as device:*; repeatable.")
    ] = None,
    hours: Annotated[float, typer.Option(help="How long it is valid.", min=0.001)] = 24.0,
) -> None:
    """Print a signed token (HS256, with the secret of the settings)."""
    if parse_room(user_room(user)) is None:
        fail(f"--user {user!r}: a user id has 1 to 128 characters without white space, comma or *")
    for name in role or ():
        if parse_room(role_room(name)) is None:
            fail(f"--role {name!r}: a role has 1 to 128 characters without white space, comma or *")
    rules = token_rules_of(settings_or_exit())
    typer.echo(make_token(rules, user_id=user, roles=role or (), rooms=room or (), seconds=hours * 3600))
