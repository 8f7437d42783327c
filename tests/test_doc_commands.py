"""The commands and settings that documents tell people to type are there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from bridge.cli import app
from bridge.settings import Settings
from tests.doc_reading import DOCUMENTS, blocks, read

COMMAND = re.compile(r"python -m bridge ((?:[a-z]+ ?)+)((?: ?(?:--?[a-z-]+|[^\s`&|;)#]+))*)")


def command_of(words: list[str]) -> Any:  # noqa: ANN401 - of the library that typer brings along
    """Return the command that these words begin with, None if there is none."""
    command: Any = typer.main.get_command(app)
    for word in words:
        if not hasattr(command, "commands"):
            break
        command = command.commands.get(word)
    return command


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands(document: Path) -> None:
    """Each `python -m bridge …` in a document is a command, with options that it has."""
    for words, rest in COMMAND.findall(read(str(document))):
        command = command_of(words.split())
        assert command is not None, words
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= options, f"{words}{rest}"


def test_settings_of_the_migration() -> None:
    """The settings in docs/migrating.md are accepted."""
    (text,) = blocks("docs/migrating.md", "toml")
    others = {
        "amqp": {"url": "amqp://localhost"},
        "auth": {"secret": "0" * 64},
        "database": {"url": "postgresql://localhost/app"},
    }

    loaded = Settings.model_validate({**tomllib.loads(text), **others})

    assert set(loaded.grants) == {"device"}
