"""From a queue to the log: nothing is acked before it is safe, and nothing is logged twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

import pytest
import structlog
from msgspec.structs import replace
from structlog.testing import LogCapture

from bridge.core.catalogue import Catalogue, Domain, UnknownRule
from bridge.core.dedupe import Once
from bridge.core.delivery import Delivery
from bridge.core.entry import Entry, EventKey
from bridge.core.errors import DeadLettersFullError, LogUnavailableError, Reason
from bridge.core.event import Text, UserEvent
from bridge.core.hub import Hub
from bridge.core.intake import Intake
from bridge.core.log import MemoryLog
from bridge.core.outbox import Frame
from bridge.core.policy import DROP_OLDEST, MUST_DELIVER
from bridge.core.stats import Stats
from bridge.core.verdict import Fate
from bridge.core.window import Window, WindowLimits
from bridge.fanout import Fanout
from bridge.ingest import Ingest
from bridge.ws.dialects.bridge_v1 import encode_event
from consumers import domains
from tests.eventually import eventually
from tests.fakes import FakeDeadLetters, FakeLog, FakeQueue, FakeSocket, Stops

NOW = 1_795_255_200.0
TIME = "2026-11-21T10:00:00.000Z"
SECRET = "hunter2-card-4111-1111"

LAB = Domain("lab", "nobody", topics=("lab.#",), unknown=UnknownRule.PASS)


@LAB.event("lab.broken", overflow=MUST_DELIVER)
class Broken(UserEvent):
    """An event type with a mistake of ours in it."""

    EXAMPLE: ClassVar[dict[str, object]] = {"note": ""}

    note: Text

    def targets(self) -> Sequence[str]:
        """Fail, quoting the payload."""
        raise LookupError(f"no room for {self.note}")


@LAB.event("lab.stale", overflow=DROP_OLDEST, age_seconds_max=1.0)
class Stale(UserEvent):
    """An event that is worthless after a second."""


CATALOGUE = Catalogue([*domains(), LAB])
TAGS = count(1)


def delivery(key: str = "quota.alert", **properties: Any) -> Delivery:  # noqa: ANN401 - any field of a delivery
    """Return a valid delivery, but for what is given."""
    payload = {"userId": "u1", "timestamp": TIME, "quotaId": "q1", "deviceId": "d7", "note": SECRET}
    valid = Delivery(key, json.dumps(payload).encode(), NOW, tag=next(TAGS))
    return replace(valid, **{"message_id": f"m-{valid.tag}", **properties})


def again(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return what the broker delivers again, on another channel."""
    return [replace(one, tag=next(TAGS), redelivered=True) for one in deliveries]


GOOD, LATE, DROPPED, BAD, OURS = "good", "late", "dropped", "bad", "ours"


def kind(name: str) -> Delivery:
    """Return a delivery of a kind."""
    match name:
        case "late":
            return delivery("lab.stale", received_at=NOW + 5)
        case "bad":
            return delivery(body=b"not JSON")
        case "ours":
            return delivery("lab.broken")
        case _:
            return delivery()


@dataclass
class World:
    """One domain's ingest, and all that is around it but the queue."""

    domain: str = "quota"
    stats: Stats = field(default_factory=Stats)
    once: Once = field(default_factory=lambda: Once(window_seconds=600.0, keys_max=1_000))
    dead: FakeDeadLetters = field(default_factory=FakeDeadLetters)
    clock: Callable[[], float] = time.monotonic
    log: FakeLog = field(init=False)

    def __post_init__(self) -> None:
        """Begin with an empty log."""
        self.log = FakeLog(self.once)

    def ingest(self) -> Ingest:
        """Return the ingest of the domain."""
        domain = CATALOGUE.domains[self.domain]
        intake = Intake(CATALOGUE, domain, body_bytes_max=262_144)
        return Ingest(domain, intake, self.once, self.stats, clock=self.clock)

    async def consume(self, queue: FakeQueue) -> None:
        """Work until the queue stops."""
        await self.ingest().run(queue, self.log, self.dead)

    @property
    def logged(self) -> list[EventKey]:
        """What stands in the log."""
        return [entry.key for entry in self.log.entries]

    def fates(self) -> dict[str, int]:
        """Return how many deliveries met which fate."""
        found: dict[str, int] = {}
        for (_, _, fate), number in self.stats.deliveries.items():
            found[fate] = found.get(fate, 0) + number
        return found


def key(one: Delivery, event_type: str = "quota.alert") -> EventKey:
    """Return by what a delivery's event is known."""
    assert one.message_id is not None
    return EventKey(event_type, one.message_id)


