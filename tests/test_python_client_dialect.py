"""The Python client's side of bridge.v1, without a socket or a clock: what it does about what it hears."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from bridge.core.close import CATALOGUE, UNAUTHENTICATED
from bridge.core.rooms import parse_room
from bridge.ws.dialects.bridge_v1 import ROOMS_PER_COMMAND_MAX
from bridge_client.closing import VERDICTS, End, Verdict, hint_of_header, hint_of_reason, verdict_of
from bridge_client.dialect import (
    COMMAND_ROOMS_MAX,
    HELLO_ROOMS_MAX,
    NOT_OF_THE_DIALECT,
    RENEWALS_MAX,
    AskAgain,
    Dialect,
    Event,
    Passed,
    Position,
    Renew,
    Send,
    Stale,
)
from tests.doc_reading import ROOT

PACKAGE = ROOT / "clients" / "python" / "bridge_client"
LINES_MAX = 400
START = Position("e1", 10)
KINDS = (
    "connected",
    "pong",
    "subscribed",
    "unsubscribed",
    "authenticated",
    "revoked",
    "gap",
    "draining",
    "error",
)
NAMES = (
    "type",
    "id",
    "data",
    "offset",
    "rooms",
    "refused",
    "position",
    "epoch",
    "retryAfterMs",
    "left",
    "code",
)


def connected(**changes: object) -> dict[str, Any]:
    """Return the bridge's answer to a hello."""
    data = {
        "userId": "u1",
        "rooms": ["user:u1", "all"],
        "refused": [],
        "position": {"epoch": "e1", "offset": 10},
        "recovered": False,
        "pingInterval": 25.0,
    }
    return {"type": "connected", "id": "hello", "data": data | changes}


def event(offset: int) -> dict[str, Any]:
    """Return an event."""
    return {
        "type": "order.completed",
        "version": 1,
        "id": f"evt-{offset}",
        "offset": offset,
        "room": "user:u1",
        "timestamp": "2026-11-21T10:00:00.000Z",
        "data": {"orderId": str(offset)},
    }


def opened(*rooms: str, **changes: object) -> Dialect:
    """Return the client's side of a socket that is open."""
    dialect = Dialect(rooms, None)
    dialect.hello("t")
    dialect.receive(connected(**changes))
    return dialect


def commands(effects: object) -> list[Mapping[str, object]]:
    """Return the commands among what is to be done."""
    assert isinstance(effects, list)
    return [effect.command for effect in effects if isinstance(effect, Send)]


# Positions.


def test_hello_has_what_was_kept() -> None:
    """The first hello has the position that was given, and each later one the newest that was read."""
    dialect = Dialect(["device:d1"], Position("e1", 4))
    first = dialect.hello("t").command
    dialect.receive(connected(recovered=True, position={"epoch": "e1", "offset": 4}))
    dialect.receive(event(11))
    dialect.ended(End(1006, ""), open_seconds=1, random=0)

    second = dialect.hello("t").command

    assert (first["since"], first["rooms"]) == ({"epoch": "e1", "offset": 4}, ["device:d1"])
    assert second["since"] == {"epoch": "e1", "offset": 11}


def test_event_has_its_position() -> None:
    """An event is handed on with its place in the log, and the next hello begins there."""
    dialect = opened()

    (effect,) = dialect.receive(event(12))

    assert isinstance(effect, Event)
    assert (effect.position, dialect.since) == (Position("e1", 12), Position("e1", 12))
    assert (effect.type, effect.data, effect.trace) == ("order.completed", {"orderId": "12"}, None)


def test_event_has_its_trace() -> None:
    """An event that comes with a trace is handed on with it."""
    (effect,) = opened().receive(event(12) | {"trace": "00-ab-cd-01"})

    assert isinstance(effect, Event)
    assert effect.trace == "00-ab-cd-01"


def test_pong_keeps_the_position_young() -> None:
    """A pong moves the position on; one without a position changes nothing."""
    dialect = opened()

    assert dialect.receive({"type": "pong", "id": "ping"}) == []
    (effect,) = dialect.receive({"type": "pong", "data": {"position": {"epoch": "e1", "offset": 99}}})

    assert effect == Passed(Position("e1", 99))
    assert dialect.since == Position("e1", 99)


