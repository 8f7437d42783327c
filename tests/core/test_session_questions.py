"""What a session cannot know by itself: it asks, waits for the answer, and goes on in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.core.access import ASK, AccessRules, Principal
from bridge.core.authority import InboxItem
from bridge.core.close import DRAINING, FORBIDDEN, GOODBYE
from bridge.core.commands import (
    Auth,
    Authenticated,
    Command,
    CommandError,
    Connected,
    Draining,
    Hello,
    Inbox,
    InboxPage,
    Ping,
    Pong,
    Read,
    ReadDone,
    RefusedRoom,
    Revoked,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from bridge.core.effects import Ask, Close, Effect, Join, Leave, Resume, Say, Verify
from bridge.core.entry import Position
from bridge.core.errors import BadMessage
from bridge.core.questions import Answer, InboxAfter, Items, Marked, MarkItems, May, Question, Unknown, WhoMay
from bridge.core.revocation import Change, ChangeKind, Revocations
from bridge.core.session import INBOX_PAGE_BYTES_MAX, Session, State
from tests.core.sessions import (
    ANNA,
    EXPIRED,
    NOW,
    asked,
    closing,
    joined,
    left,
    rules,
    said,
)

D7, D8, DOC = "lock:d7", "lock:d8", "device:d1"  # A query decides about locks; the token names devices.
QUERIED = AccessRules(frozenset({"score"}), frozenset({"lock"}))


def knowing(**changes: Any) -> Session:  # noqa: ANN401 - any rule
    """Return a session of a node that has queries for locks, and awaits its hello."""
    return Session("client-1", rules(**{"access": QUERIED, **changes}))


def opened(may: May | None = None, **changes: Any) -> Session:  # noqa: ANN401 - any rule
    """Return a session that is open, after whatever had to be asked."""
    session = knowing(**changes)
    session.receive(Hello("token"), NOW)
    effects = session.identified(ANNA, NOW)
    if session.state is State.IDENTIFYING:
        session.answered(asked(effects), may or May(active=True, unread=0), NOW)
    assert session.state is State.OPEN
    return session


def error(effects: Sequence[Effect]) -> tuple[str, object]:
    """Return code and id of the only thing that the client is told."""
    (notice,) = said(effects)
    assert isinstance(notice, CommandError)
    return notice.code, notice.id


# Hello


def test_nothing_is_asked_in_vain() -> None:
    """A hello that needs no answer of others is answered at once."""
    session = knowing()
    session.receive(Hello("token", (DOC,)), NOW)

    assert isinstance(said(session.identified(ANNA, NOW))[0], Connected)


def test_all_is_asked_at_once() -> None:
    """One question asks for the user, all rooms that need it, and the unread count."""
    session = knowing(users_checked=True, inbox=True)
    session.receive(Hello("token", (D7, DOC, "score:m1", "user:bert", D8, D7, "x")), NOW)
    effects = session.identified(ANNA, NOW)

    question = asked(effects)
    assert isinstance(question, WhoMay)
    assert (question.user_id, question.active, question.rooms, question.unread) == (
        "anna",
        True,
        (D7, D8),
        True,
    )
    assert session.state is State.IDENTIFYING

    effects = session.answered(question, May(active=True, rooms={D7}, unread=3), NOW)
    (connected,) = said(effects)
    assert isinstance(connected, Connected)
    assert connected.rooms == ("user:anna", "all", D7, DOC, "score:m1")
    assert {room.room: room.code for room in connected.refused} == {
        "user:bert": "forbidden",
        D8: "forbidden",
        "x": "bad_room",
    }
    assert connected.unread == 3
    assert joined(effects) == list(connected.rooms)


def test_user_that_is_not_active() -> None:
    """A good token of a user that does not exist, or is not active, opens nothing: 4403."""
    session = knowing(users_checked=True)
    session.receive(Hello("token"), NOW)
    question = asked(session.identified(ANNA, NOW))

    reason = closing(session.answered(question, May(active=False), NOW))
    assert reason == FORBIDDEN.because("there is no such user, or they are not active")
    assert session.principal is None
    assert not session.rooms


def test_user_that_cannot_be_checked() -> None:
    """When nobody can tell, the socket is closed with a hint when to come back; it is never let in."""
    session = knowing(users_checked=True, retry_after_seconds_max=3.0)
    session.receive(Hello("token"), NOW)
    question = asked(session.identified(ANNA, NOW))

    effects = session.answered(question, May(), NOW)
    (draining,) = said(effects)
    assert isinstance(draining, Draining)
    assert 100 <= draining.retry_after_ms <= 3_000
    reason = closing(effects)
    assert reason is not None
    assert (reason.code, reason.reconnect) == (DRAINING.code, True)
    assert session.principal is None


def test_rooms_that_cannot_be_asked_for() -> None:
    """Other rooms are joined all the same; those that need a query may be asked for again."""
    session = knowing()
    session.receive(Hello("token", (D7, DOC, "score:m1")), NOW)
    question = asked(session.identified(ANNA, NOW))

    (connected,) = said(session.answered(question, May(rooms=None), NOW))
    assert isinstance(connected, Connected)
    assert connected.rooms == ("user:anna", "all", DOC, "score:m1")
    assert connected.refused == (RefusedRoom(D7, "unavailable"),)


def test_socket_that_closes_while_it_waits() -> None:
    """An answer that comes after the end changes nothing."""
    session = knowing(users_checked=True)
    session.receive(Hello("token"), NOW)
    question = asked(session.identified(ANNA, NOW))
    session.close(GOODBYE)

    assert session.answered(question, May(active=True), NOW) == []
    assert session.principal is None


def test_answer_to_another_question() -> None:
    """Only the answer to the question that is open counts."""
    session = opened()
    first = asked(session.receive(Subscribe((D7,)), NOW))
    session.answered(first, May(rooms={D7}), NOW)
    second = asked(session.receive(Subscribe((D8,)), NOW))

    assert session.answered(first, May(rooms={D8}), NOW) == []
    assert joined(session.answered(second, May(rooms={D8}), NOW)) == [D8]


# Subscribe


def test_subscribe_with_a_query() -> None:
    """One answer for all rooms of the command, those that needed a query and those that did not."""
    session = opened()
    effects = session.receive(Subscribe((D7, D8, "score:m1", "user:bert"), id=1), NOW)
    assert said(effects) == []

    effects = session.answered(asked(effects), May(rooms={D8}), NOW)
    (answer,) = said(effects)
    assert isinstance(answer, Subscribed)
    assert answer.rooms == (D8, "score:m1")
    assert answer.refused == (RefusedRoom(D7, "forbidden"), RefusedRoom("user:bert", "forbidden"))
    assert joined(effects) == [D8, "score:m1"]


@pytest.mark.parametrize(("may", "code"), [(May(rooms=()), "forbidden"), (May(rooms=None), "unavailable")])
def test_subscribe_that_opens_nothing(may: May, code: str) -> None:
    """Where no room is opened the answer is an error, which says whether to ask again."""
    session = opened()
    effects = session.answered(asked(session.receive(Subscribe((D7,), id=1), NOW)), may, NOW)

    assert error(effects) == (code, 1)
    assert D7 not in session.rooms


def test_rooms_one_is_in_are_not_asked_for_again() -> None:
    """Only rooms that the socket is not in yet are asked for."""
    session = opened()
    session.answered(asked(session.receive(Subscribe((D7,)), NOW)), May(rooms={D7}), NOW)

    assert isinstance(said(session.receive(Subscribe((D7,)), NOW))[0], Subscribed)


def test_commands_wait_for_the_answer() -> None:
    """What comes behind a question is answered after it, in order, bad messages as well."""
    session = opened()
    question = asked(session.receive(Subscribe((D7,), id=1), NOW))
    session.receive(Ping(id=2), NOW)
    session.refuse(BadMessage("bad_json", "no", command_id=3), NOW)
    session.receive(Subscribe((D8,), id=4), NOW)
    session.receive(Ping(id=5), NOW)

    first = session.answered(question, May(rooms={D7}), NOW)
    assert [notice.id for notice in said(first) if not isinstance(notice, Draining)] == [1, 2, 3]  # type: ignore[union-attr]
    second = session.answered(asked(first), May(rooms={D8}), NOW)
    assert [type(notice) for notice in said(second)] == [Subscribed, Pong]
    assert not session.backed_up


def test_too_many_commands_wait() -> None:
    """So many wait and no more; those too many are told so at once, and count as mistakes."""
    session = opened(commands_waiting_max=3, mistakes_max=2)
    session.receive(Subscribe((D7,), id=1), NOW)
    answers = [session.receive(Ping(id=number), NOW) for number in range(2, 9)]

    assert answers[:3] == [[], [], []]
    assert [error(answer) for answer in answers[3:5]] == [("not_ready", 5), ("not_ready", 6)]
    assert closing(answers[5]) is not None


# A newer token


def refreshed(session: Session, may: May, principal: Principal = ANNA) -> list[Effect]:
    """Have a session go on with another token, and get this answer."""
    session.receive(Auth("token-2", id=2), NOW)
    return session.answered(asked(session.identified(principal, NOW)), may, NOW)


def in_lock(**changes: Any) -> Session:  # noqa: ANN401 - any rule
    """Return a session that a query has let into a room."""
    session = opened(users_checked=True, **changes)
    session.answered(asked(session.receive(Subscribe((D7, DOC)), NOW)), May(rooms={D7}), NOW)
    return session


def test_refresh_asks_again() -> None:
    """A newer token has user and rooms checked again: what is granted no more is left."""
    effects = refreshed(in_lock(), May(active=True, rooms=()))

    assert left(effects) == [D7]
    (answer,) = said(effects)
    assert isinstance(answer, Authenticated)
    assert answer.left == (D7,)


def test_refresh_when_rooms_cannot_be_asked_for() -> None:
    """A room that a query has opened stays open; one that the new token does not name is left."""
    effects = refreshed(in_lock(), May(active=True), Principal("anna", expires_at=NOW + 9_000))

    assert left(effects) == [DOC]


def test_refresh_when_the_user_cannot_be_checked() -> None:
    """The newer token is refused for now, and the older one stays in force."""
    session = in_lock()
    effects = refreshed(session, May(), Principal("anna", expires_at=NOW + 9_000))

    assert error(effects) == ("unavailable", 2)
    assert session.principal == ANNA


def test_refresh_of_a_user_that_is_not_active() -> None:
    """A user that is not active any more is closed with 4403."""
    assert closing(refreshed(in_lock(), May(active=False))) is not None


# Revocation


def change(kind: ChangeKind, user_id: str = "anna", **values: Any) -> Change:  # noqa: ANN401 - any field
    """Return a change that happened now."""
    return Change(kind, user_id, NOW, **values)


class Node:
    """What a node does with a change: remember it, then have the session obey."""

    def __init__(self) -> None:
        """Remember nothing."""
        self.revocations = Revocations(seconds_max=1e9, marks_max=100)
        self.access = AccessRules(frozenset({"score"}), frozenset({"lock"}), self.revocations)

    def apply(self, session: Session, a_change: Change) -> list[Effect]:
        """Apply a change."""
        self.revocations.apply(a_change, logged_at=NOW, now=NOW)
        return session.access_changed(a_change, NOW)


CLOSING = [
    (change(ChangeKind.USER_DISABLED), "revoked: the user is disabled"),
    (change(ChangeKind.USER_DISABLED, reason="unpaid"), "revoked: unpaid"),
    (change(ChangeKind.SESSION_REVOKED, token_id="t1"), "revoked: the token is revoked"),
    (
        change(ChangeKind.SESSION_REVOKED, issued_before=NOW),
        "revoked: the user's sessions are revoked; log in again",
    ),
]
WITH_ID = Principal("anna", rooms=("device:*",), expires_at=NOW + 3_600, token_id="t1", issued_at=NOW - 60)


@pytest.mark.parametrize(("a_change", "why"), CLOSING)
def test_revocation_closes(a_change: Change, why: str) -> None:
    """Whoever may do nothing any more is closed with 4403, and told why."""
    node = Node()
    session = knowing(access=node.access)
    session.receive(Hello("token"), NOW)
    session.identified(WITH_ID, NOW)

    assert node.apply(session, a_change) == [Close(FORBIDDEN.because(why))]


@pytest.mark.parametrize(("a_change", "_why"), CLOSING)
def test_revocation_refuses(a_change: Change, _why: str) -> None:
    """Whoever comes later with such a token gets no further, nor does one whose question is open."""
    node = Node()
    waiting = knowing(access=node.access, users_checked=True)
    waiting.receive(Hello("token"), NOW)
    question = asked(waiting.identified(WITH_ID, NOW))
    node.apply(waiting, a_change)
    late = knowing(access=node.access)
    late.receive(Hello("token"), NOW)

    for reason in (
        closing(waiting.answered(question, May(active=True), NOW)),
        closing(late.identified(WITH_ID, NOW)),
    ):
        assert reason is not None
        assert (reason.code, reason.reconnect) == (FORBIDDEN.code, False)


def test_refresh_with_a_revoked_token() -> None:
    """A revoked token refreshes nothing; the socket's own stays in force."""
    node = Node()
    session = opened(access=node.access)
    node.apply(session, change(ChangeKind.SESSION_REVOKED, token_id="t1"))
    session.receive(Auth("token-2", id=2), NOW)

    assert error(session.identified(WITH_ID, NOW)) == ("unauthorized", 2)
    assert session.principal == ANNA


