"""What the kernel says about this machine and this process. Linux only."""

from __future__ import annotations

import os
import platform
import resource
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from bridge import __version__

PACKAGES = ("websockets", "aio-pika", "pydantic", "pyjwt")


class Cpu(NamedTuple):
    """CPU seconds of this process. The sum is exact; user and system are told apart by sampling."""

    user: float
    system: float

    @classmethod
    def now(cls) -> Cpu:
        """Read what has been used so far, by all threads."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return cls(usage.ru_utime, usage.ru_stime)

    def since(self, earlier: Cpu) -> Cpu:
        """Return what was used in between."""
        return Cpu(self.user - earlier.user, self.system - earlier.system)


def resident_bytes() -> int:
    """Return this process's resident set (VmRSS, proc(5)): its own pages and those it shares."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("/proc/self/status has no VmRSS")


def allow_files() -> int:
    """Raise the limit of open files as far as it goes, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def is_busy() -> bool:
    """Tell whether others use more than a quarter of this machine's cores at the moment."""
    return os.getloadavg()[0] > len(os.sched_getaffinity(0)) / 4


def facts() -> dict[str, str]:
    """Describe where the figures come from."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "cores": f"{len(os.sched_getaffinity(0))} × {models[0] if models else platform.machine()}",
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "bridge": __version__,
        **{name: version(name) for name in PACKAGES},
        "load before": f"{os.getloadavg()[0]:.2f}"
        + (" (busy: trust the ratios, not the times)" if is_busy() else ""),
    }
