"""What the demonstration publishes, who must get what, and what went wrong. Pure: no I/O, no clock.

Who must get an event is computed from the targets() of its class and from the rooms that each person
may be in. Never from what the bridge answers: it is the bridge that is being checked.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from bridge.core.catalogue import Catalogue, EventType
from bridge.core.event import BaseEvent, UserEvent
from bridge.core.examples import event_from, published
from bridge.core.revocation import ChangeKind
from bridge.core.rooms import EVERYONE, parse_room, role_room, user_room

UNSEEN = frozenset(kind.value for kind in ChangeKind)  # Event types that are for the nodes.
OWNER = "u1"
STRANGER = "u2"
ADMINISTRATOR = "admin"
REFUSED_KEY = "quotaUpdated"  # Camel case: what a microservice gets wrong first.
ANY_TIME = "2026-11-21T10:00:00.000Z"  # Targets do not depend on the time.


class Frame(NamedTuple):
    """The identity of an event on a socket: type, version, and the message_id it was published with."""

    event_type: str
    version: int
    message_id: str


@dataclass(frozen=True, slots=True)
class Person:
    """A sample user. `claims` and `roles` go into the token, `wanted` are the rooms to ask for.

    `forbidden` are rooms to ask for as well, which have to be refused.
    """

    title: str
    user_id: str
    roles: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms to be in: one's own, one's roles', everybody's, and those asked for."""
        return (user_room(self.user_id), *map(role_room, self.roles), EVERYONE, *self.wanted)


@dataclass(frozen=True, slots=True)
class Publication:
    """One event to publish. `frames` says for each frame that follows from it which rooms it goes to.

    An event that nobody is to get has no frames.
    """

    routing_key: str
    message_id: str
    payload: Mapping[str, object]
    frames: Mapping[Frame, tuple[str, ...]]

    def body(self, timestamp: str) -> bytes:
        """Return the message as a microservice would write it at this time."""
        return json.dumps({**self.payload, "timestamp": timestamp}).encode()


@dataclass(frozen=True, slots=True)
class Chapter:
    """The publications that belong together, such as a domain's."""

    title: str
    subtitle: str
    publications: tuple[Publication, ...]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame that somebody got, through which room, and how long after it was published."""

    user_id: str
    frame: Frame
    room: str
    latency_seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole demonstration."""

    people: tuple[Person, ...]
    chapters: tuple[Chapter, ...]
    refused: Publication  # In the last chapter.

    @property
    def publications(self) -> list[Publication]:
        """Every publication, in order."""
        return [publication for chapter in self.chapters for publication in chapter.publications]

    def expected(self, publications: Iterable[Publication]) -> dict[tuple[str, Frame], frozenset[str]]:
        """Return who must get which frames of these, each with the rooms it may come through."""
        return {
            (person.user_id, frame): rooms
            for publication in publications
            for frame, targets in publication.frames.items()
            for person in self.people
            if (rooms := frozenset(targets) & frozenset(person.rooms))
        }


class _Writer:
    """Writes publications, each with an id of its own."""

    def __init__(self, catalogue: Catalogue, run: str) -> None:
        self._catalogue = catalogue
        self._run = run
        self._written = 0

    def event(self, event_type: EventType, routing_key: str, user_id: str = OWNER) -> Publication:
        """Return the example of an event type, published for this user under this routing key."""
        message_id = self._next_id()
        payload = published(event_type, type=routing_key, userId=user_id)
        if event_type.once_by:
            # What can happen only once must not be taken for what happened before.
            name = event_type.once_by[0]
            payload[name] = f"{payload[name]}-{message_id}"
        event = event_from(event_type, payload)
        frames = dict(
            self._frame(self._catalogue.of_class(type(each)), each, message_id)
            for each in (event, *event.derived())
        )
        return Publication(routing_key, message_id, payload, frames)

    def again(self, publication: Publication) -> Publication:
        """Return the same event, published once more under a fresh id; nobody is to get it."""
        return replace(publication, message_id=self._next_id(), frames={})

    def refused(self) -> Publication:
        """Return an event whose name is wrong."""
        payload = {"type": REFUSED_KEY, "userId": OWNER, "quotaId": "quota-7f3a", "limits": {}, "usage": {}}
        return Publication(REFUSED_KEY, self._next_id(), payload, {})

    def _frame(
        self, event_type: EventType, event: BaseEvent, message_id: str
    ) -> tuple[Frame, tuple[str, ...]]:
        return Frame(event_type.name, event_type.version, message_id), tuple(event.targets())

    def _next_id(self) -> str:
        self._written += 1
        return f"demo-{self._run}-{self._written:03}"