@pytest.mark.parametrize(
    ("room", "leaves"),
    [(D7, True), (DOC, True), ("score:m1", False), ("user:anna", False), ("all", False), (D8, False)],
)
def test_lost_room(room: str, *, leaves: bool) -> None:
    """A room that a query or a claim has opened is left, with a notice; others are nobody's to take."""
    node = Node()
    session = opened(access=node.access)
    session.answered(asked(session.receive(Subscribe((D7, DOC, "score:m1")), NOW)), May(rooms={D7}), NOW)

    effects = node.apply(session, change(ChangeKind.GRANT_REVOKED, room=room))
    assert effects == ([Leave((room,)), Say(Revoked((room,)))] if leaves else [])
    assert room not in session.rooms or not leaves


@pytest.mark.parametrize("in_hello", [True, False])
def test_room_lost_while_it_is_asked_for(*, in_hello: bool) -> None:
    """An answer may be from before a revocation: the room is not joined on its strength."""
    node = Node()
    session = knowing(access=node.access)
    session.receive(Hello("token", (D7,) if in_hello else ()), NOW)
    effects = session.identified(ANNA, NOW)
    if not in_hello:
        effects = session.receive(Subscribe((D7,)), NOW)
    node.apply(session, change(ChangeKind.GRANT_REVOKED, room=D7))

    assert D7 not in joined(session.answered(asked(effects), May(rooms={D7}), NOW))
    assert D7 not in session.rooms


