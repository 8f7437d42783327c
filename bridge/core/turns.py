"""The part of a session that takes one command after the other, and no more than it may.

While a command awaits an answer from somebody who knows, those behind it wait, so that all are answered in
their order. What comes too fast, and what is no command, is a mistake; a few are forgiven.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum, auto

from bridge.core.access import Principal
from bridge.core.close import BAD_PROTOCOL, LIMIT, CloseReason
from bridge.core.commands import Auth, Command, CommandError, Hello, Inbox, Ping, Read, Subscribe
from bridge.core.effects import Ask, Close, Effect, Say
from bridge.core.errors import BadMessage
from bridge.core.limits import TokenBucket
from bridge.core.membership import Membership, SessionRules
from bridge.core.questions import Question, WhoMay


class State(Enum):
    """Where a session is in its life."""

    AWAITING_HELLO = auto()
    IDENTIFYING = auto()
    OPEN = auto()
    CLOSED = auto()


MISTAKES_FORGIVEN_PER_SECOND = 0.2
THINGS_PER_CREDIT = 20  # So many rooms or items cost as much as one more command.
Asking = Hello | Auth | Subscribe | Inbox | Read  # The commands that may have to wait for an answer.


@dataclass(slots=True)
class Pending:
    """A command that awaits an answer, and what has come behind it."""

    command: Asking
    principal: Principal | None = None  # Of a hello or an auth, once its token is verified.
    question: Question | None = None  # Set once it is asked; None while the token is being verified.
    lost_rooms: set[str] = field(default_factory=set)  # Of those asked for: revoked since.
    unread: int | None = None  # A newer count than the answer may have; None when none was told.
    waiting: deque[Command | BadMessage] = field(default_factory=deque)

    @property
    def rooms_asked(self) -> Collection[str]:
        """The rooms that are asked for."""
        return self.question.rooms if isinstance(self.question, WhoMay) else ()


class Turns(Membership):
    """One command after the other. A subclass says what they lead to."""

    __slots__ = ("_commands", "_mistakes", "_pending", "client_id", "state")

    def __init__(self, client_id: str, rules: SessionRules) -> None:
        """Await a hello."""
        super().__init__(rules)
        self._pending: Pending | None = None  # Set while an answer is awaited.
        self._commands: TokenBucket | None = None  # Made with the first command: many sockets send none.
        self._mistakes: TokenBucket | None = None  # Made with the first mistake.
        self.client_id = client_id
        self.state = State.AWAITING_HELLO

    @abstractmethod
    def _obey(self, command: Command, now: float) -> list[Effect]:
        """Do what a command says, or begin to: then it is pending, and `_settle` is to be called."""

    # What the client says.

    def receive(self, command: Command, now: float) -> list[Effect]:
        """Handle a command. `now` is in seconds since the Unix epoch."""
        if self.state is State.CLOSED:
            return []
        wait_seconds = self._take_command(command, now)
        if wait_seconds:
            return self.refuse(
                BadMessage(
                    "rate_limited",
                    f"at most {self._rules.commands_per_second_max:g} commands a second; "
                    f"wait {wait_seconds:.1f} s",
                    command_id=command.id,
                ),
                now,
            )
        return self._in_turn(command, now)

    def refuse(self, bad: BadMessage, now: float) -> list[Effect]:
        """Answer a message that is not a proper command; close a socket that sends nothing else."""
        return [] if self.state is State.CLOSED else self._in_turn(bad, now)

    def close(self, reason: CloseReason) -> list[Effect]:
        """End the session. Idempotent."""
        if self.state is State.CLOSED:
            return []
        self.state = State.CLOSED
        self._pending = None
        return [Close(reason)]

    @property
    def backed_up(self) -> bool:
        """Whether commands wait for the answer to one before them: do not read more from the client."""
        return self._pending is not None and bool(self._pending.waiting)

    # Inside.

    def _take_command(self, command: Command, now: float) -> float:
        """Charge for a command, by what it asks for; return the seconds to wait if there is no credit."""
        if self._commands is None:
            self._commands = TokenBucket(
                rate_per_second=self._rules.commands_per_second_max,
                burst=self._rules.commands_burst_max,
            )
        match command:
            case Ping() | Auth():
                things = 0
            case Inbox():
                things = command.limit
            case Read():
                things = len(command.item_ids)
            case _:
                things = len(command.rooms)
        return self._commands.take(now, 1 + things // THINGS_PER_CREDIT)

    def _in_turn(self, said: Command | BadMessage, now: float) -> list[Effect]:
        """Handle what the client said, now or when those before it have been answered."""
        if self._pending is None:
            return self._handle(said, now)
        if len(self._pending.waiting) < self._rules.commands_waiting_max:
            self._pending.waiting.append(said)
            return []
        command_id = said.command_id if isinstance(said, BadMessage) else said.id
        bad = BadMessage("not_ready", "as many commands as may wait do so already", command_id=command_id)
        return self._mistake(bad, now)

    def _handle(self, said: Command | BadMessage, now: float) -> list[Effect]:
        return self._mistake(said, now) if isinstance(said, BadMessage) else self._obey(said, now)

    def _ask(self, pending: Pending, question: Question) -> list[Effect]:
        pending.question = question
        self._pending = pending
        return [Ask(question)]

    def _settle(self, effects: list[Effect], now: float) -> list[Effect]:
        """Go on behind the command that awaited an answer and led to these effects."""
        done = self._take_pending()
        while done and done.waiting and self.state is not State.CLOSED:
            effects += self._handle(done.waiting.popleft(), now)
            if self._pending is not None:
                self._pending.waiting = done.waiting
                break
        return effects

    def _take_pending(self) -> Pending | None:
        pending = self._pending
        self._pending = None
        return pending

    def _mistake(self, bad: BadMessage, now: float) -> list[Effect]:
        if self._mistakes is None:
            self._mistakes = TokenBucket(
                rate_per_second=MISTAKES_FORGIVEN_PER_SECOND, burst=self._rules.mistakes_max
            )
        if self._mistakes.take(now):
            reason = LIMIT if bad.code in ("rate_limited", "not_ready") else BAD_PROTOCOL
            return self.close(reason.because(f"too many mistakes, the last: {bad.message}"))
        return [Say(CommandError(bad.code, bad.message, id=bad.command_id))]
