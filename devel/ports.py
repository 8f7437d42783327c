"""Ports that are free now, and that stay ours over a restart."""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
EPHEMERAL_FIRST_DEFAULT = 32768
LOWEST = 20000
TRIES_MAX = 1000


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen there at this moment. Another may be quicker: be ready to retry."""
    with socket.socket() as probe:
        # As servers do: connections of a former one that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return different ports that are free on loopback.

    Not by binding port 0: that gives one from the range that outgoing connections take theirs from too,
    and a broker that restarts could find its port taken by a client that is looking for it.
    """
    highest = _ephemeral_first() - 1
    found: list[int] = []
    for _ in range(TRIES_MAX):
        port = random.randint(LOWEST, highest)  # noqa: S311 - chance keeps parallel runs apart, no more
        if port not in found and is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports between {LOWEST} and {highest}")


def _ephemeral_first() -> int:
    """Return where the range for outgoing connections starts."""
    try:
        first = int(EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return EPHEMERAL_FIRST_DEFAULT
    return first if first > LOWEST + TRIES_MAX else EPHEMERAL_FIRST_DEFAULT