async def test_logged_then_acked() -> None:
    """A batch is logged in the order of the queue, and acked as a whole."""
    world, batch = World(), [delivery(), delivery(), delivery()]
    queue = FakeQueue(batch)

    await world.consume(queue)

    assert world.logged == [key(one) for one in batch]
    assert queue.acked == batch
    assert world.fates() == {Fate.LOGGED: 3}


async def test_one_append_for_a_batch() -> None:
    """What waits together is logged together."""
    appended: list[int] = []

    class CountingLog(FakeLog):
        async def append(self, entries: Sequence[Entry]) -> None:
            appended.append(len(entries))
            await super().append(entries)

    world = World()
    world.log = CountingLog(world.once)

    await world.consume(FakeQueue([delivery(), delivery()], [delivery()], [kind(BAD)]))

    assert appended == [2, 1]


async def test_derived_events_are_logged_with_theirs() -> None:
    """An event and what follows from it stand in the log one behind the other."""
    world, one, two = World("device"), delivery("device.started"), delivery("device.stopped")

    await world.consume(FakeQueue([one, two]))

    assert world.logged == [
        key(one, "device.started"),
        key(one, "device.status.changed"),
        key(two, "device.stopped"),
        key(two, "device.status.changed"),
    ]


async def test_dead_letter() -> None:
    """What can never be valid is buried untouched, with its domain and reason, and then acked."""
    world, bad = World(), kind(BAD)
    queue = FakeQueue([bad])

    await world.consume(queue)

    ((buried, domain, refused),) = world.dead.buried
    assert (buried, domain, refused.reason) == (bad, "quota", Reason.NOT_JSON)
    assert queue.acked == [bad]
    assert world.stats.dead_letters == {("quota", Reason.NOT_JSON): 1}


@pytest.mark.parametrize("name", [LATE, "dropped"])
async def test_not_worth_logging(name: str) -> None:
    """What is late or to be dropped is acked without a trace in the log or among the dead letters."""
    world = World("lab")
    dropping = Domain("dropping", "anybody", topics=("dropping.#",), unknown=UnknownRule.DROP)
    one = kind(LATE) if name == LATE else delivery("dropping.it")
    queue = FakeQueue([one])
    domain = LAB if name == LATE else dropping
    intake = Intake(Catalogue([*domains(), LAB, dropping]), domain, body_bytes_max=1_000)

    await Ingest(domain, intake, world.once, world.stats).run(queue, world.log, world.dead)

    assert queue.acked == [one]
    assert (world.logged, world.dead.buried) == ([], [])
    assert world.fates() == {name: 1}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait between two tries."""
    monkeypatch.setattr("bridge.ingest.RETRY_SECONDS", 0)


async def test_append_is_tried_again() -> None:
    """When the log does not confirm, the same is appended again, and the trouble is told meanwhile."""
    world, batch = World(), [delivery(), kind(BAD)]
    queue, ingest = FakeQueue(batch), world.ingest()
    troubles = []

    class WatchingLog(FakeLog):
        async def append(self, entries: Sequence[Entry]) -> None:
            troubles.append(ingest.trouble)
            await super().append(entries)

    world.log = WatchingLog(world.once, LogUnavailableError("x"), LogUnavailableError("no disk"))

    await ingest.run(queue, world.log, world.dead)

    assert troubles == ["", "the log does not take events: x", "the log does not take events: no disk"]
    assert ingest.trouble == ""
    assert world.logged == [key(batch[0])]
    assert queue.acked == batch


async def test_append_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the log does not confirm in time, nothing is acked, and the next delivery is no duplicate."""
    monkeypatch.setattr("bridge.ingest.APPEND_SECONDS_MAX", 0)
    world, batch = World(), [delivery(), kind(BAD), delivery()]
    world.log = FakeLog(world.once, *(LogUnavailableError("not confirmed") for _ in range(1_000)))
    queue = FakeQueue(batch)

    with pytest.raises(TimeoutError):
        await world.consume(queue)

    assert (queue.acked, world.dead.buried, world.fates()) == ([], [], {})
    assert queue.left == batch
    world.log = FakeLog(world.once)
    second = FakeQueue(again(batch))
    await world.consume(second)
    assert world.logged == [key(batch[0]), key(batch[2])]
    assert len(second.acked) == 3
    assert world.fates() == {Fate.LOGGED: 2, Fate.DEAD: 1}