def make_plan(catalogue: Catalogue, run: str, public_kinds: Collection[str] = ()) -> Plan:
    """Plan one of every event type and alias for the owner, and what shows who does not get an event.

    Changes of who may what are left out: no browser sees them, and they would close the users' sockets.
    `run` sets the message ids of this run apart from those of every other. Rooms of the public
    kinds are forbidden to nobody.
    """
    writer = _Writer(catalogue, run)
    chapters = [
        Chapter(
            domain.name,
            f"from {domain.publisher}",
            tuple(
                writer.event(event_type, key)
                for event_type in shown
                for key in (event_type.name, *event_type.aliases)
            ),
        )
        for domain in catalogue.domains.values()
        if (shown := [each for each in domain.event_types if each.name not in UNSEEN])
    ]
    people = _people(chapters, public_kinds)
    types = catalogue.event_types
    private = next((each for each in types if _is_private(each)), None)
    if private is not None:
        for_stranger = writer.event(private, private.name, STRANGER)
        chapters.append(Chapter("another user", f"an event of {STRANGER}'s own", (for_stranger,)))
    once = next((each for each in types if each.once_by), None)
    if once is not None:
        original = next(
            each for chapter in chapters for each in chapter.publications if each.routing_key == once.name
        )
        chapters.append(Chapter("repeated", "a provider calls back once more", (writer.again(original),)))
    refused = writer.refused()
    chapters.append(Chapter("refused", "a misspelt name, which its publisher can look up", (refused,)))
    return Plan(people, tuple(chapters), refused)


def _people(chapters: Iterable[Chapter], public_kinds: Collection[str]) -> tuple[Person, ...]:
    """Return the sample users; between them they are in every room that the owner's events go to."""
    targets = dict.fromkeys(
        target
        for chapter in chapters
        for publication in chapter.publications
        for rooms in publication.frames.values()
        for target in rooms
    )
    rooms = [room for target in targets if (room := parse_room(target)) is not None]
    roles = tuple(dict.fromkeys(["admin", *(room.id for room in rooms if room.kind == "role")]))
    shared = [room for room in rooms if room.kind not in ("user", "role", EVERYONE)]
    private = tuple(str(room) for room in shared if room.kind not in public_kinds)
    forbidden = (user_room(OWNER), *private, *map(role_room, roles))
    claims = tuple(dict.fromkeys(f"{room.kind}:*" for room in shared))
    return (
        Person("owner", OWNER, claims=claims, wanted=tuple(map(str, shared))),
        Person("stranger", STRANGER, forbidden=forbidden),
        Person("administrator", ADMINISTRATOR, roles=roles),
    )


def _is_private(event_type: EventType) -> bool:
    """Tell whether an event type goes to its user, whoever that is, and to nobody else."""
    return event_type.model.targets is UserEvent.targets and event_type.model.derived is BaseEvent.derived


def room_problems(person: Person, joined: Iterable[str]) -> list[str]:
    """Compare the rooms that the bridge let somebody into with those that it should have."""
    rooms = set(joined)
    return [
        *(f"{person.user_id} was not let into {room}" for room in person.rooms if room not in rooms),
        *(
            f"{person.user_id} was let into {room}, and may not be there"
            for room in sorted(rooms - {*person.rooms})
        ),
    ]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the plan.

    `arrivals` are frames of `published` only; `others` counts frames of events that somebody else
    published meanwhile. `troubles` are problems met on the way, one line each.
    """

    plan: Plan
    published: Collection[Publication]
    arrivals: Collection[Arrival]
    troubles: tuple[str, ...] = ()
    others: int = 0

    @property
    def problems(self) -> list[str]:
        """Every reason why the bridge does not do what it should."""
        return [*self.troubles, *self._missing(), *self._repeated(), *self._misplaced()]

    @property
    def status(self) -> int:
        """The exit status: 0 if every event arrived, once, where it should and nowhere else."""
        return 1 if self.problems else 0

    def expected_by(self, person: Person) -> int:
        """Return how many frames of what was published are for this person."""
        return sum(user_id == person.user_id for user_id, _ in self.plan.expected(self.published))

    def latencies_of(self, people: Collection[Person]) -> list[float]:
        """Return how long each frame took that these people got, in seconds, sorted."""
        user_ids = {person.user_id for person in people}
        return sorted(arrival.latency_seconds for arrival in self.arrivals if arrival.user_id in user_ids)

    def _missing(self) -> list[str]:
        arrived = {(arrival.user_id, arrival.frame) for arrival in self.arrivals}
        return [
            f"{self._name(frame)} did not reach {user_id}"
            for user_id, frame in self.plan.expected(self.published)
            if (user_id, frame) not in arrived
        ]

    def _repeated(self) -> list[str]:
        counted = Counter((arrival.user_id, arrival.frame) for arrival in self.arrivals)
        return [
            f"{self._name(frame)} reached {user_id} {count} times"
            for (user_id, frame), count in counted.items()
            if count > 1
        ]

    def _misplaced(self) -> list[str]:
        expected = self.plan.expected(self.published)
        problems = []
        for user_id, frame, room in dict.fromkeys(
            (each.user_id, each.frame, each.room) for each in self.arrivals
        ):
            allowed = expected.get((user_id, frame))
            if not any(each.frames for each in self.published if each.message_id == frame.message_id):
                problems.append(f"{self._name(frame)} reached {user_id}, and is for nobody")
            elif allowed is None:
                problems.append(
                    f"{self._name(frame)} reached {user_id} through {room}, and is not for {user_id}"
                )
            elif room not in allowed:
                problems.append(
                    f"{self._name(frame)} reached {user_id} through {room}, where it does not belong"
                )
        return problems

    def _name(self, frame: Frame) -> str:
        """Name a frame by type and version, and by what it was published as if that is another name."""
        key = next(each.routing_key for each in self.published if each.message_id == frame.message_id)
        name = f"{frame.event_type} v{frame.version}"
        return name if key == frame.event_type else f"{name} (published as {key})"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of sorted values. There must be at least one."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)]
