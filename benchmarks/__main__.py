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

from rich.console import Console

from benchmarks import charts, report
from benchmarks.amqp.client import BrokerError
from benchmarks.cases import CASES, GUARDED
from benchmarks.children import ChildError
from benchmarks.figures import Figure, merged
from benchmarks.load import OpenFailedError
from benchmarks.machine import ProcessGoneError, facts
from benchmarks.subject import Options
from devel.errors import DevelError

RESULTS = Path(__file__).parent / "results"
INTERRUPTED = 130
CANNOT_MEASURE = (
    AssertionError,
    BrokerError,
    ChildError,
    DevelError,
    OpenFailedError,
    ProcessGoneError,
    TimeoutError,
)


def main() -> int:
    """Run the cases.

    Returns 0 also when a bar is missed, unless it is to be guarded: then 1 if one is missed by more
    than the noise. 1 also when a case could not be measured.
    """
    arguments = _arguments()
    # A polite kill is to end every child and the broker too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    for chatty in ("aiormq", "aio_pika"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)  # What breaks on Ctrl-C is of no interest.
    cases = arguments.cases or list(GUARDED if arguments.guard else CASES)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        options = Options(
            RESULTS, Path(scratch), quick=arguments.quick, profile=arguments.profile, guard=arguments.guard
        )
        try:
            return _measure(cases, options, arguments.runs, arguments.json)
        except KeyboardInterrupt:
            return INTERRUPTED


def _measure(cases: Sequence[str], options: Options, runs: int, file: Path | None) -> int:
    out, machine = report.console(), facts()
    results: dict[str, list[Figure]] = {}
    notes: dict[str, list[str]] = {}
    written: list[object] = []
    for name in cases:
        began = time.monotonic()
        figures = _run(name, options, runs, out)
        if figures is None:
            continue
        results[name], notes[name] = figures, list(dict.fromkeys(options.notes))
        written.append(report.as_json(name, figures, machine, time.monotonic() - began, notes[name]))
        if not options.guard:  # Which has fewer rounds and no peers: no result to keep.
            report.write(options.results / f"{name}.json", written[-1])
            charts.write(options.results, name, figures)
    if results:
        report.show_apart(out, results)
        report.show(out, results, machine)
        report.show_notes(out, notes)
    if file:
        report.write(file, written)
    failed = options.guard and any(figure.failed for figures in results.values() for figure in figures)
    return int(failed or len(results) < len(cases))


def _run(name: str, options: Options, runs: int, out: Console) -> list[Figure] | None:
    """Run a case so many times and return its figures, None if it could not be measured."""
    options.notes.clear()
    measured: list[list[Figure]] = []
    for run in range(runs):
        out.print(f"{name} …" if runs == 1 else f"{name}, run {run + 1} of {runs} …", style="dim")
        try:
            measured.append(CASES[name](options))
        except CANNOT_MEASURE as exc:
            lines = [f"{name} was not measured: {exc or type(exc).__name__}", *getattr(exc, "__notes__", ())]
            out.print("\n".join(lines), style="red", markup=False)
    return merged(measured) if measured else None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What the bridge costs, beside the least that it could."
    )
    parser.add_argument("cases", nargs="*", metavar="case", help=f"{', '.join(CASES)}; all if none is given")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer sockets: only a glance")
    parser.add_argument(
        "--runs", type=int, default=1, metavar="N", help="run each case N times, and show medians"
    )
    parser.add_argument(
        "--guard", action="store_true", help=f"{', '.join(GUARDED)}, in short; fail if a bar is missed"
    )
    parser.add_argument("--profile", action="store_true", help="also write results/fanout-profile.txt")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results into one file, too")
    arguments = parser.parse_args()
    for name in arguments.cases:
        if name not in CASES:
            parser.error(f"there is no case {name}; there are {', '.join(CASES)}")
    if arguments.runs < 1:
        parser.error("--runs is at least 1")
    return arguments


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
