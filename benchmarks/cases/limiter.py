"""What a million addresses cost the limiter of connection attempts: memory, and CPU for an attempt.

Each address tries once, as a distributed flood does, so that whatever is kept by address is kept a million
times. The limiter has its default size. Beside it: a token bucket for each address in a dictionary, which
is what memory an unbounded limiter would take.
"""

from __future__ import annotations

from benchmarks.children import Answer, Child
from benchmarks.figures import Bar, Figure, Limit, Spread, ratios
from benchmarks.subject import Options

ADDRESSES, ADDRESSES_QUICK = 1_000_000, 100_000
RUNS, RUNS_QUICK = 3, 1
FLOOD_SECONDS_MAX = 120.0
BYTES_PER_MEGABYTE = 1_000_000
MEGABYTES_MAX = 5.0  # What the allocator keeps, and no more: nothing is kept by address.
UNBOUNDED = "a bucket per address"


def run(options: Options) -> list[Figure]:
    """Measure the limiter. Raises ChildError."""
    addresses = ADDRESSES_QUICK if options.quick else ADDRESSES
    ours: list[Answer] = []
    theirs: list[Answer] = []
    for _ in range(options.rounds(RUNS, RUNS_QUICK)):
        ours.append(_flood("table", addresses))
        theirs.append(_flood("dictionary", addresses))
    refused = max(taken["refused"] for taken in ours)
    before, after = (_megabytes(ours, what)[-1] for what in ("before_bytes", "after_bytes"))
    options.notes.append(
        f"The process had {before:.1f} MB before and {after:.1f} MB after; "
        f"{refused} of {addresses:,} first attempts were refused."
    )
    micros, limit_micros = ([taken["microseconds"] for taken in side] for side in (ours, theirs))
    return [
        Figure(
            f"resident memory grown by {addresses:,} addresses",
            "MB",
            Spread.of(_growth(ours)),
            Limit(UNBOUNDED, Spread.of(_growth(theirs))),
            ratios(_growth(ours), _growth(theirs)),
            Bar(MEGABYTES_MAX, "value"),
            details={"refused": refused},
        ),
        Figure(
            "an attempt",
            "µs CPU",
            Spread.of(micros),
            Limit(UNBOUNDED, Spread.of(limit_micros)),
            ratios(micros, limit_micros),
        ),
    ]


def _flood(kept: str, addresses: int) -> Answer:
    with Child.of_module("benchmarks.flood", {"kept": kept, "addresses": addresses}) as child:
        return child.answer(FLOOD_SECONDS_MAX)


def _megabytes(runs: list[Answer], what: str) -> list[float]:
    return [taken[what] / BYTES_PER_MEGABYTE for taken in runs]


def _growth(runs: list[Answer]) -> list[float]:
    pairs = zip(_megabytes(runs, "before_bytes"), _megabytes(runs, "after_bytes"), strict=True)
    return [after - before for before, after in pairs]
