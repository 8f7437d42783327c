"""`python -m tests.fuzz`: 100,000 inputs, or as many as are asked for, from a seed that is printed."""

from __future__ import annotations

import argparse
import asyncio
import secrets

from tests.fuzz.run import fuzz


def main() -> None:
    """Fuzz, and say what it has cost."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="of a run to repeat")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    outcome = asyncio.run(fuzz(arguments.inputs, arguments.seed, lambda line: print(line, flush=True)))
    print(
        f"{outcome.inputs} inputs in {outcome.seconds:.0f} s; nothing failed, no task is left; "
        f"memory grew by {outcome.grown_bytes / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
