"""A storm on its way to the log: what is logged, what is left out, and when each delivery is acked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest
from structlog.testing import capture_logs

from bridge.ceilings import ceilings_of
from bridge.core import storm
from bridge.core.catalogue import Catalogue, Domain
from bridge.core.delivery import Delivery
from bridge.core.event import UserEvent
from bridge.core.intake import Intake
from bridge.core.policy import DROP_OLDEST
from bridge.core.storm import Ceilings
from bridge.core.verdict import Fate
from bridge.ingest import Ingest
from bridge.settings import SettingsError, load
from tests.eventually import eventually
from tests.fakes import FakeLog, FakeQueue
from tests.test_ingest import CATALOGUE, NOW, TIME, World

TAGS = count(1)
GAUGE, TRAIL, MUST = "quota.updated", "quota.deduct", "quota.exceeded"
NOTES = Domain("note", "nobody", topics=("note.#",))


@NOTES.event("note.taken", overflow=DROP_OLDEST, durable=True)
class NoteTaken(UserEvent):
    """An event that may be dropped on its way to a socket, and waits in the inbox."""

    EXAMPLE: ClassVar[dict[str, object]] = {}


WITH_DURABLE = Catalogue([*CATALOGUE.domains.values(), NOTES])


@dataclass
class StormyWorld(World):
    """A domain's ingest under a ceiling of two events a second, and a clock that stands still."""

    ceilings: Ceilings = field(default_factory=lambda: Ceilings(2.0))
    unacked_max: int = 1_000
    now: float = 100.0

    def ingest(self) -> Ingest:
        """Return the ingest of the domain."""
        domain = CATALOGUE.domains[self.domain]
        intake = Intake(CATALOGUE, domain, body_bytes_max=262_144)
        return Ingest(
            domain, intake, self.once, self.stats, self.ceilings, self.unacked_max, clock=lambda: self.now
        )

    @property
    def numbers(self) -> list[str]:
        """The ids of what stands in the log."""
        return [key.event_id for key in self.logged]


class OpenQueue(FakeQueue):
    """A queue that waits for more when it is empty, until it is stopped."""

    def __init__(self, *batches: Sequence[Delivery]) -> None:
        """Hand out these batches."""
        super().__init__(*batches)
        self.stopped = asyncio.Event()

    async def read(self) -> Sequence[Delivery]:
        """Return the next batch."""
        if not self._batches:
            await self.stopped.wait()
        return await super().read()


def event(number: int, event_type: str = GAUGE, *, user: str = "u1", quota: str = "q1") -> Delivery:
    """Return a delivery with a number for an id."""
    payload = {
        "userId": user,
        "timestamp": TIME,
        "quotaId": quota,
        "limits": {"devices": 10},
        "usage": {"devices": number},
        "usagePercent": 100,
        "amount": 1,
    }
    return Delivery(event_type, json.dumps(payload).encode(), NOW, tag=next(TAGS), message_id=str(number))


def events(numbers: range, event_type: str = GAUGE, **changes: str) -> list[Delivery]:
    """Return a run of deliveries."""
    return [event(number, event_type, **changes) for number in numbers]


@pytest.mark.parametrize(("event_type", "outcome"), [(GAUGE, "conflated"), (TRAIL, "dropped")])
async def test_storm(event_type: str, outcome: str) -> None:
    """Of a hundred events at once the ceiling's worth and the last one are logged; all are acked."""
    world, batch = StormyWorld(), events(range(100), event_type)
    queue = FakeQueue(batch)

    with capture_logs() as lines:
        await world.consume(queue)

    assert world.numbers == ["0", "1", "99"]
    assert queue.acked == batch
    assert world.fates() == {Fate.LOGGED: 3, Fate.STORM: 97}
    assert world.stats.storm_events == {(event_type, outcome): 97}
    (told,) = [line for line in lines if line["event"] == "ingest.storm"]
    assert (told["event_type"], told["room"]) == (event_type, "user:u1")


async def test_storm_of_an_unknown_type() -> None:
    """A name that no domain declares has a ceiling like any other, and no series of metrics of its own."""
    world = StormyWorld(domain="lab")

    await world.consume(FakeQueue(events(range(10), "lab.invented")))

    assert world.numbers == ["0", "1", "9"]
    assert world.stats.storm_events == {("", "dropped"): 7}


async def test_what_must_be_delivered_is_never_left_out() -> None:
    """A type that must be delivered is logged whole, and so is what else is in the queue."""
    world = StormyWorld()
    batch = [*events(range(50), MUST), *events(range(50, 100)), *events(range(100, 102), user="u2")]

    await world.consume(FakeQueue(batch))

    assert world.numbers == [*map(str, range(52)), "100", "101", "99"]


async def test_nothing_happens_without_a_ceiling() -> None:
    """Without a ceiling every event is logged."""
    world = StormyWorld(ceilings=Ceilings())

    await world.consume(FakeQueue(events(range(100))))

    assert world.numbers == [*map(str, range(100))]