async def test_append_is_tried_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is given half a minute from its first failure on, and no further try after that."""
    monkeypatch.setattr("bridge.ingest.RETRY_SECONDS", 0)
    now = [1_000.0]
    world, batch = World(clock=lambda: now[0]), [delivery()]

    class FailingLog(FakeLog):
        async def append(self, entries: Sequence[Entry]) -> None:
            tried.append(now[0] - 1_000.0)
            now[0] += 12.0
            await super().append(entries)

    tried: list[float] = []
    world.log = FailingLog(world.once, *(LogUnavailableError("not confirmed") for _ in range(100)))

    with pytest.raises(TimeoutError, match="the log does not take events: not confirmed"):
        await world.consume(FakeQueue(batch))

    assert tried == [0.0, 12.0, 24.0, 36.0]  # The first one failed at 12.


async def test_pace_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is read so long after the one before, or at once if that took longer or nothing came."""
    now, waited = [1_000.0], []

    async def sleep(seconds: float) -> None:
        waited.append((now[0], seconds))
        now[0] += seconds

    class SlowLog(FakeLog):
        pace_seconds = 4.0

        async def append(self, entries: Sequence[Entry]) -> None:
            await super().append(entries)
            now[0] += takes.pop(0)

    takes = [1.0, 4.0, 9.0, 3.0]
    world = World(clock=lambda: now[0])
    world.log = SlowLog(world.once)
    monkeypatch.setattr("bridge.ingest.asyncio.sleep", sleep)

    await world.consume(FakeQueue(*([delivery()] for _ in range(4))))

    assert waited == [(1_001.0, 3.0), (1_020.0, 1.0)]


async def test_cancelled_while_it_keeps_the_pace() -> None:
    """A cancellation between two batches ends the work; the next batch has not been taken."""
    world, batches = World(clock=lambda: 1_000.0), [[delivery()], [delivery()]]

    class PacedLog(FakeLog):
        pace_seconds = 3_600.0

    world.log = PacedLog(world.once)
    queue = FakeQueue(*batches)
    working = asyncio.create_task(world.consume(queue))
    await eventually(lambda: queue.acked == batches[0])
    done, _ = await asyncio.wait([working], timeout=0)
    assert not done
    working.cancel()
    await asyncio.wait([working], timeout=5)

    assert working.cancelled()
    assert world.logged == [key(batches[0][0])]
    assert (queue.acked, queue.left) == (batches[0], batches[1])


async def test_append_fails_for_good() -> None:
    """An error that another try would not mend ends the work; nothing is acked or taken for logged."""
    world, batch = World(), [delivery()]
    world.log = FakeLog(world.once, ConnectionError("gone"))
    queue = FakeQueue(batch)

    with pytest.raises(ConnectionError):
        await world.consume(queue)

    assert queue.acked == []
    await world.consume(FakeQueue(again(batch)))
    assert world.logged == [key(batch[0])]


async def test_no_room_for_dead_letters() -> None:
    """While there is no room for a dead letter the queue waits; nothing is acked and nothing is lost."""
    world, batch = World(), [kind(BAD), delivery()]
    world.dead = FakeDeadLetters(DeadLettersFullError("bridge.dead is full"), DeadLettersFullError("full"))
    queue = FakeQueue(batch)

    await world.consume(queue)

    assert [one for one, _, _ in world.dead.buried] == [batch[0]]
    assert queue.acked == batch


async def test_burial_fails() -> None:
    """When a dead letter is not confirmed nothing is acked; what was logged before is not logged again."""
    world, batch = World(), [delivery(), kind(BAD), delivery()]
    world.dead = FakeDeadLetters(ConnectionError("gone"))
    queue = FakeQueue(batch)

    with pytest.raises(ConnectionError):
        await world.consume(queue)

    assert queue.acked == []
    await world.consume(FakeQueue(again(batch)))
    assert world.logged == [key(batch[0]), key(batch[2])]
    assert len(world.dead.buried) == 1
    assert world.fates() == {Fate.DUPLICATE: 2, Fate.DEAD: 1}


async def test_duplicates_within_a_batch() -> None:
    """The same event twice in one batch is logged once, and both deliveries are acked."""
    world, one = World(), delivery()
    twin = delivery(message_id=one.message_id)
    queue = FakeQueue([one, twin, delivery()])

    await world.consume(queue)

    assert world.logged.count(key(one)) == 1
    assert len(queue.acked) == 3
    assert world.fates() == {Fate.LOGGED: 2, Fate.DUPLICATE: 1}


