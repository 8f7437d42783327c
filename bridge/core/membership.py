"""Which rooms a session is in, and what it is still owed there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bridge.core.access import ASK, AccessRules, Decision, Principal
from bridge.core.commands import (
    CommandError,
    RefusedRoom,
    Revoked,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from bridge.core.effects import Effect, Join, Leave, Resume, Say
from bridge.core.entry import Position
from bridge.core.replay import Owed, Replay
from bridge.core.window import Window


@dataclass(frozen=True, slots=True)
class SessionRules:
    """What all sessions of a node share. Times in seconds.

    `users_checked`: a user must be known to be active. `inbox`: there is one.
    """

    access: AccessRules
    window: Window
    rooms_max: int
    commands_per_second_max: float
    commands_burst_max: int
    mistakes_max: int
    expiring_notice_seconds: float
    ping_interval_seconds: float
    expiry_grace_seconds: float = 0.0
    commands_waiting_max: int = 16
    retry_after_seconds_max: float = 5.0
    users_checked: bool = False
    inbox: bool = False


class Membership:
    """The part of a session that is about rooms. `principal` is None until the session is open."""

    __slots__ = ("_replay", "_rules", "principal", "rooms")

    def __init__(self, rules: SessionRules) -> None:
        """Be in no room."""
        self._rules = rules
        self._replay: Replay | None = None  # Set while older events are owed.
        self.principal: Principal | None = None
        self.rooms: dict[str, int] = {}  # Each with the offset after which this session gets what goes there.

    @property
    def live(self) -> bool:
        """Whether nothing is owed: events come as they are logged."""
        return self._replay is None

    def owed(self, *, entries_max: int, bytes_max: int) -> list[Owed] | None:
        """Return the next entries owed, in order: at least one, as long as there are any.

        The session is `live` when nothing is left after them. None means that what is owed has left
        the window: the caller must close the socket.
        """
        if self._replay is None:
            return []
        taken = self._replay.take(self.rooms, entries_max=entries_max, bytes_max=bytes_max)
        if self._replay.done:
            self._replay = None
        return taken

    def _to_ask(self, principal: Principal, wanted: Iterable[str]) -> tuple[str, ...]:
        """Return those rooms that only a query can open."""
        decide = self._rules.access.decide
        return tuple(
            room
            for room in dict.fromkeys(wanted)
            if room not in self.rooms and decide(principal, room).code == ASK
        )

    def _enter(
        self,
        principal: Principal,
        wanted: Sequence[str],
        since: Position | None,
        granted: Collection[str] | None,
    ) -> tuple[RefusedRoom, ...]:
        """Be in the principal's own rooms, and in those wanted that it may join, from a position on."""
        after = self._rules.window.head if since is None else since.offset
        self.rooms = dict.fromkeys(principal.own_rooms, after)
        _, refused = self._admit(wanted, principal, after, granted)
        if since is not None:
            self._replay = Replay(self._rules.window, after=since.offset)
        return _refused_rooms(refused)

    def _subscribe(
        self, command: Subscribe, principal: Principal, granted: Collection[str] | None
    ) -> list[Effect]:
        since = self._reachable(command.since)
        after = self._rules.window.head if since is None else since.offset
        joined, refused = self._admit(command.rooms, principal, after, granted)
        rooms = tuple(room for room in dict.fromkeys(command.rooms) if room not in refused)
        if refused and not rooms:
            room, (_, code, why) = next(iter(refused.items()))
            return [Say(CommandError(code, f"{room}: {why}", room=room, id=command.id))]
        answer = Subscribed(
            rooms,
            _refused_rooms(refused),
            self._rules.window.position if since is None else since,
            since is not None,
            command.id,
        )
        if since is None or not joined:
            return [Say(answer), *self._join(joined)]
        was_live = self.live
        if self._replay is None:
            self._replay = Replay(self._rules.window, after=self._rules.window.head)
        before = {room: start for room, start in self.rooms.items() if room not in joined}
        self._replay.look_back(before, joined, after=since.offset)
        return [Say(answer), Leave(tuple(self.rooms)), Resume()] if was_live else [Say(answer)]

    def _unsubscribe(self, command: Unsubscribe, principal: Principal) -> list[Effect]:
        own = principal.own_rooms
        left = tuple(room for room in dict.fromkeys(command.rooms) if room in self.rooms and room not in own)
        self._forget(left)
        return [Leave(left), Say(Unsubscribed(left, command.id))]

    def _change_principal(
        self, old: Principal, new: Principal, granted: Collection[str] | None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Leave the rooms that a newer token does not open, join its own; return what was left and gained.

        A room that a query had opened stays open when the query cannot be asked again: whoever loses it
        is told by an event.
        """
        decide = self._rules.access.decide

        def stays(room: str) -> bool:
            now = decide(new, room)
            if now.code != ASK:
                return now.allowed
            return room in granted if granted is not None else decide(old, room).code == ASK

        left = tuple(room for room in self.rooms if not stays(room))
        self._forget(left)
        gained = tuple(room for room in new.own_rooms if room not in self.rooms)
        self.rooms.update(dict.fromkeys(gained, self._rules.window.head))
        return left, gained

    def _lose(self, room: str, principal: Principal) -> list[Effect]:
        """Leave a room that the user has lost, unless the token opens it all the same."""
        if room not in self.rooms or self._rules.access.decide(principal, room).allowed:
            return []
        self._forget((room,))
        return [Leave((room,)), Say(Revoked((room,)))]

    def _join(self, rooms: Sequence[str]) -> list[Effect]:
        """Join rooms now; during a replay they come with the rest at its end."""
        return [Join(rooms)] if self.live else []

    def _forget(self, rooms: Iterable[str]) -> None:
        for room in rooms:
            del self.rooms[room]

    def _reachable(self, since: Position | None) -> Position | None:
        """Return the position if everything after it can be sent again, else None."""
        return since if since is not None and self._rules.window.covers(since) else None

    def _admit(
        self, wanted: Sequence[str], principal: Principal, after: int, granted: Collection[str] | None
    ) -> tuple[list[str], dict[str, Decision]]:
        """Put the session into those rooms it may join, from an offset on; return the new and the refused."""
        joined: list[str] = []
        refused: dict[str, Decision] = {}
        for room in dict.fromkeys(wanted):
            if room in self.rooms:
                continue
            decision = self._decide(principal, room, granted)
            if not decision.allowed:
                refused[room] = decision
            elif len(self.rooms) >= self._rules.rooms_max:
                refused[room] = Decision(allowed=False, code="too_many_rooms", why=_TOO_MANY)
            else:
                self.rooms[room] = after
                joined.append(room)
        return joined, refused

    def _decide(self, principal: Principal, room: str, granted: Collection[str] | None) -> Decision:
        """Decide with what a query has granted; None if it could not be asked."""
        decision = self._rules.access.decide(principal, room)
        if decision.code != ASK:
            return decision
        if granted is None:
            return Decision(allowed=False, code="unavailable", why=_UNKNOWN)
        if room not in granted:
            return Decision(allowed=False, code="forbidden", why="the query for its kind does not grant it")
        return Decision(allowed=True, code="ok", why="the query for its kind grants it")


_TOO_MANY = "the socket is in as many rooms as it may be; unsubscribe from one"
_UNKNOWN = "who may join it cannot be found out at the moment; ask again later"


def _refused_rooms(refused: Mapping[str, Decision]) -> tuple[RefusedRoom, ...]:
    return tuple(RefusedRoom(room, decision.code) for room, decision in refused.items())
