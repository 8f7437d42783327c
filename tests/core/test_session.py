"""One socket's state: what every command leads to, and who gets into which room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.core.access import AccessRules, Principal
from bridge.core.close import BAD_PROTOCOL, DRAINING, GOODBYE, LIMIT, UNAUTHENTICATED, CloseReason
from bridge.core.commands import (
    Auth,
    Authenticated,
    Command,
    CommandError,
    Connected,
    Expiring,
    Hello,
    Notice,
    Ping,
    RefusedRoom,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from bridge.core.effects import Close, Effect, Join, Leave, Resume, Say, Verify
from bridge.core.entry import Position
from bridge.core.errors import BadMessage, TokenRejected
from bridge.core.session import Session, SessionRules, State
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


HELLO = Hello("token", id=7)
SUBSCRIBE = Subscribe(("device:d7",), id=7)
UNSUBSCRIBE = Unsubscribe(("device:d7",), id=7)
PING = Ping(id=7)
AUTH = Auth("token-2", id=7)

STATES = ("new", "identifying", "open", "refreshing", "closed")
TABLE: dict[Command, tuple[str, str, str, str, str]] = {
    #            new                  identifying  open                 refreshing           closed
    HELLO: ("verify", "not_ready", "already_connected", "already_connected", ""),
    SUBSCRIBE: ("not_authenticated", "not_ready", "subscribed", "subscribed", ""),
    UNSUBSCRIBE: ("not_authenticated", "not_ready", "unsubscribed", "unsubscribed", ""),
    PING: ("pong", "not_ready", "pong", "pong", ""),
    AUTH: ("not_authenticated", "not_ready", "verify", "not_ready", ""),
}
CELLS = [
    pytest.param(state, command, answer, id=f"{type(command).__name__} when {state}")
    for command, answers in TABLE.items()
    for state, answer in zip(STATES, answers, strict=True)
]


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


@pytest.mark.parametrize(("state", "command", "answer"), CELLS)
def test_every_command_in_every_state(state: str, command: Command, answer: str) -> None:
    """A command leads to what the table says, and its answer repeats its id."""
    effects = in_state(state).receive(command, NOW)

    assert outcome(effects) == answer
    assert closing(effects) is None
    assert all(getattr(notice, "id", None) == 7 for notice in said(effects))


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


# Whatever comes

ROOMS = [
    "all",
    "user:anna",
    "user:bert",
    "role:admin",
    "device:d1",
    "device:d2",
    "score:m1",
    "order:1",
    "x",
    "all:x",
]
room_lists = st.lists(st.sampled_from(ROOMS), max_size=4).map(tuple)
positions = st.none() | st.builds(Position, st.sampled_from(["epoch-1", "epoch-0"]), st.integers(0, 99))
commands = st.one_of(
    st.builds(Hello, st.just("token"), room_lists, positions),
    st.builds(Subscribe, room_lists, positions),
    st.builds(Unsubscribe, room_lists),
    st.builds(Ping),
    st.builds(Auth, st.just("token")),
)
principals = st.builds(
    Principal,
    st.sampled_from(["anna", "anna", "bert"]),
    st.frozensets(st.sampled_from(["admin", "support"])),
    st.lists(st.sampled_from(["device:*", "device:d1", "order:1", "user:b*"]), max_size=2).map(tuple),
    st.floats(NOW, NOW + 500),
)


class SessionModel(RuleBasedStateMachine):
    """Whatever a client sends, and whatever its tokens turn out to be, the promises hold."""

    def __init__(self) -> None:
        """Start with a session that awaits its hello."""
        super().__init__()
        self.session_rules = rules(
            rooms_max=6, mistakes_max=30, commands_burst_max=30, commands_per_second_max=5.0
        )
        self.session = Session("client-1", self.session_rules)
        self.in_rooms: set[str] = set()  # What an edge that carries out the effects makes of them.
        self.closed = False
        self.now = NOW

    def act(self, effects: Sequence[Effect]) -> None:
        """Carry effects out as the socket edge does."""
        assert not (self.closed and effects)
        for effect in effects:
            match effect:
                case Join(rooms):
                    self.in_rooms.update(rooms)
                case Leave(rooms):
                    self.in_rooms.difference_update(rooms)
                case Resume():
                    while not self.session.live:
                        assert self.session.owed(entries_max=8, bytes_max=10_000) is not None
                    self.in_rooms.update(self.session.rooms)
                case Verify():
                    assert self.session.state in (State.IDENTIFYING, State.OPEN)
                case Close():
                    self.closed = True

    @rule(command=commands)
    def receive(self, command: Command) -> None:
        """Have the client send a command."""
        self.act(self.session.receive(command, self.now))

    @rule()
    def send_nonsense(self) -> None:
        """Have the client send what is no command."""
        self.act(self.session.refuse(BadMessage("bad_json", "no"), self.now))

    @rule(principal=principals)
    @precondition(lambda self: self.session._identifying is not None)
    def identify(self, principal: Principal) -> None:
        """Let the token turn out to be good."""
        self.act(self.session.identified(principal, self.now))

    @rule()
    @precondition(lambda self: self.session._identifying is not None)
    def reject(self) -> None:
        """Let the token turn out to be bad."""
        self.act(self.session.rejected(EXPIRED, self.now))

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.act(self.session.tick(self.now))

    @invariant()
    def only_rooms_that_are_open(self) -> None:
        """A session is in no room that the access rules refuse to who it is."""
        if self.session.principal is None:
            assert not self.in_rooms
            return
        for room in self.in_rooms:
            assert self.session_rules.access.decide(self.session.principal, room).allowed

    @invariant()
    def knows_its_rooms(self) -> None:
        """The session's own list is where the socket is; own rooms are always in it."""
        if self.session.state is State.OPEN and self.session.principal is not None:
            assert self.in_rooms == set(self.session.rooms)
            assert set(self.session.principal.own_rooms) <= self.in_rooms

    @invariant()
    def not_in_too_many_rooms(self) -> None:
        """Beside the own rooms a session is in no more than the limit allows."""
        if self.session.principal is not None:
            own = set(self.session.principal.own_rooms)
            assert len(self.in_rooms - own) <= self.session_rules.rooms_max - 2

    @invariant()
    def closed_is_closed(self) -> None:
        """The state says what the effects did."""
        assert self.closed == (self.session.state is State.CLOSED)


TestSessionModel = SessionModel.TestCase
TestSessionModel.settings = settings(deadline=None, stateful_step_count=40, max_examples=200)


def test_rooms_are_charged_like_commands() -> None:
    """Asking for many rooms spends the credit of many commands, whether they may be joined or not."""
    session = open_session(commands_per_second_max=1.0, commands_burst_max=10)
    foreign = tuple(f"user:other{number}" for number in range(100))

    answers = [session.receive(Subscribe(foreign), NOW) for _ in range(3)]

    assert [outcome(answer) for answer in answers] == ["forbidden", "rate_limited", "rate_limited"]
