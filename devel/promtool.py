"""Prometheus' own tool for rules: the one on PATH, else the one in the distribution's package.

The package is unpacked and not installed: it would bring a server that starts by itself.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from devel.errors import DevelError

PACKAGE = "prometheus"
SECONDS_MAX = 120.0


def find_or_unpack(folder: Path) -> Path:
    """Return promtool, after unpacking it into this folder if it is nowhere; it stays there.

    Raises:
        DevelError: it cannot be had.
    """
    if found := shutil.which("promtool"):
        return Path(found)
    tool = folder / "promtool"
    if not tool.exists():
        _unpack(tool)
    return tool


def _unpack(tool: Path) -> None:
    """Put the package's promtool in its place, in one step: another run may want it at the same time."""
    tool.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tool.parent) as scratch:
        try:
            _run("apt-get", "-qq", "download", PACKAGE, folder=scratch)
            (archive,) = Path(scratch).glob("*.deb")
            _run("dpkg-deb", "--extract", str(archive), "content", folder=scratch)
            (Path(scratch) / "content" / "usr" / "bin" / "promtool").rename(tool)
        except (OSError, ValueError, subprocess.SubprocessError) as exc:
            said = exc.stderr.strip() if isinstance(exc, subprocess.CalledProcessError) else str(exc)
            raise DevelError(
                f"There is no promtool here, and no package {PACKAGE} to be had: {said}. Install promtool."
            ) from exc


def _run(*command: str, folder: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=SECONDS_MAX)
