"""What the kernel says about this machine and this process. Linux only."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from bridge import __version__, is_compiled

CPUCLOCK_SCHED = 2
PACKAGES = ("websockets", "aio-pika", "pydantic", "pyjwt")


class ProcessGoneError(Exception):
    """A process under test has ended."""


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


def cpu_of(pids: Sequence[int]) -> Cpu:
    """Return what other processes have used so far, all their threads together.

    The sum is the kernel's own account, in nanoseconds, and read without the process knowing: a
    process's CPU clock (clock_getcpuclockid(3); its number is made as in the kernel's
    posix-timers_types.h). User and system are apportioned as /proc/<pid>/stat has sampled them.

    Raises:
        ProcessGoneError: one of them has ended.
    """
    user = system = 0.0
    for pid in pids:
        try:
            seconds = time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError as exc:
            raise ProcessGoneError(f"process {pid} has ended") from exc
        user_ticks, system_ticks = int(fields[11]), int(fields[12])
        share = user_ticks / max(1, user_ticks + system_ticks)
        user += seconds * share
        system += seconds * (1 - share)
    return Cpu(user, system)


def resident_bytes_of(pids: Sequence[int]) -> int:
    """Return the resident sets of processes (VmRSS, proc(5)): their own pages and those they share."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def resident_bytes() -> int:
    """Return this process's resident set."""
    return resident_bytes_of([os.getpid()])


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started, and they in turn."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    direct = [int(child) for child in text.split()]
    return [*direct, *(grandchild for child in direct for grandchild in children_of(child))]


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
        # With its path: one that was compiled without profile-guided optimisation takes a sixth longer.
        "python": f"{platform.python_implementation()} {platform.python_version()}, "
        f"{Path(sys.executable).resolve()}",
        "bridge": f"{__version__}, {'compiled' if is_compiled() else 'as its sources are'}",
        **{name: version(name) for name in PACKAGES},
        "load before": f"{os.getloadavg()[0]:.2f}"
        + (" (busy: trust the ratios, not the times)" if is_busy() else ""),
    }
