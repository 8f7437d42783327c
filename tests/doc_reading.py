"""Reads what the documents say, and what the code says, for tests/test_docs.py to compare."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def read(name: str) -> str:
    """Return the text of a file."""
    return (ROOT / name).read_text(encoding="utf-8")


def section(name: str, title: str) -> str:
    """Return what stands under a heading, down to the next one of its rank or above."""
    level = title.partition(" ")[0]
    _, found, rest = f"\n{read(name)}".partition(f"\n{title}\n")
    assert found, f"{name} has no heading {title!r}"
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str, columns: int = 0) -> list[list[str]]:
    """Return the cells of a text's tables without their heads; only of rows with so many, if given."""
    tables = re.findall(r"^\|.*\n\|[-|]+\n((?:\|.*\n?)*)", text, flags=re.MULTILINE)
    lines = "".join(tables).splitlines()
    found = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [row for row in found if not columns or len(row) == columns]


def words(text: str) -> set[str]:
    """Return what stands in back-ticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


def blocks(name: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(name), flags=re.MULTILINE | re.DOTALL)


def calls(function: str) -> Iterator[tuple[ast.Call, str]]:
    """Yield every call of a function or method in bridge/, by its dotted name, with its file."""
    for path in sorted((ROOT / "bridge").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.fullmatch(function, ast.unparse(node.func)):
                yield node, path.name


def first_words(function: str) -> set[str]:
    """Return the first argument of each such call, where it is a word."""
    return {
        call.args[0].value
        for call, _ in calls(function)
        if call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    }
