"""Packages of npm that tests need, in the versions of a lock file, kept for the next run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.doc_reading import ROOT

SECONDS_MAX = 120.0


def installed(source: Path) -> Path:
    """Return a folder with what is in `source` and the packages of its lock file.

    Skips the test, with the reason, where they cannot be had.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not on PATH")
    folder = ROOT / ".run" / "tools" / source.name
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    lock = (source / "package-lock.json").read_bytes()
    done = folder / "installed-lock.json"
    if not done.exists() or done.read_bytes() != lock:
        installing = run(folder, npm, "ci", "--ignore-scripts", "--silent")
        if installing.returncode:
            pytest.skip(f"packages of tests/{source.name} cannot be installed: {installing.stderr.strip()}")
        done.write_bytes(lock)
    return folder


def run(folder: Path, *command: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, to its end."""
    return subprocess.run(
        command, cwd=folder, input=stdin, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
