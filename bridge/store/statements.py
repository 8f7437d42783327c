"""The SQL of the bridge's own tables: one file for each statement, in the folders beside this module."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

PLACE = "{schema}"
REMOVED = "{removed}"  # Where the end that all sweeps share belongs.


class Migration(NamedTuple):
    """One step from a version of the tables to the next. `sql` has several statements."""

    version: int
    name: str
    sql: str


def quoted(identifier: str) -> str:
    """Return a name as SQL takes it literally (PostgreSQL manual, section 4.1.1)."""
    return '"' + identifier.replace('"', '""') + '"'


def statement(name: str, schema: str) -> str:
    """Return the statement of `sql/{name}.sql`, for tables in this schema."""
    text = _text(name)
    if REMOVED in text:
        text = text.replace(REMOVED, _text("removed").partition("\n")[2])  # Without its comment.
    return text.replace(PLACE, quoted(schema))


def _text(name: str) -> str:
    return files("bridge.store").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def migrations(schema: str) -> list[Migration]:
    """Return all steps, in order; the number before a file's name is the version that it leads to."""
    folder = files("bridge.store").joinpath("migrations")
    found = sorted((file.name, file) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [
        Migration(
            int(name.partition("_")[0]),
            name.removesuffix(".sql"),
            file.read_text(encoding="utf-8").replace(PLACE, quoted(schema)),
        )
        for name, file in found
    ]


def unread_channel(schema: str) -> str:
    """Return the channel on which unread counts are told: the bridge's own, like the schema."""
    return f"{schema}.unread"
