"""One socket's state, from the first message to the last. It decides; the socket edge acts.

    AWAITING_HELLO ──Hello──► IDENTIFYING ──identified──► OPEN ──► CLOSED
          ▲                        │ rejected                        ▲
          └────────────────────────┴────────── any Close ────────────┘

Every method returns effects, to be carried out in their order. What only somebody else knows is asked by
`Verify` or `Ask`; until the answer comes, further commands wait, so that they are answered in their order.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from bridge.core.access import ASK, Principal
from bridge.core.authority import InboxItem
from bridge.core.close import (
    DRAINING,
    FORBIDDEN,
    UNAUTHENTICATED,
    CloseReason,
)
from bridge.core.commands import (
    Auth,
    Authenticated,
    Command,
    CommandError,
    CommandId,
    Connected,
    Draining,
    Expiring,
    Hello,
    Inbox,
    InboxPage,
    Ping,
    Pong,
    Read,
    ReadDone,
    Subscribe,
    Unread,
    Unsubscribe,
)
from bridge.core.effects import Close, Effect, Join, Leave, Resume, Say, Verify
from bridge.core.errors import BadMessage, TokenRejected
from bridge.core.membership import SessionRules
from bridge.core.questions import Answer, InboxAfter, Items, Marked, MarkItems, May, Question, WhoMay
from bridge.core.revocation import Change, ChangeKind
from bridge.core.turns import Asking, Pending, State, Turns

__all__ = ["Session", "SessionRules", "State"]

INBOX_PAGE_BYTES_MAX = 262_144  # Of payloads; one item comes, however large.
REVOKED = "revoked"  # The reason for which a token is rejected that was good.


class Session(Turns):
    """The state of one socket."""

    __slots__ = ("_expiring_said",)

    def __init__(self, client_id: str, rules: SessionRules) -> None:
        """Await a hello."""
        super().__init__(client_id, rules)
        self._expiring_said = False

    # What the socket edge has found out.

    def identified(self, principal: Principal, now: float) -> list[Effect]:
        """Go on with a verified token, after `Verify`."""
        if self.state is State.CLOSED:
            return []
        pending = self._pending
        if pending is None or pending.question is not None:
            raise AssertionError("identified without a Verify")
        denial = self._rules.access.denial(principal, now)
        if denial:
            return self.rejected(TokenRejected(REVOKED, denial), now)
        if self.principal is not None and principal.user_id != self.principal.user_id:
            bad = BadMessage("wrong_user", "the token is another user's; open a new socket")
            return self._no_refresh(bad, pending.command.id, now)
        pending.principal = principal
        question = self._question(pending.command, principal)
        if question is not None:
            return self._ask(pending, question)
        return self._settle(self._carry_out(pending.command, principal, May(), now), now)

    def rejected(self, rejected: TokenRejected, now: float) -> list[Effect]:
        """Go on with a token that proves nothing, after `Verify`."""
        if self._pending is not None and isinstance(self._pending.command, Auth):
            return self._no_refresh(
                BadMessage("unauthorized", rejected.message), self._pending.command.id, now
            )
        reason = FORBIDDEN if rejected.reason == REVOKED else UNAUTHENTICATED
        return self.close(reason.because(f"{rejected.reason}: {rejected.message}"))

    def answered(self, question: Question, answer: Answer, now: float) -> list[Effect]:
        """Go on with an answer, after `Ask`. One that is not awaited any more is ignored."""
        pending = self._pending
        if pending is None or pending.question is not question:
            return []
        principal = pending.principal or self.principal
        if principal is None:
            raise AssertionError("a question without a principal")
        if isinstance(answer, May):
            if answer.rooms is not None:
                answer.rooms = set(answer.rooms) - pending.lost_rooms
            if answer.unread is not None and pending.unread is not None:
                answer.unread = pending.unread
        return self._settle(self._carry_out(pending.command, principal, answer, now), now)

    def access_changed(self, change: Change, now: float) -> list[Effect]:
        """Obey a change of what this session's user may; `rules.access` knows of it already."""
        lost = change.room if change.kind is ChangeKind.GRANT_REVOKED else ""
        if self._pending is not None and lost in self._pending.rooms_asked:
            self._pending.lost_rooms.add(lost)  # The answer may be from before.
        if self.state is not State.OPEN or self.principal is None:
            return []  # It is looked at when the session opens.
        denial = self._rules.access.denial(self.principal, now)
        if denial:
            return self.close(FORBIDDEN.because(f"{REVOKED}: {change.reason or denial}"))
        if change.kind is ChangeKind.GRANT_REVOKED:
            return self._lose(change.room, self.principal)
        return []

    def unread_changed(self, notice: Unread) -> list[Effect]:
        """Tell the newest count; of a session that is not open yet, with the answer to its hello."""
        if self._pending is not None:
            self._pending.unread = notice.unread
        return [Say(notice)] if self.state is State.OPEN else []

    @property
    def user_id(self) -> str:
        """Whose session this is, or is about to be; empty before a token was verified."""
        principal = self.principal or (self._pending.principal if self._pending is not None else None)
        return principal.user_id if principal is not None else ""

    @property
    def ahead(self) -> bool:
        """Whether the client has seen more of this life of the log than the node: it will catch up."""
        command = self._pending.command if self._pending is not None else None
        since = command.since if isinstance(command, Hello) else None
        window = self._rules.window
        return since is not None and since.epoch == window.epoch and since.offset > window.head

    @property
    def ends_at(self) -> float:
        """When a session that is open closes unless it gets a newer token; infinite if it does not."""
        if self.principal is None:
            return float("inf")
        return self.principal.expires_at + self._rules.expiry_grace_seconds

    def tick(self, now: float) -> list[Effect]:
        """Say or do what is due. Call now and then, and once at `ends_at`."""
        if self.state is not State.OPEN or self.principal is None:
            return []
        expires_at = self.principal.expires_at
        if now >= self.ends_at:
            return self.close(UNAUTHENTICATED.because("token expired"))
        if not self._expiring_said and now >= expires_at - self._rules.expiring_notice_seconds:
            self._expiring_said = True
            return [Say(Expiring(expires_at))]
        return []

    def turn_away(self, reason: CloseReason) -> list[Effect]:
        """Close a session that has just opened, as if it never had."""
        self.principal = None
        self.rooms = {}
        self.close(reason)
        return [Close(reason)]  # Also if it has closed itself in the meantime, of which nothing was done yet.

    def _obey(self, command: Command, now: float) -> list[Effect]:
        principal = self.principal
        if isinstance(command, Hello) or principal is None:
            return self._hello(command, now)
        match command:
            case Unsubscribe():
                return self._unsubscribe(command, principal)
            case Ping():
                return [Say(Pong(self._rules.window.position if self.live else None, command.id))]
            case Auth():
                self._pending = Pending(command)
                return [Verify(command.token)]
            case Subscribe() | Inbox() | Read():
                question = self._question(command, principal)
                if question is not None:
                    return self._ask(Pending(command), question)
                return self._carry_out(command, principal, May(), now)

    def _hello(self, command: Command, now: float) -> list[Effect]:
        if self.state is State.OPEN:
            return self._mistake(
                BadMessage(
                    "already_connected", "hello comes once; use auth or subscribe", command_id=command.id
                ),
                now,
            )
        if not isinstance(command, Hello):
            if isinstance(command, Ping):
                return [Say(Pong(None, command.id))]
            return self._mistake(
                BadMessage("not_authenticated", "send hello with a token first", command_id=command.id), now
            )
        self.state = State.IDENTIFYING
        self._pending = Pending(command)
        return [Verify(command.token)]

    # Questions, and what follows from the answers.

    def _question(self, command: Asking, principal: Principal) -> Question | None:
        """Return what has to be asked before a command can be answered, None if nothing has."""
        rules, user_id = self._rules, principal.user_id
        match command:
            case Hello():
                rooms = self._to_ask(principal, command.rooms)
                asked = rules.users_checked or rooms or rules.inbox
                return WhoMay(user_id, rules.users_checked, rooms, rules.inbox) if asked else None
            case Auth():
                rooms = tuple(room for room in self.rooms if rules.access.decide(principal, room).code == ASK)
                return WhoMay(user_id, rules.users_checked, rooms) if rules.users_checked or rooms else None
            case Subscribe():
                rooms = self._to_ask(principal, command.rooms)
                return WhoMay(user_id, rooms=rooms) if rooms else None
            case Inbox():
                return InboxAfter(user_id, command.after, command.limit) if rules.inbox else None
            case Read():
                return MarkItems(user_id, command.item_ids) if rules.inbox else None

    def _carry_out(  # noqa: PLR0911 - a table
        self, command: Asking, principal: Principal, answer: Answer, now: float
    ) -> list[Effect]:
        """Do what a command asks for, knowing what can be known."""
        match command, answer:
            case Hello(), May():
                return self._open(command, principal, answer, now)
            case Auth(), May():
                return self._refresh(command, principal, answer, now)
            case Subscribe(), May():
                return self._subscribe(command, principal, answer.rooms)
            case Inbox(), Items():
                return [Say(_page(command, answer.items))]
            case Read(), Marked():
                return [Say(ReadDone(answer.unread, command.id))]
            case ((Inbox() | Read()), May()):  # That is, nothing was asked.
                return [Say(CommandError("not_configured", "there is no inbox here", id=command.id))]
            case _:
                return _unavailable(command)

    def _open(self, hello: Hello, principal: Principal, may: May, now: float) -> list[Effect]:
        if self._rules.users_checked and may.active is None:
            return self._send_away("users cannot be checked")
        denial = self._denial(principal, may, now)  # Anew: it may be news since the question.
        if denial:
            return self.close(FORBIDDEN.because(denial))
        self.principal = principal
        self.state = State.OPEN
        since = self._reachable(hello.since)
        refused = self._enter(principal, hello.rooms, since, may.rooms)
        answer = Connected(
            user_id=principal.user_id,
            client_id=self.client_id,
            rooms=tuple(self.rooms),
            refused=refused,
            position=self._rules.window.position if since is None else since,
            recovered=since is not None,
            expires_at=principal.expires_at,
            ping_interval=self._rules.ping_interval_seconds,
            unread=may.unread,
            id=hello.id,
        )
        return [Say(answer), Join(answer.rooms) if since is None else Resume()]

    def _refresh(self, auth: Auth, principal: Principal, may: May, now: float) -> list[Effect]:
        if self.principal is None:
            raise AssertionError("refreshed before it was open")
        if self._rules.users_checked and may.active is None:
            return _unavailable(auth)
        denial = self._denial(principal, may, now)
        if denial:
            return self.close(FORBIDDEN.because(denial))
        left, gained = self._change_principal(self.principal, principal, may.rooms)
        self.principal = principal
        self._expiring_said = False
        answer = Authenticated(principal.expires_at, tuple(self.rooms), left, auth.id)
        return [Leave(left), *self._join(gained), Say(answer)]

    def _denial(self, principal: Principal, may: May, now: float) -> str:
        if self._rules.users_checked and not may.active:
            return "there is no such user, or they are not active"
        denial = self._rules.access.denial(principal, now)
        return denial and f"{REVOKED}: {denial}"

    def _no_refresh(self, bad: BadMessage, command_id: CommandId, now: float) -> list[Effect]:
        """Refuse the token of an auth: the one before stays in force."""
        bad.command_id = command_id
        return self._settle(self._mistake(bad, now), now)

    def _send_away(self, why: str) -> list[Effect]:
        """Close with a hint when to come back: this is our trouble, and may be over soon."""
        seconds = random.uniform(0.1, self._rules.retry_after_seconds_max)  # noqa: S311 - jitter
        retry_after_ms = int(seconds * 1000)
        reason = DRAINING.because(f"draining: {why} at the moment; come back after {retry_after_ms} ms")
        return [Say(Draining(retry_after_ms)), *self.close(reason)]


def _unavailable(command: Asking) -> list[Effect]:
    message = "this cannot be found out at the moment; ask again later"
    return [Say(CommandError("unavailable", message, id=command.id))]


def _page(command: Inbox, items: Sequence[InboxItem]) -> InboxPage:
    """Return as many items as one message should hold, at least one if there is one."""
    taken: list[InboxItem] = []
    bytes_taken = 0
    for item in items:
        bytes_taken += len(item.payload)
        if taken and bytes_taken > INBOX_PAGE_BYTES_MAX:
            break
        taken.append(item)
    more = len(taken) < len(items) or len(items) >= command.limit
    return InboxPage(tuple(taken), more, command.id)
