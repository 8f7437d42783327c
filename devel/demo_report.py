"""What the demonstration prints: who is connected, every frame as it arrives, and the summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from devel.demo_plan import Arrival, Chapter, Outcome, Person, Publication, percentile

COLUMNS = (("<", 33), ("<", 3), ("<", 20), ("<", 6), (">", 8))  # Alignment and width, in characters.
PROMISED_SECONDS = 0.1  # What users are promised: on the screen in less.


class Report:
    """Prints to a console, a line for each frame."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def people(self, people: Iterable[Person]) -> None:
        """Show who is connected, and open the list of frames."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("connected", "token says", "is in", "was refused"):
            table.add_column(title, no_wrap=True)
        for person in people:
            says = [
                *(f"role {role}" for role in person.roles),
                *(f"rooms {claim}" for claim in person.claims),
            ]
            cells = (says or ["nothing else"], person.rooms, person.forbidden)
            who = Text.assemble((person.user_id, "bold"), f"\n{person.title}")
            table.add_row(who, *("\n".join(cell) for cell in cells), end_section=True)
        self._console.print(table)
        self._line("event type", "", "room", "user", "ms", style="bold")

    def chapter(self, chapter: Chapter) -> None:
        """Head the publications that follow."""
        self._console.print(
            Text.assemble((f"\n{chapter.title}", "bold cyan"), (f"  {chapter.subtitle}", "dim"))
        )

    def publication(self, publication: Publication, arrivals: Iterable[Arrival], *, awaited: bool) -> None:
        """Show an event that was published, and the frames that arrived meanwhile.

        `awaited` tells whether anybody here is to get it.
        """
        arrivals = list(arrivals)
        own = [arrival for arrival in arrivals if arrival.frame.message_id == publication.message_id]
        plain = [arrival for arrival in own if arrival.frame.event_type == publication.routing_key]
        for arrival in plain:
            self._arrival("  ", arrival)
        if not plain:
            note = "an old name" if own else "not yet …" if awaited else "is to reach nobody"
            self._line(f"  {publication.routing_key}", note=note)
        for arrival in arrivals:
            if arrival not in plain:
                note = "" if arrival in own else "from before"
                self._arrival("  └ ", arrival, note)

    def late(self, arrivals: Iterable[Arrival], published: Mapping[str, Publication]) -> None:
        """Show frames that arrived when their turn was over."""
        for arrival in arrivals:
            self._arrival(
                "  ", arrival, f"late; published as {published[arrival.frame.message_id].routing_key}"
            )

    def note(self, text: str) -> None:
        """Show a remark about the last event."""
        self._console.print(Text(f"  └ {text}", "yellow"), soft_wrap=True)

    def summary(self, outcome: Outcome) -> None:
        """Show what it comes to."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("user", "expected", "received", "min ms", "median ms", "p99 ms"):
            table.add_column(title, justify="left" if title == "user" else "right")
        everybody = outcome.plan.people
        for name, people in (*((person.user_id, (person,)) for person in everybody), ("all", everybody)):
            latencies = outcome.latencies_of(people)
            table.add_row(
                Text(name, "bold"),
                str(sum(map(outcome.expected_by, people))),
                str(len(latencies)),
                *(f"{percentile(latencies, rank) * 1000:.1f}" if latencies else "–" for rank in (0, 50, 99)),
            )
        self._console.print()
        self._console.print(table)
        published = len(outcome.published)
        types = len({frame.event_type for each in outcome.published for frame in each.frames})
        self._console.print(
            f"{published} events published, of {types} event types; those with old names under these too."
        )
        self._console.print(
            "Latency: from before the publish to RabbitMQ until the client has the frame.", style="dim"
        )
        if outcome.others:
            self._console.print(
                f"{outcome.others} frames of other publishers arrived meanwhile.", style="dim"
            )
        self._verdict(outcome.problems)

    def _verdict(self, problems: list[str]) -> None:
        if not problems:
            good = "✓ Every event arrived once, at everybody who is to have it, and at nobody else."
            self._console.print(good, style="bold green", soft_wrap=True)
            return
        self._console.print(f"✗ {len(problems)} problem(s):", style="bold red")
        for problem in problems:
            self._console.print(f"  {problem}", style="red", markup=False, soft_wrap=True)

    def _arrival(self, indent: str, arrival: Arrival, note: str = "") -> None:
        self._line(
            f"{indent}{arrival.frame.event_type}",
            f"v{arrival.frame.version}",
            arrival.room,
            arrival.user_id,
            f"{arrival.latency_seconds * 1000:.1f}",
            note=note,
            late=arrival.latency_seconds >= PROMISED_SECONDS,
        )

    def _line(self, *cells: str, note: str = "", late: bool = False, style: str = "") -> None:
        text = Text(style=style)
        for cell, (side, width) in zip(cells, COLUMNS, strict=False):
            text.append(f"{cell:{side}{width}} ")
        if late:
            text.stylize("yellow")
        text.append(f" {note}" if note else "", "dim")
        text.rstrip()
        self._console.print(text, soft_wrap=True)
