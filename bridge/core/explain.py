"""Who would get an event, and why or why not: what `bridge explain` and the console say."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.core.access import ASK, AccessRules, Principal
from bridge.core.catalogue import Catalogue, EventType
from bridge.core.errors import Reason, Refused
from bridge.core.examples import sample
from bridge.core.rooms import EVERYONE, Room, parse_room


@dataclass(frozen=True, slots=True)
class Step:
    """One reason: whether it speaks for the delivery, in words for people."""

    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether an event would reach a user through a room, in a few words, and every step that led there."""

    delivered: bool
    verdict: str
    steps: tuple[Step, ...]


def find_type(catalogue: Catalogue, name: str) -> EventType:
    """Return the event type of this name or alias.

    Raises:
        Refused: there is none; the message names those that there are.
    """
    event_type = catalogue.resolve(name)
    if event_type is None:
        known = ", ".join(sorted(known_type.name for known_type in catalogue.event_types))
        raise Refused(Reason.UNKNOWN_TYPE, f"there is no event type {name!r}; known: {known}", field="event")
    return event_type


def explain(rules: AccessRules, principal: Principal, event_type: EventType, room: str) -> Explanation:
    """Say whether this event would reach this user through this room. Never raises."""
    decision = rules.decide(principal, room)
    depends = decision.code == ASK
    may = decision.allowed or depends
    goes, why_goes = _goes_there(event_type, room)
    automatic = room in principal.own_rooms
    joined = "is in without asking" if automatic else "may be let into" if depends else "may join"
    joined = joined if may else "may not join"
    steps = [
        Step(may, f"user {principal.user_id} {joined} {room}: {decision.why}"),
        Step(goes, f"{event_type.name} version {event_type.version} {why_goes}"),
    ]
    if event_type.age_seconds_max is not None:
        steps.append(Step(ok=True, text=f"only while it is younger than {event_type.age_seconds_max:g} s"))
    policy = event_type.overflow.policy.value.replace("_", " ")
    steps.append(Step(ok=True, text=f"if the socket does not keep up: {policy}"))
    condition = "" if automatic else " once subscribed"
    condition += " if the query grants the room" if depends else ""
    delivered = may and goes
    return Explanation(delivered, f"delivered{condition}" if delivered else "not delivered", tuple(steps))


def _goes_there(event_type: EventType, room: str) -> tuple[bool, str]:
    """Tell whether the event type goes to rooms of this kind, from its example."""
    wanted = parse_room(room)
    kinds = [
        _kind(target) for name in sample(event_type).targets() if (target := parse_room(name)) is not None
    ]
    rooms = ", ".join(dict.fromkeys(kinds)) or "no room"
    if wanted is None or _kind(wanted) not in kinds:
        return False, f"goes to {rooms}, not to {room}"
    return (
        True,
        f"goes to {rooms}" if room in kinds else f"goes to {rooms}; to {room} when the event names it",
    )


def _kind(room: Room) -> str:
    """Return what an event type says of a room: which role it is, but not which user or device."""
    return str(room) if room.kind in ("role", EVERYONE) else f"{room.kind}:…"
