"""One socket's state: what every command leads to, and who gets into which room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.core.access import Principal
from bridge.core.close import BAD_PROTOCOL, DRAINING, GOODBYE, LIMIT, UNAUTHENTICATED
from bridge.core.commands import (
    Auth,
    Authenticated,
    Command,
    CommandError,
    Connected,
    Expiring,
    Hello,
    Inbox,
    Ping,
    Read,
    RefusedRoom,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from bridge.core.effects import Effect, Say, Verify
from bridge.core.errors import BadMessage
from bridge.core.session import Session, State
from tests.core.sessions import (
    ANNA,
    ANNA_ADMIN,
    BERT,
    EXPIRED,
    HERE,
    NOW,
    closing,
    error_codes,
    joined,
    left,
    new_session,
    open_session,
    outcome,
    said,
)


def in_state(name: str) -> Session:
    """Return a session in one of the states of the table below."""
    session = new_session()
    match name:
        case "identifying":
            session.receive(Hello("token"), NOW)
        case "open":
            session = open_session()
        case "refreshing":
            session = open_session()
            session.receive(Auth("token-2"), NOW)
        case "closed":
            session = open_session()
            session.close(GOODBYE)
    return session


HELLO = Hello("token", id=7)
SUBSCRIBE = Subscribe(("device:d7",), id=7)
UNSUBSCRIBE = Unsubscribe(("device:d7",), id=7)
PING = Ping(id=7)
AUTH = Auth("token-2", id=7)

INBOX = Inbox(id=7)
READ = Read((1,), id=7)

STATES = ("new", "open", "closed")
TABLE: dict[Command, tuple[str, str, str]] = {
    # new                  open                closed
    HELLO: ("verify", "already_connected", ""),
    SUBSCRIBE: ("not_authenticated", "subscribed", ""),
    UNSUBSCRIBE: ("not_authenticated", "unsubscribed", ""),
    PING: ("pong", "pong", ""),
    AUTH: ("not_authenticated", "verify", ""),
    INBOX: ("not_authenticated", "not_configured", ""),
    READ: ("not_authenticated", "not_configured", ""),
}
CELLS = [
    pytest.param(state, command, answer, id=f"{type(command).__name__} when {state}")
    for command, answers in TABLE.items()
    for state, answer in zip(STATES, answers, strict=True)
]


@pytest.mark.parametrize(("state", "command", "answer"), CELLS)
def test_every_command_in_every_state(state: str, command: Command, answer: str) -> None:
    """A command leads to what the table says, and its answer repeats its id."""
    effects = in_state(state).receive(command, NOW)

    assert outcome(effects) == answer
    assert closing(effects) is None
    assert all(getattr(notice, "id", None) == 7 for notice in said(effects))


@pytest.mark.parametrize("state", ["identifying", "refreshing"])
@pytest.mark.parametrize("command", TABLE, ids=lambda command: type(command).__name__)
def test_every_command_waits_for_an_answer(state: str, command: Command) -> None:
    """What comes while a token is being verified is answered after it, as it would be then."""
    session = in_state(state)

    assert session.receive(command, NOW) == []
    assert session.backed_up

    effects = session.identified(ANNA, NOW)

    expected = TABLE[command][1]
    assert (Verify("token") in effects or Verify("token-2") in effects) == (expected == "verify")
    assert expected == "verify" or outcome([Say(said(effects)[-1])]) == expected


def test_life() -> None:
    """A session awaits a hello, is identified, is open, and is closed."""
    session = new_session()
    states = [session.state]

    effects = session.receive(Hello("token"), NOW)
    states.append(session.state)
    session.identified(ANNA, NOW)
    states.append(session.state)
    session.close(GOODBYE)
    states.append(session.state)

    assert effects == [Verify("token")]
    assert states == [State.AWAITING_HELLO, State.IDENTIFYING, State.OPEN, State.CLOSED]


def test_connected() -> None:
    """The answer to a hello says who and where one is, what was joined, and what was not."""
    session = new_session()
    session.receive(Hello("token", ("device:d7", "score:m1", "user:bert", "nonsense"), id="h"), NOW)

    effects = session.identified(ANNA, NOW)

    assert said(effects) == [
        Connected(
            user_id="anna",
            client_id="client-1",
            rooms=("user:anna", "all", "device:d7", "score:m1"),
            refused=(RefusedRoom("user:bert", "forbidden"), RefusedRoom("nonsense", "bad_room")),
            position=HERE,
            recovered=False,
            expires_at=NOW + 3_600,
            ping_interval=25.0,
            id="h",
        )
    ]
    assert joined(effects) == list(session.rooms) == ["user:anna", "all", "device:d7", "score:m1"]


@pytest.mark.parametrize("state", ["identifying", "open", "refreshing"])
def test_close_once(state: str) -> None:
    """A session closes once, with the first reason; then it has nothing more to say or do."""
    session = in_state(state)

    assert closing(session.close(DRAINING)) == DRAINING
    assert session.close(GOODBYE) == []
    assert session.refuse(BadMessage("bad_json", "no"), NOW) == []
    assert session.tick(NOW + 1e9) == []
    assert session.rejected(EXPIRED, NOW) == []


def test_identified_too_late() -> None:
    """A token that is verified after the socket has gone opens nothing."""
    session = in_state("identifying")
    session.close(GOODBYE)

    assert session.identified(ANNA, NOW) == []
    assert not session.rooms


def test_identified_without_asking() -> None:
    """To identify a session that asked for nothing is a mistake of the caller, and is loud."""
    with pytest.raises(AssertionError):
        open_session().identified(ANNA, NOW)


def test_bad_token() -> None:
    """A hello whose token proves nothing closes with 4401 and the reason."""
    reason = closing(in_state("identifying").rejected(EXPIRED, NOW))

    assert reason == UNAUTHENTICATED.because("expired: the token has expired")


# Rooms


def test_subscribe() -> None:
    """A room that may be joined is joined, and the answer names it."""
    session = open_session()

    effects = session.receive(Subscribe(("device:d7", "score:m1"), id=1), NOW)

    assert joined(effects) == ["device:d7", "score:m1"]
    assert said(effects) == [Subscribed(("device:d7", "score:m1"), (), HERE, recovered=False, id=1)]


def test_subscribe_again() -> None:
    """Rooms that one is in already are named in the answer and not joined again, nor one that comes twice."""
    session = open_session(rooms=["device:d7"])

    effects = session.receive(Subscribe(("user:anna", "device:d7", "device:d8", "device:d8")), NOW)

    assert joined(effects) == ["device:d8"]
    assert said(effects) == [Subscribed(("user:anna", "device:d7", "device:d8"), (), HERE, recovered=False)]


def test_subscribe_in_part() -> None:
    """Where some rooms are refused, the others are joined and the answer names both."""
    effects = open_session().receive(Subscribe(("user:bert", "device:d7", "Device:d7")), NOW)

    assert joined(effects) == ["device:d7"]
    assert said(effects) == [
        Subscribed(
            ("device:d7",),
            (RefusedRoom("user:bert", "forbidden"), RefusedRoom("Device:d7", "bad_room")),
            HERE,
            recovered=False,
        )
    ]


@pytest.mark.parametrize(
    ("room", "code", "message"),
    [
        ("user:bert", "forbidden", "user:bert: it is another user's room"),
        ("role:admin", "forbidden", "role:admin: the token does not carry the role"),
        (
            "order:o1",
            "forbidden",
            "order:o1: its kind is not public and the token's rooms claim does not name it",
        ),
        ("order", "bad_room", "order: a room is named kind:id"),
    ],
)
def test_refused_room(room: str, code: str, message: str) -> None:
    """Where every room is refused, the answer is an error that says why, and the socket stays open."""
    session = open_session()

    effects = session.receive(Subscribe((room,), id=1), NOW)

    assert effects == [Say(CommandError(code, message, room=room, id=1))]
    assert session.state is State.OPEN


def test_subscribe_to_nothing() -> None:
    """A list without rooms is answered as what it is."""
    effects = open_session().receive(Subscribe(()), NOW)

    assert said(effects) == [Subscribed((), (), HERE, recovered=False)]
    assert joined(effects) == []


def test_too_many_rooms() -> None:
    """A session is in so many rooms and no more; leaving one makes place for another."""
    session = open_session(rooms_max=3)
    session.receive(Subscribe(("device:d1",)), NOW)

    assert error_codes(session.receive(Subscribe(("device:d2",)), NOW)) == ["too_many_rooms"]

    session.receive(Unsubscribe(("device:d1",)), NOW)
    assert joined(session.receive(Subscribe(("device:d2",)), NOW)) == ["device:d2"]


def test_too_many_rooms_in_a_hello() -> None:
    """Rooms past the limit are refused by the answer to a hello, too; the own rooms are not."""
    session = new_session(rooms_max=3)
    session.receive(Hello("token", ("device:d1", "device:d2")), NOW)

    (connected,) = said(session.identified(ANNA, NOW))

    assert isinstance(connected, Connected)
    assert connected.rooms == ("user:anna", "all", "device:d1")
    assert connected.refused == (RefusedRoom("device:d2", "too_many_rooms"),)


def test_unsubscribe() -> None:
    """A room that one asks to leave is left; one that one is not in is not in the answer."""
    session = open_session(rooms=["device:d7", "device:d8"])

    effects = session.receive(Unsubscribe(("device:d7", "device:d9", "device:d7"), id=1), NOW)

    assert left(effects) == ["device:d7"]
    assert said(effects) == [Unsubscribed(("device:d7",), id=1)]
    assert "device:d8" in session.rooms


def test_own_rooms_cannot_be_left() -> None:
    """Nobody leaves the own rooms: what goes to a user reaches every socket of that user."""
    session = open_session(ANNA_ADMIN)

    effects = session.receive(Unsubscribe(("user:anna", "role:admin", "all")), NOW)

    assert left(effects) == []
    assert said(effects) == [Unsubscribed(())]
    assert list(session.rooms) == ["user:anna", "role:admin", "all"]


# A newer token on the live socket


def refresh(session: Session, principal: Principal) -> list[Effect]:
    """Have a session go on with another token, which names this principal."""
    session.receive(Auth("token-2", id=2), NOW)
    return session.identified(principal, NOW)


def test_refresh_prolongs() -> None:
    """A newer token is good for longer; nothing else changes if it says the same."""
    session = open_session(rooms=["device:d7"])

    effects = refresh(session, replace(ANNA, expires_at=NOW + 9_000))

    rooms = ("user:anna", "all", "device:d7")
    assert said(effects) == [Authenticated(NOW + 9_000, rooms, left=(), id=2)]
    assert joined(effects) == left(effects) == []
    assert session.tick(NOW + 3_600) == []


def test_refresh_loses_and_gains_rooms() -> None:
    """What the newer token does not open is left at once, and what it makes one's own is joined."""
    session = open_session(rooms=["device:d7", "score:m1"])

    effects = refresh(session, ANNA_ADMIN)

    assert left(effects) == ["device:d7"]
    assert joined(effects) == ["role:admin"]
    assert said(effects) == [
        Authenticated(NOW + 7_200, ("user:anna", "all", "score:m1", "role:admin"), left=("device:d7",), id=2)
    ]
    assert left(refresh(session, ANNA)) == ["role:admin"]