async def test_duplicates_across_batches() -> None:
    """The same event in a later batch is logged once."""
    world, one = World(), delivery()

    await world.consume(FakeQueue([one], [delivery(message_id=one.message_id)]))

    assert world.logged == [key(one)]
    assert world.fates() == {Fate.LOGGED: 1, Fate.DUPLICATE: 1}


async def test_duplicates_across_domains() -> None:
    """The same event from two queues of one node is logged once."""
    world, one = World(), delivery()
    await world.consume(FakeQueue([one]))

    other = World("lab", once=world.once)
    await other.consume(FakeQueue([delivery(message_id=one.message_id)]))

    assert other.logged == []


async def test_duplicates_only_within_the_window() -> None:
    """After twice the window the same identity is another event, also in a system that was quiet."""
    world, one = World(), delivery()
    later = delivery(message_id=one.message_id, received_at=NOW + 1_200)

    await world.consume(FakeQueue([one], [later]))

    assert world.logged == [key(one), key(one)]


async def test_same_body_without_an_id() -> None:
    """Deliveries without any id are the same event if key and body are the same."""
    world = World()
    batch = [delivery(message_id=None) for _ in range(2)] + [delivery("quota.check", message_id=None)]

    await world.consume(FakeQueue(batch))

    assert [one.event_type for one in world.logged] == ["quota.alert", "quota.check"]


async def test_half_of_an_event_is_logged_already() -> None:
    """Of an event and what follows from it, only what is not in the log yet is added."""
    world, one = World("device"), delivery("device.started")
    world.once.first_shown(key(one, "device.started"), NOW, NOW)
    queue = FakeQueue([one])

    await world.consume(queue)

    assert world.logged == [key(one, "device.status.changed")]
    assert world.fates() == {Fate.LOGGED: 1}
    assert queue.acked == [one]


async def test_redelivered_is_looked_up_in_the_log() -> None:
    """A redelivered event is judged only after the log's tail was read: somebody else may have logged it."""
    world, one = World(), delivery()
    await world.consume(FakeQueue([one]))
    world.once = Once(window_seconds=600.0, keys_max=1_000)  # Another node, which knows nothing yet.
    log = FakeLog(world.once)
    log.entries, world.log = world.log.entries, log

    await world.consume(FakeQueue(again([one])))

    assert world.logged == [key(one)]
    assert world.fates() == {Fate.LOGGED: 1, Fate.DUPLICATE: 1}


async def test_no_catching_up_without_need() -> None:
    """What was never delivered before does not wait for the tail."""
    world = World()

    await world.consume(FakeQueue([delivery()], [delivery()]))

    assert world.log.caught_up == 0


@pytest.mark.parametrize("names", [[OURS], [GOOD, OURS], [OURS, GOOD], [GOOD, OURS, BAD, OURS, GOOD, OURS]])
async def test_our_own_failure_stays_in_the_queue(names: list[str]) -> None:
    """A delivery that we fail on goes back to the queue; every other one of its batch is settled."""
    world = World("lab")
    batch = [kind(name) for name in names]
    queue = FakeQueue(batch)

    await world.consume(queue)

    ours = [one for one, name in zip(batch, names, strict=True) if name == OURS]
    assert queue.requeued == ours
    assert queue.acked == [one for one in batch if one not in ours]
    assert queue.left == ours
    assert world.stats.requeued == {"lab": len(ours)}


EVERYTHING = (GOOD, BAD, OURS, LATE, GOOD, BAD)