@pytest.mark.parametrize(
    ("since", "answer", "cause"),
    [
        (None, connected(), "first"),
        (START, connected(), "lost"),
        (START, connected(recovered=True), None),
    ],
)
def test_first_answer(since: Position | None, answer: dict[str, Any], cause: str | None) -> None:
    """A program that begins without a position, or cannot resume from it, has to read its state."""
    dialect = Dialect([], since)
    dialect.hello("t")

    stale = [effect for effect in dialect.receive(answer) if isinstance(effect, Stale)]

    assert [each.cause for each in stale] == ([cause] if cause else [])


@pytest.mark.parametrize(
    ("answer", "causes"),
    [
        (connected(recovered=True), []),
        (connected(recovered=False), ["lost"]),
        (connected(recovered=True, userId="u2"), ["lost"]),
        (connected(recovered=True, rooms=["user:u1", "all", "role:admin"]), ["rooms"]),
    ],
    ids=["recovered", "window passed", "another user", "another room"],
)
def test_coming_back(answer: dict[str, Any], causes: list[str]) -> None:
    """After a break nothing is stale that was recovered, and everything else is."""
    dialect = opened()
    dialect.ended(End(1006, ""), open_seconds=1, random=0)
    dialect.hello("t")

    stale = [effect for effect in dialect.receive(answer) if isinstance(effect, Stale)]

    assert [each.cause for each in stale] == causes


def test_gap() -> None:
    """A gap is told in its place among the events."""
    dialect = opened()
    dialect.receive(event(20))

    effects = dialect.receive({"type": "gap", "data": {"events": 2, "firstOffset": 21, "lastOffset": 30}})

    assert effects == [Stale("gap", Position("e1", 20))]


def test_bad_position_is_forgotten() -> None:
    """A position that the bridge does not understand is not said again."""
    dialect = Dialect([], Position("", -1))
    dialect.hello("t")

    (end,) = dialect.receive(
        {"type": "error", "id": "hello", "data": {"code": "bad_position", "message": "what?"}}
    )

    assert end == End(1006, "bad_position: what?")
    assert "since" not in dialect.hello("t").command


@pytest.mark.parametrize("message", [event(1), {"type": "gap", "data": {}}, {}, {"type": "connected"}])
def test_what_is_not_of_the_dialect(message: dict[str, Any]) -> None:
    """What cannot be understood is an error, not a guess; a kind that is not known is none."""
    dialect = Dialect([], None)

    assert dialect.receive({"type": "a-later-notice", "data": {}}) == []
    with pytest.raises(NOT_OF_THE_DIALECT):
        dialect.receive(message)


JSON = st.recursive(
    st.sampled_from([None, True, -1, float("inf"), "", "e1", KINDS]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=6,
)
MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS), "data": JSON}, optional={"id": st.sampled_from(["rooms", "auth"])}
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(MESSAGES | JSON, min_size=1, max_size=3))
def test_any_message(messages: list[Any]) -> None:
    """Whatever a server says, it is taken, or it is an error of the one kind."""
    dialect = opened("device:d1")

    for message in messages:
        with contextlib.suppress(*NOT_OF_THE_DIALECT):
            dialect.receive(message)


# Rooms.


def test_rooms_one_command_at_a_time() -> None:
    """Rooms are asked for one command after another, and told as stale once the socket is in them."""
    dialect = opened()

    first = commands(dialect.want(["device:d1"]))
    assert commands(dialect.want(["device:d2"])) == []
    effects = dialect.receive({"type": "subscribed", "data": {"rooms": ["device:d1"], "refused": []}})
    leaving = dialect.drop(["device:d1"])

    assert first == [{"op": "subscribe", "id": "rooms", "rooms": ["device:d1"]}]
    assert effects[0] == Stale("rooms", START, ("device:d1",))
    assert commands(effects) == [{"op": "subscribe", "id": "rooms", "rooms": ["device:d2"]}]
    assert leaving == []
    answer = dialect.receive({"type": "subscribed", "data": {"rooms": ["device:d2"], "refused": []}})
    assert commands(answer) == [{"op": "unsubscribe", "id": "rooms", "rooms": ["device:d1"]}]
    dialect.receive({"type": "unsubscribed", "id": "rooms", "data": {"rooms": ["device:d1"]}})
    assert dialect.rooms.joined == {"user:u1", "all", "device:d2"}