def test_refresh_with_another_users_token() -> None:
    """A token of somebody else is refused; the session goes on with the old one."""
    session = open_session(rooms=["device:d7"])

    effects = refresh(session, BERT)

    assert error_codes(effects) == ["wrong_user"]
    assert session.principal == ANNA
    assert "device:d7" in session.rooms
    assert outcome(session.receive(Auth("token-3"), NOW)) == "verify"


def test_refresh_with_a_bad_token() -> None:
    """A token that proves nothing is refused; the session goes on with the old one."""
    session = open_session()
    session.receive(Auth("token-2", id=2), NOW)

    effects = session.rejected(EXPIRED, NOW)

    assert said(effects) == [CommandError("unauthorized", "the token has expired", id=2)]
    assert session.principal == ANNA
    assert outcome(session.receive(Auth("token-3"), NOW)) == "verify"


# The end of the token


def test_expiring_is_said_once() -> None:
    """The end of the token is announced once, in time, and again only for another token."""
    session = open_session()
    end = ANNA.expires_at

    assert session.tick(end - 60.1) == []
    assert session.tick(end - 60) == [Say(Expiring(end))]
    assert session.tick(end - 1) == []
    refresh(session, replace(ANNA, expires_at=end + 10))
    assert session.tick(end - 1) == [Say(Expiring(end + 10))]