async def test_cancelled_anywhere() -> None:
    """Wherever it is cancelled, nothing is acked that is not safe; in the end all is there once."""
    for hold_at in count():
        stops = Stops(hold_at)
        world = World("lab", dead=FakeDeadLetters(stops=stops))
        world.log = FakeLog(world.once, stops=stops)
        first, second = [kind(name) for name in EVERYTHING], [kind(GOOD), kind(OURS)]
        queue = FakeQueue(again(first), second, stops=stops)
        work = asyncio.create_task(world.consume(queue))
        held = asyncio.create_task(stops.reached.wait())
        await asyncio.wait((work, held), return_when=asyncio.FIRST_COMPLETED)
        finished = work.done()
        for task in (work, held):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert work.cancelled() != finished  # A cancellation passes through.

        everywhere = [*first, *second]
        logged = {one.event_id for one in world.logged}
        buried = {one.message_id for one, _, _ in world.dead.buried}
        for one in queue.acked:
            assert one.message_id in logged | buried or one.routing_key == "lab.stale"
        gone = {one.message_id for one in [*queue.acked, *queue.left]}
        assert gone == {one.message_id for one in everywhere}

        await_rest = FakeQueue(again(queue.left))
        world.log._stops = world.dead._stops = Stops()
        await world.consume(await_rest)
        good = [
            one.message_id for one in everywhere if one.routing_key == "quota.alert" and one.body[:1] == b"{"
        ]
        assert sorted(one.event_id for one in world.logged) == sorted(map(str, good))
        assert {one.message_id for one in await_rest.left} == {
            one.message_id for one in everywhere if one.routing_key == "lab.broken"
        }
        if finished:
            break
    assert hold_at > 20  # There were as many places to be cancelled at.


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What ingest logs, from debug up."""
    capture = LogCapture()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(), processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    monkeypatch.setattr("bridge.ingest.log", logger)
    return capture.entries


async def test_no_payload_in_logs(lines: list[Any]) -> None:
    """Log lines have names, ids and reasons; never what a publisher wrote into a body."""
    world = World("lab")
    wrong: dict[str, object] = {"userId": "u1", "timestamp": TIME, "quotaId": [SECRET]}
    bodies: list[object] = [
        wrong,
        {**wrong, "quotaId": "q", "type": SECRET},
        {**wrong, "timestamp": SECRET},
        {"specversion": SECRET, "data": {}},
        {"pattern": "quota.alert", "data": SECRET},
        [SECRET],
        SECRET,
    ]
    batch = [
        *(delivery(body=json.dumps(body).encode()) for body in bodies),
        delivery(body=SECRET.encode()),
        *(kind(name) for name in EVERYTHING),
        delivery("lab.unheard_of"),
    ]

    await world.consume(FakeQueue(batch, [delivery(message_id=batch[-1].message_id)]))

    assert {line["event"] for line in lines} == {
        "ingest.dead_letter",
        "ingest.failed",
        "ingest.late",
        "ingest.settled",
    }
    assert SECRET not in repr(lines)
    assert len(world.dead.buried) == 8 + 2
    assert all(line["domain"] == "lab" for line in lines)


async def test_a_dead_letter_is_logged_by_its_ids(lines: list[Any]) -> None:
    """The line about a dead letter has what is needed to find it."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    one = delivery(body=b'{"userId": "u1"}', message_id="m-1", headers={"traceparent": trace})

    await World().consume(FakeQueue([one]))

    assert lines == [
        {
            "event": "ingest.dead_letter",
            "log_level": "warning",
            "domain": "quota",
            "routing_key": "quota.alert",
            "event_id": "m-1",
            "trace_id": trace[3:35],
            "reason": "missing_field",
            "field": "timestamp",
        }
    ]


async def test_our_own_failure_is_logged_by_its_place(lines: list[Any]) -> None:
    """The line about a failure of ours names the error and the lines of code, without the error's text."""
    await World("lab").consume(FakeQueue([delivery("lab.broken", message_id="m-1")]))

    line = lines[0]
    assert (line["event"], line["log_level"], line["error"]) == ("ingest.failed", "error", "LookupError")
    assert line["event_id"] == "m-1"
    assert line["where"].startswith("ingest.py:")
    assert line["where"].split(" > ")[-1].startswith("test_ingest.py:")


async def test_unknown_names_are_no_labels() -> None:
    """Names that no domain declares are counted together: a publisher must not make metrics without end."""
    world = World("lab")

    await world.consume(FakeQueue([delivery(f"lab.unheard_of{number}") for number in range(50)]))

    assert world.stats.deliveries == {("lab", "", Fate.LOGGED): 50}


async def test_from_the_queue_to_the_socket() -> None:
    """What is ingested is in the log in memory at once, from offset 1, and on its way to the sockets."""
    stats, hub, socket = Stats(), Hub[FakeSocket](), FakeSocket()
    hub.join(socket, "user:u1")
    window = Window(WindowLimits(seconds_max=300.0, bytes_max=1_000_000))
    fanout = Fanout(
        hub,
        window,
        frame=lambda logged, room: Frame(encode_event(logged, room), offset=logged.offset),
        on_new_life=lambda: pytest.fail("there is but one life"),
        stats=stats,
    )
    memory = MemoryLog(epoch="e", reader=fanout)
    world, batch = World(), [delivery(), delivery()]

    await world.ingest().run(FakeQueue(batch, again(batch)), memory, world.dead)

    (write,) = socket.writes
    sent = [json.loads(frame.data) for frame in write]
    assert [(one["offset"], one["id"]) for one in sent] == [
        (1, batch[0].message_id),
        (2, batch[1].message_id),
    ]
    assert window.position == ("e", 2)
