"""Who may do what: the table of docs/access.md, row by row."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from bridge.core.access import AccessRules, Principal
from bridge.core.commands import CommandError, Connected, Hello, Subscribe, Subscribed
from bridge.core.effects import Ask, Effect
from bridge.core.questions import May, WhoMay
from bridge.core.revocation import Change, ChangeKind, Revocations
from bridge.core.session import Session
from tests.core.sessions import NOW, closing, rules, said
from tests.doc_reading import rows, section

ISSUED = {"before": NOW - 60, "after": NOW + 60}


class Row(NamedTuple):
    """One row of the table, as it is written."""

    token: str
    database: str
    happened: str
    asks: str
    gets: str


ROWS = [Row(*cells) for cells in rows(section("docs/access.md", "## Who gets in, and where"))]


def named(word: str, cell: str) -> list[str]:
    """Return what stands in back-ticks after a word."""
    return re.findall(rf"\b{word} `([^`]+)`", cell)


def principal(cell: str) -> Principal:
    """Return whom a token names."""
    issued = re.findall(r"issued (\w+)", cell)
    return Principal(
        user_id=named("user", cell)[0],
        roles=frozenset(named("role", cell)),
        rooms=tuple(named("room", cell)),
        expires_at=NOW + 3_600,
        token_id="".join(named("id", cell)),
        issued_at=ISSUED[issued[0]] if issued else None,
    )


def changes(cell: str) -> list[Change]:
    """Return what happened, in order."""
    found = []
    for part in cell.split(", ") if cell != "–" else []:
        name, *about = re.findall(r"`([^`]+)`", part)
        kind = ChangeKind(name)
        is_session = kind is ChangeKind.SESSION_REVOKED
        found.append(
            Change(
                kind,
                "u1",
                NOW,
                token_id=about[0] if is_session and about else "",
                issued_before=NOW,
                room=about[0] if about and not is_session else "",
            )
        )
    return found


def answer(cell: str, question: WhoMay) -> May:
    """Return what the database says."""
    if cell == "is out of reach":
        return May()
    return May(active=question.user_id not in named("does not know", cell), rooms=set(named("grants", cell)))


def outcome(effects: list[Effect]) -> str:
    """Return what came of it, as the table says it."""
    reason = closing(effects)
    if reason is not None:
        return f"{reason.code} and a hint when to come back" if len(said(effects)) else str(reason.code)
    (notice,) = said(effects)
    match notice:
        case Connected():
            return "connected"
        case Subscribed():
            return "joined"
        case CommandError(code=code):
            return f"`{code}`"
    raise AssertionError(notice)


def step(session: Session, effects: list[Effect], database: str) -> list[Effect]:
    """Answer the question if there is one."""
    if effects and isinstance(effects[-1], Ask):
        question = effects[-1].question
        assert isinstance(question, WhoMay)
        return session.answered(question, answer(database, question), NOW)
    return effects


@pytest.mark.parametrize("row", ROWS, ids=" | ".join)
def test_row(row: Row) -> None:
    """A client with this token, after this has happened, gets what the page says."""
    connects = row.asks == "to connect"
    revocations = Revocations(seconds_max=3_600.0, marks_max=100)
    access = AccessRules(frozenset({"score"}), frozenset({"lock"}), revocations)
    session = Session("c1", rules(access=access, users_checked=connects and row.database != "–"))
    for change in changes(row.happened):
        revocations.apply(change, logged_at=NOW, now=NOW)

    session.receive(Hello("token"), NOW)
    effects = step(session, session.identified(principal(row.token), NOW), row.database)
    if not connects:
        assert outcome(effects) == "connected"
        (room,) = named("for", row.asks)
        effects = step(session, session.receive(Subscribe((room,)), NOW), row.database)

    assert outcome(effects) == row.gets


def test_every_row_of_the_rules_is_shown() -> None:
    """Each change, each way into a room and each way to be refused is in the table."""
    everything = "\n".join(" | ".join(row) for row in ROWS)

    for kind in ChangeKind:
        assert f"`{kind.value}`" in everything
    for word in (
        "joined",
        "`forbidden`",
        "`unavailable`",
        "`bad_room`",
        "4403",
        "1012",
        "role `",
        "grants `",
    ):
        assert word in everything
