"""docs/troubleshooting.md has an entry for whatever can be said to somebody who is looking for the cause."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bridge.core.close import CATALOGUE
from tests.doc_reading import calls, read, rows, section

PAGE = "docs/troubleshooting.md"
CHECKS = ("bridge/cli/check.py", "bridge/store/checking.py")
CLOSES_FROM_OUTSIDE = {1002, 1006}  # By the library, and by nobody.
LETTERS_MIN = 6  # A text with fewer is made of what others say.


def text_of(node: ast.AST) -> str | None:
    """Return a literal text with … for what is put in; None for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(value) or "…" for value in values)
    return None


def texts(node: ast.AST) -> Iterator[str]:
    """Yield the literal texts of an expression; of a dictionary only its values."""
    if (text := text_of(node)) is not None:
        yield text
        return
    for child in node.values if isinstance(node, ast.Dict) else ast.iter_child_nodes(node):
        yield from texts(child)


def remedies() -> set[str]:
    """Return every remedy that `check` can give."""
    found: set[str] = set()
    for file in CHECKS:
        for node in ast.walk(ast.parse(read(file))):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]) if "remed" in name.lower():
                    found |= set(texts(node.value))
                case ast.Call(func=ast.Name(id="Finding" | "DatabaseFinding"), args=[_, _, remedy]):
                    found |= set(texts(remedy))
                case ast.FunctionDef(name="_remedy_of"):
                    returned = [each for each in ast.walk(node) if isinstance(each, ast.Return)]
                    found |= {text for each in returned if each.value for text in texts(each.value)}
    for node in ast.walk(ast.parse(read("bridge/store/migrating.py"))):
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "trouble_with_schema":
            found |= {text.rpartition(": ")[2] for text in texts(node) if text.startswith("the tables")}
    return {text for text in found if is_worded(text)}


def is_worded(text: str) -> bool:
    """Tell whether a text says something by itself, and is not made of what others say."""
    return sum(letter.isalpha() for letter in text) >= LETTERS_MIN


def first_cells(title: str) -> str:
    """Return what stands in the first column of the tables under a heading."""
    return " ".join(row[0] for row in rows(section(PAGE, title)))


def test_remedies() -> None:
    """Each remedy of `check` has its entry, word for word, and no entry is of none."""
    entries = [row for row in rows(section(PAGE, "## What check says"), columns=3) if row[2]]
    shown = {row[1].strip("`") for row in entries}
    found = remedies()

    assert len(found) > 15
    assert found <= shown
    all_well = rows(section(PAGE, "## What check says").partition("Lines with ✓")[2])
    assert shown - found == {row[1].strip("`") for row in all_well} & shown


def test_parts_of_check() -> None:
    """Each part that `check` can find something wrong with, or worth telling, is named."""
    named = {
        part
        for function in ("Finding", "DatabaseFinding", "_of_query")
        for call, _ in calls(function)
        for part in texts(call.args[0])
    }
    shown = first_cells("## What check says")

    assert len(named) > 8
    assert [part for part in named if f"`{part}`" not in shown] == []


def test_parts_of_readyz() -> None:
    """Each part of /readyz has its entry."""
    parts = {text for call, _ in calls("Health") if call.args and (text := text_of(call.args[0]))}
    shown = first_cells("## What readyz says")

    assert {"node", "topology", "database", "inbox"} <= parts
    assert [part for part in parts if f"`{part}`" not in shown] == []


def test_close_codes() -> None:
    """Each close code has its entry, and no other."""
    page = section(PAGE, "## A client is refused or closed")
    table = rows(page[page.index("| close code") :])
    codes = {int(code) for row in table for code in row[0].split(", ") if code.isdigit()}

    assert codes == {reason.code for reason in CATALOGUE} | CLOSES_FROM_OUTSIDE


def test_reasons_of_closes() -> None:
    """Each reason that a close frame can have is there, as far as it is ours to word."""
    shown = section(PAGE, "## A client is refused or closed")
    reasons = {text for call, _ in calls(r".*\.because") if (text := text_of(call.args[0]))}

    assert len(reasons) > 8
    assert [text for text in reasons if is_worded(text) and text not in shown] == []
