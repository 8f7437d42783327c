"""`bridge export`: the events as sockets get them, for those who read them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bridge.cli.common import catalogue_or_exit, settings_or_exit
from bridge.core.catalogue import Catalogue
from bridge.core.schema import schema_of
from bridge.core.typescript import typescript_of
from consumers import domains

app = typer.Typer(no_args_is_help=True, help="Write the events as sockets get them, for other programs.")

BuiltIn = Annotated[
    bool, typer.Option("--built-in", help="Leave out the domains of the settings, and need no settings.")
]


@app.command("jsonschema")
def jsonschema(built_in: BuiltIn = False) -> None:
    """Print a JSON Schema (2020-12) that every event satisfies, with one definition for each event type."""
    typer.echo(json.dumps(schema_of(_catalogue(built_in=built_in)), indent=2, ensure_ascii=False))


@app.command("typescript")
def typescript(built_in: BuiltIn = False) -> None:
    """Print a TypeScript module with the type of each event's payload."""
    typer.echo(typescript_of(_catalogue(built_in=built_in)), nl=False)


def _catalogue(*, built_in: bool) -> Catalogue:
    return Catalogue(domains()) if built_in else catalogue_or_exit(settings_or_exit())