def test_expired() -> None:
    """At the end of its token a session is closed with 4401."""
    assert closing(open_session().tick(ANNA.expires_at)) == UNAUTHENTICATED.because("token expired")


def test_grace_after_the_end() -> None:
    """For a while after its end a token keeps the socket open, so that a newer one can come."""
    session = open_session(expiry_grace_seconds=10.0)
    end = ANNA.expires_at

    assert session.tick(end + 9.9) == [Say(Expiring(end))]
    assert session.tick(end + 9.9) == []
    refresh(session, replace(ANNA, expires_at=end + 100))
    assert closing(session.tick(end + 20)) is None
    assert closing(session.tick(end + 110)) == UNAUTHENTICATED.because("token expired")


def test_a_token_without_end() -> None:
    """A token that does not end is neither announced nor closed."""
    assert open_session(Principal("anna")).tick(1e12) == []


@pytest.mark.parametrize("state", ["new", "identifying"])
def test_nothing_is_due_before_open(state: str) -> None:
    """A session that is not open has no token that could end."""
    assert in_state(state).tick(1e12) == []


# Abuse


def test_flood() -> None:
    """Who sends too fast is told how long to wait, and closed with 4009 if that does not help."""
    session = open_session(commands_per_second_max=10.0, commands_burst_max=5, mistakes_max=3)
    answers = [session.receive(Ping(id=number), NOW) for number in range(8)]

    assert [outcome(answer) for answer in answers] == ["pong"] * 4 + ["rate_limited"] * 3 + [""]
    error = said(answers[4])[0]
    assert error == CommandError("rate_limited", "at most 10 commands a second; wait 0.1 s", id=4)
    reason = closing(answers[-1])
    assert reason is not None
    assert (reason.code, reason.reconnect) == (LIMIT.code, True)


