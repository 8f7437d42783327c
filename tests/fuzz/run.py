"""One run: every target gets its share, and then the node must be as it was."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.auth.tokens import TokenVerifier
from tests.eventually import eventually
from tests.fuzz.mutate import Mutator
from tests.fuzz.targets import CLAIMS, HEADER, TARGETS, sign
from tests.ws.clients import ask, member, numbers
from tests.ws.node import TOKENS, Node, running

ROUNDS = 10
WARM_UP_ROUNDS = 5  # Caches and pools fill at first.
GROWTH_BYTES_MAX = 5_000_000


@dataclass(frozen=True)
class Outcome:
    """What a run has cost."""

    inputs: int
    seconds: float
    grown_bytes: int


def resident_bytes() -> int:
    """Return how much memory this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


async def fuzz(inputs: int, seed: int, tell: Callable[[str], None]) -> Outcome:
    """Give a node so many inputs. Raises AssertionError for anything that must not happen."""
    mutator, started = Mutator(seed), time.monotonic()
    # Caches that fill in a short run, or their filling would look like a leak.
    verify = TokenVerifier(TOKENS, verified_tokens_max=100).verify
    assert verify(sign(json.dumps(HEADER).encode(), json.dumps(CLAIMS).encode())).user_id == "u1"
    before, warm_bytes, given = asyncio.all_tasks(), 0, 0
    changes = {"commands_per_second_max": 10_000.0, "commands_burst_max": 10_000, "mistakes_max": 10_000}
    async with running(**changes, verify=verify, allowed_origins=("https://app.example.com",)) as node:
        async with member(node, "good") as good:
            for number in range(ROUNDS):
                for name, (share, target) in TARGETS.items():
                    count = max(1, round(inputs * share / ROUNDS))
                    await target(node, mutator, count)
                    _check(node, f"{name} in round {number}")
                    given += count
                if number == WARM_UP_ROUNDS - 1:
                    warm_bytes = resident_bytes()
                tell(f"{given} inputs, {resident_bytes() / 1e6:.1f} MB")
            await eventually(lambda: len(node.server.connections) == 1, "all others are gone")
            node.publish(1)
            assert await numbers(good, 1) == [1]
            assert (await ask(good, "ping"))["type"] == "pong"
        grown_bytes = resident_bytes() - warm_bytes
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    assert not left, left
    assert grown_bytes < GROWTH_BYTES_MAX, f"{grown_bytes} bytes more than after the first rounds"
    return Outcome(given, time.monotonic() - started, grown_bytes)


def _check(node: Node, where: str) -> None:
    """Nothing may have failed by our fault; and what the test keeps of the log is not to be memory grown."""
    assert not node.trouble, (where, node.trouble)
    assert not node.diary.told("ws.failed"), (where, node.diary.told("ws.failed"))
    node.diary.lines.clear()