def test_rooms_that_are_refused() -> None:
    """A refusal is kept and not asked for again, until the next socket, or until it is wanted anew."""
    dialect = opened("device:d1", refused=[{"room": "device:d1", "code": "forbidden"}])

    assert dialect.rooms.refused == {"device:d1": "forbidden"}
    assert dialect.want(["device:d1"]) == []
    dialect.drop(["device:d1"])
    assert len(commands(dialect.want(["device:d1"]))) == 1
    dialect.ended(End(1006, ""), open_seconds=1, random=0)
    assert dialect.hello("t").command["rooms"] == ["device:d1"]


def test_rooms_that_cannot_be_looked_up() -> None:
    """A refusal that passes is asked for again after a while, not at once."""
    dialect = opened()
    dialect.want(["device:d1"])

    effects = dialect.receive(
        {"type": "error", "id": "rooms", "data": {"code": "unavailable", "message": "…", "room": "device:d1"}}
    )

    assert effects == [AskAgain()]
    assert dialect.want(["device:d2"]) == []
    (command,) = commands(dialect.ask_again())
    assert command["rooms"] == ["device:d1", "device:d2"]


def test_rooms_that_are_taken_back() -> None:
    """A room that was revoked is refused from then on; so is one that a newer token does not open."""
    dialect = opened("device:d1", "device:d2", rooms=["user:u1", "device:d1", "device:d2"])

    dialect.receive({"type": "revoked", "data": {"rooms": ["device:d1"]}})
    dialect.receive({"type": "authenticated", "data": {"rooms": ["user:u1"], "left": ["device:d2"]}})

    assert dialect.rooms.refused == {"device:d1": "revoked", "device:d2": "forbidden"}
    assert dialect.rooms.joined == {"user:u1"}


def test_rooms_come_with_the_next_socket() -> None:
    """What was joined later is in the next hello; more than that takes is asked for afterwards."""
    rooms = [f"device:d{number}" for number in range(HELLO_ROOMS_MAX + COMMAND_ROOMS_MAX + 1)]
    dialect = opened()
    dialect.want(rooms)
    dialect.ended(End(1006, ""), open_seconds=1, random=0)

    hello = dialect.hello("t").command["rooms"]
    assert isinstance(hello, list)
    (then,) = commands(dialect.receive(connected(recovered=True, rooms=hello)))
    (last,) = commands(
        dialect.receive({"type": "subscribed", "data": {"rooms": then["rooms"], "refused": []}})
    )

    assert (hello, then["rooms"], last["rooms"]) == (rooms[:200], rooms[200:300], rooms[300:])
    assert max(HELLO_ROOMS_MAX, COMMAND_ROOMS_MAX) <= ROOMS_PER_COMMAND_MAX


@pytest.mark.parametrize(
    "room",
    [
        "all",
        "user:u1",
        "a_1:" + "x" * 128,
        "User:u1",
        "user:",
        "user",
        ":x",
        "a:b c",
        "a:b,c",
        "a:*",
        "",
        "all:x",
        "a:\x85",
        "a:\ud800",
        "é:x",
        "a:é",
    ],
)
def test_room_names(room: str) -> None:
    """What cannot be a room is refused before it is sent, by the same rule as the bridge's."""
    taken = True
    try:
        Dialect([room], None)
    except ValueError:
        taken = False

    assert taken == (parse_room(room) is not None)


# Tokens.


def test_token_is_renewed() -> None:
    """A token that ends soon is renewed at once, in vain again later, and at most so many times."""
    dialect = opened()

    assert dialect.receive({"type": "expiring", "data": {"expiresAt": "…"}}) == [Renew(0)]
    tries = [list(dialect.renewal_failed()) for _ in range(RENEWALS_MAX)]

    assert tries == [*([Renew(number)] for number in range(1, RENEWALS_MAX)), []]


@pytest.mark.parametrize(
    ("code", "effect"),
    [
        ("unauthorized", Renew(1)),
        ("unavailable", Renew(1)),
        ("wrong_user", End(1006, "the new token is another user's")),
    ],
)
def test_token_that_is_refused(code: str, effect: object) -> None:
    """A newer token that is refused is fetched again; one of another user needs a new socket."""
    dialect = opened()
    dialect.auth("t")

    assert dialect.receive({"type": "error", "id": "auth", "data": {"code": code, "message": "…"}}) == [
        effect
    ]


