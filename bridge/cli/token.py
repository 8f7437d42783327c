"""`bridge token`: make a token for development and for trying things out."""

from __future__ import annotations

from typing import Annotated

import typer

from bridge.auth.tokens import TokenVerifier, make_token
from bridge.cli.common import exit_with_problems, fail, settings_or_exit
from bridge.core.errors import TokenRejected
from bridge.core.rooms import parse_room, role_room, user_room
from bridge.keyring import token_rules_of
from bridge.settings import SettingsError

HOURS_MAX = 87_600.0  # Ten years. A token should not outlive whoever has it.


def token(
    user: Annotated[str, typer.Option(help="The user the token names.")],
    role: Annotated[list[str] | None, typer.Option(help="A role; may be given several times.")] = None,
    room: Annotated[
        list[str] | None, typer.Option(help="A room or pattern, such as device:*; repeatable.")
    ] = None,
    hours: Annotated[float, typer.Option(help="How long it is valid.", min=0.001, max=HOURS_MAX)] = 24.0,
) -> None:
    """Print a token, signed with the first key of the settings that can sign."""
    if parse_room(user_room(user)) is None:
        fail(f"--user {user!r}: a user id has 1 to 128 characters without white space, comma or *")
    for name in role or ():
        if parse_room(role_room(name)) is None:
            fail(f"--role {name!r}: a role has 1 to 128 characters without white space, comma or *")
    try:
        rules = token_rules_of(settings_or_exit())
        made = make_token(rules, user_id=user, roles=role or (), rooms=room or (), seconds=hours * 3600)
        TokenVerifier(rules).verify(made)
    except SettingsError as exc:
        exit_with_problems(exc)
    except LookupError:
        fail("no key can sign: set JWT_SECRET, or name the issuer's private key under [[auth.key]]")
    except TokenRejected as rejected:
        fail(f"a bridge with these settings would reject the token: {rejected.message}")
    typer.echo(made)
