"""`bridge export`: the events, for other programs and for people."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from bridge import __version__
from bridge.cli.common import catalogue_or_exit, errors, exit_with_problems
from bridge.core.asyncapi import Deployment, asyncapi_of
from bridge.core.catalogue import Catalogue
from bridge.core.markdown import markdown_of
from bridge.core.schema import schema_of
from bridge.core.typescript import typescript_of
from bridge.settings import Amqp, Auth, Ingest, Settings, SettingsError, load
from bridge.ws.dialects.bridge_v1_schema import DIALECT
from consumers import domains

app = typer.Typer(no_args_is_help=True, help="Write the events for other programs and for people.")

DEFAULT_VHOST = "/"

BuiltIn = Annotated[
    bool, typer.Option("--built-in", help="Leave out the domains of the settings, and need no settings.")
]


@app.command("jsonschema")
def jsonschema(built_in: BuiltIn = False) -> None:
    """Print a JSON Schema (2020-12) that every event satisfies, with one definition for each event type."""
    typer.echo(json.dumps(schema_of(_what(built_in=built_in)[0]), indent=2, ensure_ascii=False))


@app.command("typescript")
def typescript(built_in: BuiltIn = False) -> None:
    """Print a TypeScript module with the type of each event's payload."""
    typer.echo(typescript_of(_what(built_in=built_in)[0]), nl=False)


@app.command("asyncapi")
def asyncapi(built_in: BuiltIn = False) -> None:
    """Print an AsyncAPI 3.0 document: what is published to RabbitMQ, and what is said on a socket."""
    catalogue, deployment = _what(built_in=built_in)
    document = asyncapi_of(catalogue, deployment, DIALECT, version=__version__)
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


@app.command("markdown")
def markdown(built_in: BuiltIn = False) -> None:
    """Print a page about every event: its fields, where it goes, and an example."""
    catalogue, deployment = _what(built_in=built_in)
    typer.echo(markdown_of(catalogue, exchange=deployment.exchange), nl=False)


def _settings_or_exit() -> Settings:
    try:
        return load()
    except SettingsError as exc:
        errors.print("No settings here? --built-in needs none, and leaves out the domains of your settings.")
        exit_with_problems(exc)


def _what(*, built_in: bool) -> tuple[Catalogue, Deployment]:
    """Return the events, and what else the settings decide of the interface."""
    if built_in:
        amqp, ingest, auth = Amqp.model_fields, Ingest.model_fields, Auth.model_fields
        deployment = Deployment(
            exchange=amqp["exchange"].default,
            vhost=DEFAULT_VHOST,
            prefix=amqp["prefix"].default,
            body_bytes_max=ingest["body_bytes_max"].default,
            cookie=auth["cookie_name"].default,
        )
        return Catalogue(domains()), deployment
    settings = _settings_or_exit()
    path = urlsplit(settings.amqp.url.get_secret_value()).path
    deployment = Deployment(
        exchange=settings.amqp.exchange,
        vhost=unquote(path.removeprefix("/")) or DEFAULT_VHOST,
        prefix=settings.amqp.prefix,
        body_bytes_max=settings.ingest.body_bytes_max,
        cookie=settings.auth.cookie_name,
    )
    return catalogue_or_exit(settings), deployment
