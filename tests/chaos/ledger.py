"""What was published, what each client got, and what follows from the two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Receipts:
    """What one client got, in order. `numbers` are the publisher's; times in seconds."""

    user: str
    numbers: list[int] = field(default_factory=list)
    positions: list[tuple[str, int]] = field(default_factory=list)
    arrived_at: list[float] = field(default_factory=list)
    connects: int = 0
    unrecovered: int = 0
    gaps_declared: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """The outcome of a scenario: the row of the table."""

    events: int
    clients: int
    lost: int
    doubled: int
    misordered: int
    unrecovered: int
    longest_gap_ms: int

    @property
    def clean(self) -> bool:
        """Whether every client got every event, once, in order."""
        return not (self.lost or self.doubled or self.misordered)


def tally(published: Iterable[tuple[int, str]], receipts: Iterable[Receipts]) -> Tally:
    """Compare what went out, as (number, user), with what came in."""
    by_user: dict[str, set[int]] = {}
    count = 0
    for number, user in published:
        by_user.setdefault(user, set()).add(number)
        count += 1
    all_receipts = list(receipts)
    lost = doubled = misordered = unrecovered = 0
    longest = 0.0
    for client in all_receipts:
        seen = Counter(client.numbers)
        lost += len(by_user.get(client.user, set()) - seen.keys())
        doubled += sum(times - 1 for times in seen.values())
        misordered += sum(
            later[1] <= earlier[1]
            for earlier, later in zip(client.positions, client.positions[1:], strict=False)
            if earlier[0] == later[0]
        )
        unrecovered += client.unrecovered
        longest = max(
            [longest, *(b - a for a, b in zip(client.arrived_at, client.arrived_at[1:], strict=False))]
        )
    return Tally(count, len(all_receipts), lost, doubled, misordered, unrecovered, int(longest * 1000))