def test_a_flood_of_hellos() -> None:
    """The limit holds before a hello as well."""
    session = new_session(commands_per_second_max=10.0, commands_burst_max=1)
    session.receive(PING, NOW)

    assert outcome(session.receive(HELLO, NOW)) == "rate_limited"
    assert outcome(session.receive(HELLO, NOW + 1)) == "verify"


def test_as_fast_as_allowed() -> None:
    """Who keeps to the rate is never refused."""
    session = open_session(commands_per_second_max=10.0, commands_burst_max=5)

    for number in range(1_000):
        assert outcome(session.receive(PING, NOW + 1 + number * 0.1001)) == "pong"


def test_bad_messages() -> None:
    """A bad message is answered; one after the other closes with 4400 and names the last mistake."""
    session = open_session(mistakes_max=3)
    bad = BadMessage("bad_json", "the message is not JSON", command_id=3)

    for _ in range(3):
        assert session.refuse(bad, NOW) == [Say(CommandError("bad_json", "the message is not JSON", id=3))]
    reason = closing(session.refuse(bad, NOW))

    assert reason == BAD_PROTOCOL.because("too many mistakes, the last: the message is not JSON")
    assert reason is not None
    assert not reason.reconnect


def test_mistakes_are_forgiven() -> None:
    """A mistake now and then is forgiven: five seconds each."""
    session = open_session(mistakes_max=1)

    for number in range(100):
        assert closing(session.refuse(BadMessage("bad_json", "no"), NOW + 5.1 * number)) is None


def test_refused_rooms_are_no_mistakes() -> None:
    """To ask for rooms that one may not join is answered, as often as one may ask anything."""
    session = open_session(mistakes_max=1)

    for _ in range(50):
        assert error_codes(session.receive(Subscribe(("user:bert",)), NOW)) == ["forbidden"]


def test_rooms_are_charged_like_commands() -> None:
    """Asking for many rooms spends the credit of many commands, whether they may be joined or not."""
    session = open_session(commands_per_second_max=1.0, commands_burst_max=10)
    foreign = tuple(f"user:other{number}" for number in range(100))

    answers = [session.receive(Subscribe(foreign), NOW) for _ in range(3)]

    assert [outcome(answer) for answer in answers] == ["forbidden", "rate_limited", "rate_limited"]
