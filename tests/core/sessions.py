"""Sessions for tests, and short names for what they decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bridge.core.access import AccessRules, Principal
from bridge.core.close import CloseReason
from bridge.core.commands import CommandError, Hello, Notice
from bridge.core.effects import Ask, Close, Effect, Join, Leave, Say, Verify
from bridge.core.entry import Position
from bridge.core.errors import TokenRejected
from bridge.core.questions import Question
from bridge.core.session import Session, SessionRules
from bridge.core.window import Window, WindowLimits

NOW = 1_000_000.0
HERE = Position("epoch-1", 57)
ANNA = Principal("anna", rooms=("device:*",), expires_at=NOW + 3_600)
ANNA_ADMIN = Principal("anna", roles=frozenset({"admin"}), expires_at=NOW + 7_200)
BERT = Principal("bert", expires_at=NOW + 3_600)
EXPIRED = TokenRejected("expired", "the token has expired")


def rules(**changes: Any) -> SessionRules:  # noqa: ANN401 - any rule
    """Return rules whose limits are far away, unless a test changes them."""
    window = Window(WindowLimits(seconds_max=300.0, bytes_max=1_000_000))
    window.begin(HERE)
    far = SessionRules(
        access=AccessRules(frozenset({"score"})),
        window=window,
        rooms_max=100,
        commands_per_second_max=1_000.0,
        commands_burst_max=1_000,
        mistakes_max=1_000,
        expiring_notice_seconds=60.0,
        ping_interval_seconds=25.0,
    )
    return replace(far, **changes)


def new_session(**changes: Any) -> Session:  # noqa: ANN401 - any rule
    """Return a session that awaits its hello."""
    return Session("client-1", rules(**changes))


def open_session(principal: Principal = ANNA, rooms: Sequence[str] = (), **changes: Any) -> Session:  # noqa: ANN401 - any rule
    """Return a session that has said hello and is who it claimed to be."""
    session = new_session(**changes)
    session.receive(Hello("token", tuple(rooms)), NOW)
    session.identified(principal, NOW)
    return session


def said(effects: Sequence[Effect]) -> list[Notice]:
    """Return what the client is told."""
    return [effect.notice for effect in effects if isinstance(effect, Say)]


def joined(effects: Sequence[Effect]) -> list[str]:
    """Return the rooms that the socket is put into."""
    return [room for effect in effects if isinstance(effect, Join) for room in effect.rooms]


def left(effects: Sequence[Effect]) -> list[str]:
    """Return the rooms that the socket is taken out of."""
    return [room for effect in effects if isinstance(effect, Leave) for room in effect.rooms]


def closing(effects: Sequence[Effect]) -> CloseReason | None:
    """Return why the socket is closed, None if it is not."""
    return next((effect.reason for effect in effects if isinstance(effect, Close)), None)


def error_codes(effects: Sequence[Effect]) -> list[str]:
    """Return the codes of the errors that the client is told."""
    return [notice.code for notice in said(effects) if isinstance(notice, CommandError)]


def asked(effects: Sequence[Effect]) -> Question:
    """Return the question at the end of the effects."""
    assert isinstance(effects[-1], Ask)
    return effects[-1].question


def outcome(effects: Sequence[Effect]) -> str:
    """Name what a command led to, as in the table."""
    for effect in effects:
        match effect:
            case Verify():
                return "verify"
            case Say(CommandError(code=code)):
                return code
            case Say(notice):
                return type(notice).__name__.lower()
    return ""
