"""`python -m benchmarks [case …]`: measure, and print a table."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.children import ChildError
from benchmarks.figures import Figure
from benchmarks.load import OpenFailedError
from benchmarks.machine import facts
from benchmarks.subject import Options
from devel.errors import DevelError

RESULTS = Path(__file__).parent / "results"
INTERRUPTED = 130


def main() -> int:
    """Run the cases. Returns 0 also when a bar is missed, 1 when a case could not be measured."""
    arguments = _arguments()
    # A polite kill is to end every child and the broker too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    for chatty in ("aiormq", "aio_pika"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)  # What breaks on Ctrl-C is of no interest.
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        options = Options(RESULTS, Path(scratch), quick=arguments.quick, profile=arguments.profile)
        try:
            return _measure(arguments.cases or list(CASES), options, arguments.json)
        except KeyboardInterrupt:
            return INTERRUPTED


def _measure(cases: Sequence[str], options: Options, file: Path | None) -> int:
    out, machine = report.console(), facts()
    results: dict[str, list[Figure]] = {}
    written: list[object] = []
    failed = False
    for name in cases:
        out.print(f"{name} …", style="dim")
        began = time.monotonic()
        try:
            figures = CASES[name](options)
        except (ChildError, OpenFailedError, DevelError, TimeoutError, AssertionError) as exc:
            lines = [f"{name} was not measured: {exc or type(exc).__name__}", *getattr(exc, "__notes__", ())]
            out.print("\n".join(lines), style="red", markup=False)
            failed = True
            continue
        results[name] = figures
        written.append(report.as_json(name, figures, machine, time.monotonic() - began))
        report.write(options.results / f"{name}.json", written[-1])
    if results:
        report.show(out, results, machine)
    if file:
        report.write(file, written)
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What the bridge costs, beside the least that it could."
    )
    parser.add_argument("cases", nargs="*", metavar="case", help=f"{', '.join(CASES)}; all if none is given")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer sockets: only a glance")
    parser.add_argument("--profile", action="store_true", help="also write results/fanout-profile.txt")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results into one file, too")
    arguments = parser.parse_args()
    for name in arguments.cases:
        if name not in CASES:
            parser.error(f"there is no case {name}; there are {', '.join(CASES)}")
    return arguments


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