def test_turned_away() -> None:
    """A session that is one too many is closed, whatever became of it meanwhile."""
    closed = opened()
    closed.close(GOODBYE)
    for session in (opened(), closed):
        assert session.turn_away(DRAINING) == [Close(DRAINING)]
        assert session.principal is None


# The inbox


def item(item_id: int, size: int = 2) -> InboxItem:
    """Return an item with a payload of this size."""
    return InboxItem(item_id, b"x" * size, read=False)


def test_inbox() -> None:
    """An inbox is asked for what follows an item; the answer says whether there may be more."""
    session = opened(inbox=True)
    question = asked(session.receive(Inbox(after=4, limit=2, id=1), NOW))
    assert isinstance(question, InboxAfter)
    assert (question.user_id, question.after, question.limit) == ("anna", 4, 2)

    effects = session.answered(question, Items([item(5), item(7)]), NOW)
    assert said(effects) == [InboxPage((item(5), item(7)), more=True, id=1)]


@pytest.mark.parametrize(
    ("sizes", "taken", "more"),
    [
        ([], 0, False),
        ([2, 2], 2, False),
        ([2, 2, 2], 3, True),
        ([INBOX_PAGE_BYTES_MAX, 2], 1, True),
        ([INBOX_PAGE_BYTES_MAX + 1], 1, False),
        ([INBOX_PAGE_BYTES_MAX - 2, 2], 2, False),
    ],
)
def test_page(sizes: list[int], taken: int, *, more: bool) -> None:
    """A page has as many items as fit, at least one; what is left can be asked for."""
    session = opened(inbox=True)
    question = asked(session.receive(Inbox(limit=3), NOW))
    items = [item(number, size) for number, size in enumerate(sizes)]

    assert said(session.answered(question, Items(items), NOW)) == [InboxPage(tuple(items[:taken]), more)]


