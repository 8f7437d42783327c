"""`bridge dead …`: what was refused, why, and back again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from bridge.amqp.dead import DeadLetter, browse, purge, replay
from bridge.cli.common import bus, console, fail, run, settings_or_exit, visible

app = typer.Typer(help="Look at dead letters, replay or remove them.", no_args_is_help=True)

LETTERS_MAX = 10_000
SHOWN_BYTES_MAX = 10_000

Id = Annotated[str, typer.Argument(metavar="ID", help="The letter's id, as `dead list` shows it.")]
Reason = Annotated[str | None, typer.Option(help="Only letters with this reason.")]
DomainName = Annotated[str | None, typer.Option("--domain", help="Only letters of this domain.")]
Most = Annotated[int, typer.Option("--most", help="Look at so many at most.", min=1, max=LETTERS_MAX)]
All = Annotated[bool, typer.Option("--all", help="Every letter that the other options let through.")]


@app.command("list")
def list_letters(reason: Reason = None, domain: DomainName = None, most: Most = 100) -> None:
    """List dead letters, oldest first. Takes nothing away."""
    letters = run(_browse(_wanted(None, reason, domain), most))
    table = Table(box=None, pad_edge=False)
    for title in ("id", "dead since", "domain", "routing key", "reason", "field", "bytes"):
        table.add_column(title, overflow="fold")
    for letter in letters:
        row = (letter.id, letter.dead_at[:19], letter.domain, letter.routing_key, letter.reason, letter.field)
        table.add_row(*(escape(visible(cell)) for cell in row), str(len(letter.body)))
    console.print(table)
    counts = Counter(letter.reason for letter in letters)
    summary = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    console.print(f"{len(letters)} letter(s){': ' + summary if summary else ''}", style="dim")


@app.command("show")
def show(letter_id: Id) -> None:
    """Show one dead letter whole: why, and the untouched body."""
    letters = run(_browse(_wanted(letter_id, None, None), LETTERS_MAX))
    if not letters:
        fail(f"there is no dead letter {letter_id}; see: dead list")
    letter = letters[0]
    for title, value in (
        ("id", letter.id),
        ("reason", letter.reason),
        ("message", letter.message),
        ("field", letter.field),
        ("domain", letter.domain),
        ("routing key", letter.routing_key),
        ("message_id", letter.message_id or ""),
        ("dead since", letter.dead_at),
    ):
        console.print(f"[bold]{title:12}[/bold] {escape(visible(value))}", soft_wrap=True)
    shown = letter.body[:SHOWN_BYTES_MAX].decode(errors="replace")
    console.print(f"[bold]body[/bold] ({len(letter.body)} bytes)")
    console.print(
        visible(shown) + ("…" if len(letter.body) > SHOWN_BYTES_MAX else ""), markup=False, soft_wrap=True
    )


@app.command("replay")
def replay_letters(
    letter_id: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
    reason: Reason = None,
    domain: DomainName = None,
    everything: All = False,
    most: Most = LETTERS_MAX,
) -> None:
    """Give dead letters back to the bridge, to be judged again."""
    wanted = _chosen(letter_id, reason, domain, everything=everything)
    letters = run(_replay(wanted, most))
    console.print(f"replayed {len(letters)} letter(s)")
    _none_found(letter_id, letters)


@app.command("purge")
def purge_letters(
    letter_id: Annotated[str | None, typer.Argument(metavar="[ID]")] = None,
    reason: Reason = None,
    domain: DomainName = None,
    everything: All = False,
    most: Most = LETTERS_MAX,
) -> None:
    """Remove dead letters for good."""
    wanted = _chosen(letter_id, reason, domain, everything=everything)
    letters = run(_purge(wanted, most))
    console.print(f"removed {len(letters)} letter(s)")
    _none_found(letter_id, letters)


def _wanted(letter_id: str | None, reason: str | None, domain: str | None) -> Callable[[DeadLetter], bool]:
    def wanted(letter: DeadLetter) -> bool:
        return (
            (letter_id is None or letter.id == letter_id)
            and (reason is None or letter.reason == reason)
            and (domain is None or letter.domain == domain)
        )

    return wanted


def _chosen(
    letter_id: str | None, reason: str | None, domain: str | None, *, everything: bool
) -> Callable[[DeadLetter], bool]:
    if letter_id is None and reason is None and domain is None and not everything:
        fail("say which: an ID, --reason, --domain, or --all")
    return _wanted(letter_id, reason, domain)


def _none_found(letter_id: str | None, letters: list[DeadLetter]) -> None:
    if letter_id is not None and not letters:
        fail(f"there is no dead letter {letter_id}; see: dead list")


async def _browse(wanted: Callable[[DeadLetter], bool], most: int) -> list[DeadLetter]:
    settings = settings_or_exit()
    async with bus(settings) as connected:
        names = connected.topology.names
        await connected.topology.declare(connected.channel)
        async with browse(connected.connection, names, letters_max=most) as letters:
            return [letter async for letter in letters if wanted(letter)]


async def _replay(wanted: Callable[[DeadLetter], bool], most: int) -> list[DeadLetter]:
    async with bus(settings_or_exit()) as connected:
        await connected.topology.declare(connected.channel)
        return await replay(
            connected.connection,
            connected.topology.names,
            connected.publisher,
            wanted=wanted,
            letters_max=most,
        )


async def _purge(wanted: Callable[[DeadLetter], bool], most: int) -> list[DeadLetter]:
    async with bus(settings_or_exit()) as connected:
        await connected.topology.declare(connected.channel)
        return await purge(connected.connection, connected.topology.names, wanted=wanted, letters_max=most)
