"""What people type. One small module per command."""

from __future__ import annotations

import logging

import typer

from bridge import __version__
from bridge.cli import check, dead, disconnect, explain, export, lint, migrate, publish, serve, tail, token

app = typer.Typer(
    name="cloudphone-bridge",
    help="Gateway from RabbitMQ to the browser.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Gateway from RabbitMQ to the browser."""


app.command("serve")(serve.serve)
app.command("check")(check.check)
app.command("migrate")(migrate.migrate)
app.command("token")(token.token)
app.command("publish")(publish.publish)
app.command("disconnect")(disconnect.disconnect)
app.command("tail")(tail.tail)
app.command("explain")(explain.explain)
app.command("lint")(lint.lint)
app.add_typer(dead.app, name="dead")
app.add_typer(export.app, name="export")


def main() -> None:
    """Run the command line."""
    # A command says in its own words what is wrong with the broker; `serve` sets logging up anew.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    app()