async def test_held_deliveries_are_not_acked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held stays unacked, with all behind it, until it is logged; nobody has to come for that."""
    monkeypatch.setattr(storm, "HELD_SECONDS_MAX", 0.05)
    world, batch = StormyWorld(), events(range(5))
    others = events(range(5, 7), user="u2")
    queue = OpenQueue(batch, others)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.consume(queue))
        await eventually(lambda: world.numbers == ["0", "1", "5", "6"], "what passes is logged")
        assert queue.acked == batch[:4]  # Two are logged, and two are left out; the fifth is held.
        world.now += 0.05
        await eventually(lambda: queue.acked == batch + others, "what was held is logged and acked")
        queue.stopped.set()

    assert world.numbers == ["0", "1", "5", "6", "4"]
    assert world.fates() == {Fate.LOGGED: 5, Fate.STORM: 2}


async def test_cancelled_while_holding() -> None:
    """A node that goes leaves what it holds in the queue; whoever comes next logs it."""
    world, batch = StormyWorld(), events(range(5))
    queue = OpenQueue(batch)
    working = asyncio.create_task(world.consume(queue))
    await eventually(lambda: queue.acked, "what can be acked is")
    working.cancel()
    await asyncio.wait([working])

    assert queue.acked == batch[:4]
    assert queue.left == batch[4:]
    await world.consume(FakeQueue(queue.left))
    assert world.numbers == ["0", "1", "4"]


async def test_log_that_fails_while_holding() -> None:
    """When the log takes nothing, nothing is acked, not even what has been left out."""
    world, batch = StormyWorld(), events(range(5))
    world.log = FakeLog(world.once, OSError("gone"))
    queue = FakeQueue(batch)

    with pytest.raises(OSError, match="gone"):
        await world.consume(queue)

    assert queue.left == batch
    await world.consume(FakeQueue(batch))
    assert world.numbers[-1] == "4"


async def test_too_many_unacked() -> None:
    """Before the queue stands still for want of acks, what is held is logged early."""
    world = StormyWorld(unacked_max=5)
    first, second = events(range(8)), events(range(8, 16))
    queue = OpenQueue(first, second)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.consume(queue))
        await eventually(lambda: queue.acked == first + second, "all is acked")
        queue.stopped.set()

    assert world.numbers == ["0", "1", "7", "15"]


async def test_end_of_a_storm_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a storm is told with what it has cost, once, though nothing comes any more."""
    monkeypatch.setattr(storm, "HELD_SECONDS_MAX", 0.01)
    monkeypatch.setattr(storm, "QUIET_SECONDS", 0.02)
    world = StormyWorld()
    queue = OpenQueue(events(range(10)))

    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(world.consume(queue))
            await eventually(lambda: queue.acked, "the storm is there")
            world.now += 1.0
            await eventually(
                lambda: [line for line in lines if line["event"] == "ingest.storm_over"], "the end is told"
            )
            queue.stopped.set()

    (told,) = [line for line in lines if line["event"] == "ingest.storm_over"]
    assert (told["event_type"], told["room"], told["events"]) == (GAUGE, "user:u1", 7)


async def test_duplicates_in_a_storm() -> None:
    """A copy of what is held is a duplicate; what was left out may be published again."""
    world = StormyWorld()

    await world.consume(FakeQueue([*events(range(3)), event(2), event(2)]))
    assert world.numbers == ["0", "1", "2"]
    assert world.fates() == {Fate.LOGGED: 3, Fate.DUPLICATE: 2}

    world.now += 10.0
    await world.consume(FakeQueue(events(range(3, 8))))
    world.now += 10.0
    await world.consume(FakeQueue([event(5)]))
    assert world.numbers[3:] == ["3", "4", "7", "5"]


async def test_bad_deliveries_in_a_storm() -> None:
    """What is refused behind something held is buried at once and acked in its turn."""
    world = StormyWorld()
    batch = [*events(range(3)), Delivery("quota.updated", b"not JSON", NOW, tag=next(TAGS))]
    queue = OpenQueue(batch)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.consume(queue))
        await eventually(lambda: world.dead.buried, "it is buried")
        assert queue.acked == batch[:2]
        queue.stopped.set()

    assert queue.acked == batch
    assert world.fates() == {Fate.LOGGED: 3, Fate.DEAD: 1}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("quota.invented", "there is no such event type; remove it or correct its name"),
        (MUST, "must be delivered and has no ceiling; remove it"),
        ("note.taken", "is durable and has no ceiling; remove it"),
    ],
)
def test_ceiling_of_a_type_that_has_none(tmp_path: Path, name: str, problem: str) -> None:
    """A ceiling that could never do anything is a mistake."""
    file = tmp_path / "bridge.toml"
    file.write_text(f"[storm.types]\n'{name}' = 5\n'{GAUGE}' = 5\n")
    settings = load({"RABBITMQ_URL": "amqp://h/", "JWT_SECRET": "0" * 64, "BRIDGE_CONFIG": str(file)})

    with pytest.raises(SettingsError) as caught:
        ceilings_of(settings, WITH_DURABLE)

    assert caught.value.problems == [f"storm.types.{name}: {problem}"]


def test_durable_types_have_no_ceiling(tmp_path: Path) -> None:
    """The default is not for durable types either: no item of an inbox is left out."""
    file = tmp_path / "bridge.toml"
    file.write_text("[storm]\nevents_per_second_max = 5\n")
    settings = load({"RABBITMQ_URL": "amqp://h/", "JWT_SECRET": "0" * 64, "BRIDGE_CONFIG": str(file)})
    ceilings = ceilings_of(settings, WITH_DURABLE)

    assert (ceilings.of(GAUGE), ceilings.of("note.taken")) == (5.0, 0.0)
