"""Peers: what others would run in the bridge's place, each the ordinary use of its library.

    __init__     a peer, and whether it is installed here
    table        the peers that fan out, and how a client greets each
    openings     what a client says to each between the upgrade and the first event
    *.cjs        peers for Node; *.py with an `obey` those for Python, run in an environment of their own
    driver       servers that speak no lines (RabbitMQ, nginx, NATS, Centrifugo), started and fed by a program

Every peer is a program that speaks the lines of `servers.lines`; `make bench-peers` installs what
they need. A peer that is not there is named, with what to do; no case goes on as if it had never been.
"""

from __future__ import annotations

import importlib.machinery
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.children import PROJECT, Child

PEERS = PROJECT / "benchmarks" / "peers"
NODE_MODULES = PEERS / "node_modules"
PEERS_VENV = PROJECT / ".venv-peers"
REMEDY = "`make bench-peers` installs it"


def installed() -> str | None:
    """Say that nothing is missing."""
    return None


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that can be started beside the bridge. It gets one argument, in JSON."""

    name: str
    command: tuple[str, ...]
    missing: Callable[[], str | None] = installed

    def available(self) -> str | None:
        """Return None if it can be started here, else what is lacking, and the remedy."""
        return self.missing()

    def start(self, **argument: object) -> Child:
        """Start it. Its first answer has its `pids`, and its `port` if it listens."""
        return Child(self.name, [*self.command, json.dumps(argument)])


def node_peer(name: str, program: str, *packages: str) -> Peer:
    """Return a peer for Node: a file of this folder that requires these packages."""

    def missing() -> str | None:
        if shutil.which("node") is None:
            return "Node (the program `node`): install version 18 or newer, then run `make bench-peers`"
        absent = [package for package in packages if not (NODE_MODULES / package).is_dir()]
        return f"{', '.join(absent)} for Node: {REMEDY}" if absent else None

    # Memory is read after a collection, so it has to be allowed to ask for one.
    return Peer(name, ("node", "--expose-gc", str(PEERS / program)), missing)


def python_peer(name: str, module: str, *packages: str) -> Peer:
    """Return a peer for Python: a module of this folder, in an environment without the bridge."""
    python = PEERS_VENV / "bin" / "python"

    def missing() -> str | None:
        if not python.exists():
            return f"the environment .venv-peers: {REMEDY}"
        folders = [str(folder) for folder in PEERS_VENV.glob("lib/python*/site-packages")]
        absent = [
            package for package in packages if not importlib.machinery.PathFinder.find_spec(package, folders)
        ]
        return f"{', '.join(absent)} for Python: {REMEDY}" if absent else None

    return Peer(name, (str(python), "-m", f"benchmarks.peers.{module}"), missing)


def driven_peer(name: str, module: str, missing: Callable[[], str | None] = installed) -> Peer:
    """Return a peer that a program of ours starts and feeds; its `pids` are those of the server alone."""
    return Peer(name, (sys.executable, "-m", f"benchmarks.peers.{module}"), missing)
