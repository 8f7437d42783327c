"""`make chaos`: play the scenarios on a broker of their own and print what they cost."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
import sys
import time
from dataclasses import astuple
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.cluster import Cluster
from tests.chaos.ledger import Tally
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.stage import FULL, SHORT, Scale, Stage
from tests.servers import private_node

console = Console()


def main() -> int:
    """Play; return 0 when no event was lost or doubled anywhere."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("names", nargs="*", help="scenarios to play; all by default")
    parser.add_argument("--short", action="store_true", help="play them small")
    parser.add_argument("--logs", type=Path, help="keep the nodes' logs in this folder")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in SCENARIOS]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are: {', '.join(SCENARIOS)}")
    logging.disable()  # Of the AMQP client, which reports every broker that we take away.
    return asyncio.run(
        play(arguments.names or list(SCENARIOS), SHORT if arguments.short else FULL, arguments.logs)
    )


async def play(names: list[str], scale: Scale, logs: Path | None) -> int:
    """Play scenarios one after the other, and print a table."""
    table = Table(
        "scenario",
        "events",
        "clients",
        "lost",
        "doubled",
        "disordered",
        "not recovered",
        "longest gap ms",
        "seconds",
    )
    failed = 0
    for name in names:
        started = time.monotonic()
        outcome = await play_one(SCENARIOS[name], scale, logs)
        seconds = time.monotonic() - started
        if isinstance(outcome, Tally):
            failed += not outcome.clean
            cells = [str(value) for value in astuple(outcome)]
            style = "" if outcome.clean else "red"
        else:
            failed += 1
            cells, style = [f"{type(outcome).__name__}: {outcome}"] + [""] * 6, "red"
        table.add_row(name, *cells, f"{seconds:.0f}", style=style)
        console.print(f"{name}: {outcome}", highlight=False)
    console.print(table)
    return 1 if failed else 0


async def play_one(scenario: Scenario, scale: Scale, logs: Path | None = None) -> Tally | Exception:
    """Play one scenario on a broker of its own; return the count, or what went wrong."""
    with private_node() as broker:
        broker.start()
        stage = Stage(broker, Cluster(broker.url, f"chaos{secrets.token_hex(3)}"), scale)
        try:
            return await scenario(stage)
        except (TimeoutError, AssertionError, OSError) as exc:
            return exc
        finally:
            await stage.close()
            if logs is not None:
                keep_logs(stage, logs / scenario.__name__)


def keep_logs(stage: Stage, folder: Path) -> None:
    """Write what each node has logged into a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for node in stage.cluster.nodes:
        lines = "".join(json.dumps(entry) + "\n" for entry in node.log)
        (folder / f"{node.name}.jsonl").write_text(lines)


if __name__ == "__main__":
    sys.exit(main())
