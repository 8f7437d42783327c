"""A connection with an HS256 token: accept, upgrade, verify, greet. CPU of the server process for each.

Every round opens sockets of as many users, 100 at a time, on one server and then on the other; the window
ends when the last has been greeted. Tokens were signed before. The sockets are closed outside of it.
Node `ws` verifies the token with jsonwebtoken before it upgrades: with the secret as a string, as its
documentation has it, and with a key object, which is several times as fast. The bridge also makes a
session, joins rooms and says where the log is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from benchmarks.children import Child
from benchmarks.contest import OURS, installed, wait_for_sockets
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.load import Plan
from benchmarks.machine import Cpu, cpu_of
from benchmarks.peers.table import WS
from benchmarks.subject import (
    SECRET,
    START_SECONDS_MAX,
    Options,
    opened,
    plan,
    settings,
    start_bridge,
    start_load,
)

SOCKETS, SOCKETS_QUICK = 1_000, 300
ROUNDS, ROUNDS_QUICK = 10, 3
CPU_RATIO_MAX = 1.2
JSONWEBTOKEN = {"Node ws with jsonwebtoken": False, "the same, key object made once": True}


@dataclass(slots=True)
class Greeter:
    """A server, with what its rounds took."""

    name: str
    server: Child
    pids: list[int]
    plan: Plan
    samples: list[tuple[Cpu, float]] = field(default_factory=list)  # Each with its wall time in seconds.
    busy: float = 0.0  # The busiest that its load generators were, in cores.

    def open_all(self) -> tuple[Cpu, float]:
        """Open every socket, then close them; return CPU and seconds until the last was greeted."""
        before = cpu_of(self.pids)
        with start_load(self.plan) as load:
            seen = opened(load)
            seconds, self.busy = float(seen["seconds"]), max(self.busy, seen["busy"])
            taken = cpu_of(self.pids).since(before)
        wait_for_sockets(self.server, 0)
        return taken, seconds

    @property
    def rates(self) -> list[float]:
        """Handshakes per second, one for each round."""
        return [self.plan.sockets / seconds for _, seconds in self.samples]

    @property
    def micros(self) -> list[float]:
        """CPU µs per handshake, one for each round."""
        return [sum(cpu) / self.plan.sockets * 1e6 for cpu, _ in self.samples]

    def details(self) -> dict[str, float]:
        """Return user, system and wall apart, in µs per handshake over all rounds."""
        handshakes = self.plan.sockets * len(self.samples)
        return {
            "user_us": sum(cpu.user for cpu, _ in self.samples) / handshakes * 1e6,
            "system_us": sum(cpu.system for cpu, _ in self.samples) / handshakes * 1e6,
            "wall_us": sum(seconds for _, seconds in self.samples) / handshakes * 1e6,
        }


def run(options: Options) -> list[Figure]:
    """Measure handshakes. Raises ChildError."""
    sockets = SOCKETS_QUICK if options.quick else SOCKETS
    with ExitStack() as stack:
        ours = _enter(stack, OURS, start_bridge(settings()), partial(plan, sockets=sockets))
        peers = [
            _enter(
                stack,
                name,
                entrant.peer.start(secret=SECRET, keyed=keyed),
                partial(entrant.plan, sockets=sockets, secret=SECRET),
            )
            for entrant in installed([WS], options)
            for name, keyed in JSONWEBTOKEN.items()
        ]
        greeters = [ours, *peers]
        for greeter in greeters:
            greeter.open_all()  # Warm up.
        for turn in range(options.rounds(ROUNDS, ROUNDS_QUICK)):
            for greeter in greeters if turn % 2 == 0 else reversed(greeters):
                greeter.samples.append(greeter.open_all())
    options.notes.append(
        "100 handshakes were under way at a time; the load generator used "
        f"{max(greeter.busy for greeter in greeters):.0%} of a core at most"
    )
    return [_figure(ours, peer) for peer in peers] or [_alone(ours)]


def _enter(stack: ExitStack, name: str, server: Child, chosen: Callable[[int], Plan]) -> Greeter:
    stack.enter_context(server)
    ready = server.answer(START_SECONDS_MAX)
    return Greeter(name, server, ready["pids"], chosen(ready["port"]))


def _alone(ours: Greeter) -> Figure:
    details = {ours.name: ours.details()}
    return Figure(
        "handshake with an HS256 token", "µs CPU/handshake", Spread.of(ours.micros), details=details
    )


def _figure(ours: Greeter, peer: Greeter) -> Figure:
    return Figure(
        "handshake with an HS256 token",
        "µs CPU/handshake",
        Spread.of(ours.micros),
        Limit(peer.name, Spread.of(peer.micros)),
        ratios(ours.micros, peer.micros),
        Bar(CPU_RATIO_MAX, "ratio"),
        {ours.name: ours.details(), peer.name: peer.details()},
    )