def test_one_renewal_at_a_time() -> None:
    """However often a server says that the token ends, or refuses one, a single one is fetched."""
    dialect = opened()
    expiring = {"type": "expiring", "data": {"expiresAt": "…"}}
    refusal = {"type": "error", "id": "auth", "data": {"code": "unauthorized", "message": "…"}}

    first = [
        effect for _ in range(50) for notice in (expiring, refusal) for effect in dialect.receive(notice)
    ]
    dialect.auth("t")
    refused = [effect for _ in range(50) for effect in dialect.receive(refusal)]
    dialect.auth("t")
    dialect.receive({"type": "authenticated", "id": "auth", "data": {"rooms": [], "left": []}})

    assert (first, refused) == ([Renew(0)], [Renew(1)])
    assert dialect.receive(expiring) == [Renew(0)]


# Ends.


def test_close_codes() -> None:
    """The client stays away after the codes that do not reconnect, and after no other."""
    stays_away = {code for code, verdict in VERDICTS.items() if verdict in (Verdict.FINAL, Verdict.RENEW)}

    assert stays_away == {reason.code for reason in CATALOGUE if not reason.reconnect}
    assert VERDICTS[UNAUTHENTICATED.code] is Verdict.RENEW
    assert verdict_of(1006) is Verdict.RETRY


def test_delays() -> None:
    """Delays double up to 30 s with full jitter, and begin anew after a socket that lasted."""
    dialect = opened()
    end = End(1006, "")

    waits = [dialect.ended(end, open_seconds=9, random=1) for _ in range(7)]

    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert dialect.ended(end, open_seconds=9, random=0.25) == 7.5
    assert dialect.ended(end, open_seconds=10, random=1) == 1
    assert dialect.ended(End(4009, "limit reached"), open_seconds=10, random=1) == 8


@pytest.mark.parametrize("code", [1007, 4400, 4403])
def test_final_ends(code: int) -> None:
    """After these there is no next attempt."""
    assert opened().ended(End(code, ""), open_seconds=1, random=0) is None


def test_refused_token_is_fetched_anew() -> None:
    """After 4401 a new token is asked for, until there is a connection."""
    dialect = opened()

    dialect.ended(End(4401, "expired"), open_seconds=1, random=0)
    dialect.ended(End(1006, "no token"), open_seconds=0, random=0)
    why = dialect.why
    dialect.hello("t")
    dialect.receive(connected())

    assert (why, dialect.why) == ("refused", "connect")


def test_hints() -> None:
    """What the bridge asks for counts, whichever way it says so, for five minutes at most."""
    draining = opened()
    draining.receive({"type": "draining", "data": {"retryAfterMs": 1_493}})

    assert draining.ended(End(1012, "draining"), open_seconds=1, random=1) == 1.493
    assert draining.ended(End(1006, "nobody there"), open_seconds=0, random=1) == 2
    reason = "draining: come back after 250 ms"
    assert opened().ended(End(1012, reason), open_seconds=1, random=1) == 0.25
    assert opened().ended(End(1006, "503", hint_seconds=4.0), open_seconds=0, random=1) == 4
    assert hint_of_header("86400") == 300
    strange = opened()
    strange.receive({"type": "draining", "data": {"retryAfterMs": float("nan")}})
    assert strange.ended(End(1012, "draining"), open_seconds=1, random=1) == 0
    assert (
        hint_of_header("Wed, 21 Oct 2026 07:28:00 GMT") is hint_of_header(None) is hint_of_reason("x") is None
    )


# The package.


def test_what_it_imports() -> None:
    """The client needs the standard library and websockets; all but client.py is pure. Files stay short."""
    pure = {"__future__", "bridge_client", "collections", "dataclasses", "enum", "re", "typing"}
    for path in PACKAGE.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        tops = {
            name.partition(".")[0]
            for node in ast.walk(ast.parse(text))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [str(node.module)]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        allowed = sys.stdlib_module_names | {"bridge_client", "websockets"}
        assert tops <= (allowed if path.name == "client.py" else pure), path.name
        assert len(text.splitlines()) <= LINES_MAX, path.name