def test_read() -> None:
    """Reading items answers with how many are unread then."""
    session = opened(inbox=True)
    question = asked(session.receive(Read((5, 7), id=2), NOW))
    assert isinstance(question, MarkItems)
    assert (question.user_id, question.item_ids) == ("anna", (5, 7))

    assert said(session.answered(question, Marked(1), NOW)) == [ReadDone(1, id=2)]


@pytest.mark.parametrize("command", [Inbox(id=1), Read((1,), id=1)])
def test_inbox_out_of_reach(command: Command) -> None:
    """When the inbox cannot be reached the answer is an error that invites to ask again."""
    session = opened(inbox=True)
    question = asked(session.receive(command, NOW))

    assert error(session.answered(question, Unknown(), NOW)) == ("unavailable", 1)


# Whatever comes, and whenever

NAMES = ["all", "user:anna", "user:bert", "role:admin", DOC, D7, D8, "score:m1", "order:1", "x"]
room_lists = st.lists(st.sampled_from(NAMES), max_size=4).map(tuple)
positions = st.none() | st.builds(Position, st.sampled_from(["epoch-1", "epoch-0"]), st.integers(0, 99))
commands = st.one_of(
    st.builds(Hello, st.just("token"), room_lists, positions),
    st.builds(Subscribe, room_lists, positions),
    st.builds(Unsubscribe, room_lists),
    st.builds(Ping),
    st.builds(Auth, st.just("token")),
    st.builds(Inbox),
    st.builds(Read, st.just((1, 2))),
)
principals = st.builds(
    Principal,
    st.sampled_from(["anna", "anna", "anna", "bert"]),
    st.frozensets(st.sampled_from(["admin", "support"])),
    st.lists(st.sampled_from(["device:*", "lock:d7", "order:1", "user:b*"]), max_size=2).map(tuple),
    st.floats(NOW, NOW + 500),
    st.sampled_from(["", "t1"]),
    st.none() | st.floats(NOW - 10, NOW + 100),
)
answers = st.builds(
    May,
    st.sampled_from([True, True, True, False, None]),
    st.none() | st.sets(st.sampled_from([D7, D8])),
    st.none() | st.integers(0, 9),
)


