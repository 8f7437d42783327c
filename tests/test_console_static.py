"""The console's files: what is served is ours or named, and nothing in it needs a weaker policy."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tests.doc_reading import ROOT, rows

STATIC = ROOT / "bridge" / "admin" / "static"
VENDORED = STATIC / "vendor"
LINES_MAX = 400
OURS = sorted(path for path in STATIC.rglob("*") if path.is_file() and VENDORED not in path.parents)
MODULES = [path for path in OURS if path.suffix == ".js"]


def name(path: Path) -> str:
    """Return a file's name for people."""
    return path.relative_to(STATIC).as_posix()


def test_vendored_files_are_those_that_are_named() -> None:
    """The notice has every file of others that is served, and its hash; there is a licence with each."""
    listed = {
        cells[0].strip("`"): cells[-1].strip("`") for cells in rows((VENDORED / "NOTICE.md").read_text())
    }
    files = {path for path in VENDORED.rglob("*") if path.is_file() and path.name != "NOTICE.md"}

    assert listed == {
        path.relative_to(VENDORED).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    assert all((folder / "LICENSE").is_file() for folder in VENDORED.iterdir() if folder.is_dir())


def test_version_of_the_charts() -> None:
    """The notice names the version that the vendored file says it is."""
    library = (VENDORED / "uplot" / "uPlot.esm.js").read_text()
    (version,) = set(re.findall(r"uPlot (\d+\.\d+\.\d+)", (VENDORED / "NOTICE.md").read_text()))

    assert f"(v{version})" in library


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules(path: Path) -> None:
    """A module makes no HTML and no code of text, sets no style as text, and imports what is there."""
    text = path.read_text(encoding="utf-8")

    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "cssText",
    ):
        assert word not in text
    for imported in re.findall(r"""(?:from|import)\s+["']([^"']+)["']""", text):
        assert (path.parent / imported).is_file(), imported


@pytest.mark.parametrize("path", OURS, ids=name)
def test_files(path: Path) -> None:
    """Every file fits the limit of lines, and none takes anything from elsewhere."""
    text = path.read_text(encoding="utf-8")

    assert len(text.splitlines()) <= LINES_MAX
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_page() -> None:
    """The page has no script, style or handler within, and everything it names is there."""
    text = (STATIC / "index.html").read_text(encoding="utf-8")

    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    for reference in re.findall(r'(?:href|src)="([^#"]+)"', text):
        assert (STATIC / reference).is_file(), reference
