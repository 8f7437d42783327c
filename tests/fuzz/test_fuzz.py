"""A short cut of `make fuzz`."""

from __future__ import annotations

import secrets

import pytest

from bridge.core.commands import Command
from bridge.ws.dialects import bridge_v1
from tests.fuzz.mutate import Mutator
from tests.fuzz.run import fuzz


async def test_input_that_nobody_means() -> None:
    """Whatever comes, nothing fails by our fault, no task is left, memory is flat, others are served."""
    seed = secrets.randbits(32)
    print(f"repeat with: make fuzz ARGS='--inputs 2000 --seed {seed}'")

    await fuzz(2_000, seed, print)


def test_a_seed_decides_it_all() -> None:
    """The same seed gives the same input, so that what was found can be found again."""
    first, second, third = (
        [Mutator(seed).mutated(b"x" * 100), Mutator(seed).changed({})] for seed in (1, 1, 2)
    )

    assert first == second != third


async def test_a_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours that only odd input brings to light does not stay hidden."""
    parse = bridge_v1.parse

    def mistaken(message: bytes) -> Command:
        if b'"rooms": {' in message:
            raise LookupError("a mistake of ours")
        return parse(message)

    monkeypatch.setattr(bridge_v1, "parse", mistaken)

    with pytest.raises(AssertionError, match="LookupError"):
        await fuzz(5_000, 1, print)