class SessionModel(RuleBasedStateMachine):
    """Whatever a client sends, whatever is found out, late or never, and whatever is revoked meanwhile."""

    def __init__(self) -> None:
        """Start with a session that awaits its hello."""
        super().__init__()
        self.node = Node()
        self.session_rules = rules(
            access=self.node.access,
            rooms_max=6,
            mistakes_max=30,
            commands_burst_max=30,
            commands_per_second_max=5.0,
            commands_waiting_max=4,
            users_checked=True,
            inbox=True,
        )
        self.session = Session("client-1", self.session_rules)
        self.in_rooms: set[str] = set()  # What an edge that carries out the effects makes of them.
        self.lost: set[str] = set()  # Revoked since the open question was asked.
        self.granted: set[str] = set()  # What a query has opened, and no change has closed since.
        self.verifying = False
        self.question: Question | None = None
        self.answered: list[Question] = []
        self.closed = False
        self.now = NOW
        self.sent = 0
        self.last_answered = 0

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
                    assert not self.verifying
                    assert self.question is None
                    self.verifying = True
                case Ask(question):
                    assert not self.verifying
                    assert self.question is None
                    self.question = question
                    self.lost = set()
                case Close():
                    self.closed = True
                    self.in_rooms.clear()
                case Say(notice):
                    self.in_order(notice)

    def in_order(self, notice: object) -> None:
        """Note which command is answered: none is before an earlier one, except if it may not wait."""
        command_id = getattr(notice, "id", None)
        if command_id is None or (isinstance(notice, CommandError) and notice.code == "not_ready"):
            return
        assert command_id > self.last_answered
        self.last_answered = command_id

    def next_id(self) -> int:
        """Return the id of the next thing that the client sends."""
        self.sent += 1
        return self.sent

    @rule(command=commands)
    def receive(self, command: Command) -> None:
        """Have the client send a command."""
        self.act(self.session.receive(replace(command, id=self.next_id()), self.now))

    @rule()
    def send_nonsense(self) -> None:
        """Have the client send what is no command."""
        self.act(self.session.refuse(BadMessage("bad_json", "no", command_id=self.next_id()), self.now))

    @rule(principal=principals)
    @precondition(lambda self: self.verifying)
    def identify(self, principal: Principal) -> None:
        """Let the token turn out to be good."""
        self.verifying = False
        self.act(self.session.identified(principal, self.now))

    @rule()
    @precondition(lambda self: self.verifying)
    def reject(self) -> None:
        """Let the token turn out to be bad."""
        self.verifying = False
        self.act(self.session.rejected(EXPIRED, self.now))

    @rule(may=answers, known=st.booleans())
    @precondition(lambda self: self.question is not None)
    def answer(self, may: May, *, known: bool) -> None:
        """Let the answer come, late as it may be."""
        question, self.question = self.question, None
        assert question is not None
        self.answered.append(question)
        answer: Answer = Unknown()
        match question:
            case WhoMay():
                may.rooms = (
                    None if may.rooms is None else {room for room in may.rooms if room in question.rooms}
                )
                self.granted |= set(may.rooms or ()) - self.lost
                answer = may
            case InboxAfter() if known:
                answer = Items([item(1)])
            case MarkItems() if known:
                answer = Marked(0)
        self.lost = set()
        self.act(self.session.answered(question, answer, self.now))

    @rule()
    @precondition(lambda self: self.answered)
    def answer_again(self) -> None:
        """Let an answer come a second time."""
        before = dict(self.session.rooms)
        assert self.session.answered(self.answered[-1], May(active=True, rooms={D7, D8}), self.now) == []
        assert self.session.rooms == before

    @rule(
        kind=st.sampled_from(ChangeKind),
        room=st.sampled_from([D7, D8, DOC, "score:m1"]),
        token_id=st.sampled_from(["", "t1"]),
    )
    def change(self, kind: ChangeKind, room: str, token_id: str) -> None:
        """Let the log tell of a change."""
        a_change = Change(kind, "anna", self.now, token_id, self.now - 100, room)
        if self.session.user_id == "bert":
            return  # Whose sockets are left alone by the edge.
        if kind is ChangeKind.GRANT_REVOKED:
            self.granted.discard(room)
            self.lost.add(room)
        self.act(self.node.apply(self.session, a_change))

    @rule()
    @precondition(lambda self: self.sent > 20)  # Else most runs are over before they have begun.
    def leave(self) -> None:
        """Let the client go, whatever is open."""
        self.act(self.session.close(GOODBYE))

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.act(self.session.tick(self.now))

    @invariant()
    def only_rooms_that_are_open(self) -> None:
        """A session is in no room that neither its token opens nor a query has opened."""
        principal = self.session.principal
        if principal is None:
            assert not self.in_rooms
            return
        for room in self.in_rooms:
            decision = self.session_rules.access.decide(principal, room)
            assert decision.allowed or (decision.code == ASK and room in self.granted)

    @invariant()
    def only_those_who_may(self) -> None:
        """A session that is open is of a user against whom nothing speaks."""
        if self.session.state is State.OPEN and self.session.principal is not None:
            assert not self.session_rules.access.denial(self.session.principal, self.now)

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
    def bounded_waiting(self) -> None:
        """No more commands wait than may, and none waits for nothing."""
        pending = self.session._pending
        assert pending is None or len(pending.waiting) <= self.session_rules.commands_waiting_max
        if not self.closed:
            assert (pending is not None) == (self.verifying or self.question is not None)

    @invariant()
    def closed_is_closed(self) -> None:
        """The state says what the effects did."""
        assert self.closed == (self.session.state is State.CLOSED)


TestSessionModel = SessionModel.TestCase
TestSessionModel.settings = settings(deadline=None, stateful_step_count=50, max_examples=300)
