"""What `make demo` expects, and what it calls a problem."""

from __future__ import annotations

import asyncio
import io
import time
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest
from rich.console import Console

from bridge.core.access import AccessRules, Principal
from bridge.core.catalogue import Catalogue
from bridge.core.revocation import ChangeKind
from consumers import domains
from devel.demo import Recorder, environment, main
from devel.demo_plan import Arrival, Frame, Outcome, Person, Publication, make_plan, percentile, room_problems
from devel.demo_report import Report
from devel.errors import DevelError

SECONDS_MAX = 30.0

CATALOGUE = Catalogue(domains())
PLAN = make_plan(CATALOGUE, "test")
DEVICE = {"device:device-19", "user:u1"}

# What the systems expect, written down by hand: a wrong targets() must not hide behind itself.
KNOWN: dict[str, dict[tuple[str, str], set[str]]] = {
    "quota.updated": {("u1", "quota.updated"): {"user:u1"}},
    "device.started": {("u1", "device.started"): DEVICE, ("u1", "device.status.changed"): DEVICE},
    "device.backup_completed": {("u1", "device.backup_completed"): DEVICE},
    "billing.payment_success": {("u1", "billing.payment_success"): {"user:u1"}},
    "app.install_progress": {("u1", "app.install_progress"): DEVICE},
    "proxy.pool_changed": {("admin", "proxy.pool_changed"): {"role:admin"}},
    "sms.receive_stats": {("admin", "sms.receive_stats"): {"role:admin"}},
    "media.recording_changed": {("u1", "media.recording_changed"): {"user:u1"}},
    "deposit_completed:v1": {("u1", "wallet.deposit_completed"): {"user:u1"}},
    "payment_status_update:v1": {("u1", "wallet.payment_status_updated"): {"user:u1"}},
    "withdrawal_completed:v1": {("u1", "wallet.withdrawal_completed"): {"user:u1"}},
    "subscription-updated": {("u1", "subscription.updated"): {"user:u1"}},
    "post-purchased": {("u1", "post.purchased"): {"user:u1"}},
    "whatsapp.qr": {("u1", "whatsapp.qr"): {"company:company-3"}},
    "quotaUpdated": {},
}


def publication(routing_key: str) -> Publication:
    """Return the first publication of the plan under this routing key."""
    return next(each for each in PLAN.publications if each.routing_key == routing_key)


def frame(routing_key: str, event_type: str = "") -> Frame:
    """Return a frame that follows from what is published under this routing key."""
    frames = publication(routing_key).frames
    return next(each for each in frames if each.event_type == (event_type or routing_key))


def wire(sent: Frame) -> dict[str, object]:
    """Return a frame's identity as it stands in a message."""
    return {"type": sent.event_type, "version": sent.version, "id": sent.message_id}


def perfect() -> list[Arrival]:
    """Return the arrivals of a run in which nothing goes wrong."""
    expected = PLAN.expected(PLAN.publications)
    return [Arrival(user_id, each, min(rooms), 0.002) for (user_id, each), rooms in expected.items()]


def outcome(arrivals: list[Arrival], *troubles: str) -> Outcome:
    """Return the outcome of a run in which everything was published."""
    return Outcome(PLAN, PLAN.publications, arrivals, troubles)


def assert_only_problem(came: Outcome, problem: str) -> None:
    """Check that this is the one problem, that it is printed, and that it makes the run fail."""
    assert came.problems == [problem]
    assert came.status == 1
    printed = io.StringIO()
    Report(Console(file=printed, width=80)).summary(came)
    assert problem in printed.getvalue()
    assert "✓" not in printed.getvalue()


def test_everything_once() -> None:
    """A run in which every frame arrives once, where it should, has no problem and status 0."""
    came = outcome(perfect())

    assert came.problems == []
    assert came.status == 0


def test_nothing_at_all() -> None:
    """When nothing arrives, every expected frame is named."""
    came = outcome([])

    assert len(came.problems) == len(PLAN.expected(PLAN.publications))
    assert came.status == 1


@pytest.mark.parametrize("index", range(len(perfect())))
def test_missing(index: int) -> None:
    """A frame that did not arrive is named, whichever it is."""
    arrivals = perfect()
    lost = arrivals.pop(index)

    came = outcome(arrivals)

    assert len(came.problems) == 1
    assert came.problems[0].startswith(f"{lost.frame.event_type} v1 ")
    assert came.problems[0].endswith(f"did not reach {lost.user_id}")
    assert came.status == 1


def test_missing_derived() -> None:
    """A derived event that did not arrive is named with the event that it follows from."""
    lost = frame("device.started", "device.status.changed")

    came = outcome([arrival for arrival in perfect() if arrival.frame != lost])

    assert_only_problem(came, "device.status.changed v1 (published as device.started) did not reach u1")


def test_missing_alias() -> None:
    """An event that did not arrive under its old name is named by both, though it did under its new one."""
    lost = frame("deposit_completed:v1", "wallet.deposit_completed")

    came = outcome([arrival for arrival in perfect() if arrival.frame != lost])

    assert_only_problem(
        came, "wallet.deposit_completed v1 (published as deposit_completed:v1) did not reach u1"
    )


def test_doubled() -> None:
    """A frame that arrived more than once is named with how often, whatever the room."""
    again = Arrival("u1", frame("device.error"), "user:u1", 0.1)

    assert_only_problem(outcome([*perfect(), again, again]), "device.error v1 reached u1 3 times")


def test_at_a_stranger() -> None:
    """A frame that arrived at somebody who may not have it is a problem, though its owner got it."""
    leaked = Arrival("u2", frame("quota.updated"), "user:u1", 0.002)

    assert_only_problem(
        outcome([*perfect(), leaked]), "quota.updated v1 reached u2 through user:u1, and is not for u2"
    )


def test_administrators_event_at_a_user() -> None:
    """An administrators' event is not for the user that its payload names."""
    leaked = Arrival("u1", frame("proxy.pool_changed"), "user:u1", 0.002)

    assert_only_problem(
        outcome([*perfect(), leaked]), "proxy.pool_changed v1 reached u1 through user:u1, and is not for u1"
    )


def test_through_a_wrong_room() -> None:
    """A frame that names a room which the event does not go to is a problem."""
    wrong = frame("quota.updated")
    arrivals = [replace(each, room="all") if each.frame == wrong else each for each in perfect()]

    assert_only_problem(
        outcome(arrivals), "quota.updated v1 reached u1 through all, where it does not belong"
    )


def test_wrong_version() -> None:
    """A frame of another version is not the one that was expected."""
    right = frame("order.completed")
    wrong = right._replace(version=2)
    arrivals = [replace(each, frame=wrong) if each.frame == right else each for each in perfect()]

    assert outcome(arrivals).problems == [
        "order.completed v1 did not reach u1",
        "order.completed v2 reached u1 through user:u1, and is not for u1",
    ]


@pytest.mark.parametrize("chapter", ["repeated", "refused"])
def test_for_nobody(chapter: str) -> None:
    """What is published again, or under a wrong name, must not arrive at anybody."""
    (for_nobody,) = next(each.publications for each in PLAN.chapters if each.title == chapter)
    leaked = Arrival("u1", Frame("any.event", 1, for_nobody.message_id), "user:u1", 0.002)

    came = outcome([*perfect(), leaked])

    assert_only_problem(
        came, f"any.event v1 (published as {for_nobody.routing_key}) reached u1, and is for nobody"
    )


def test_trouble_on_the_way() -> None:
    """A lost socket makes the run fail even when every event has arrived."""
    assert_only_problem(outcome(perfect(), "u1 lost the socket: 4008 slow"), "u1 lost the socket: 4008 slow")


def test_not_published_is_not_missing() -> None:
    """What was never published is not expected."""
    assert Outcome(PLAN, PLAN.publications[:1], perfect()[:1]).status == 0


@pytest.mark.parametrize("person", PLAN.people, ids=attrgetter("user_id"))
def test_rooms(person: Person) -> None:
    """Being let into too few rooms is a problem, and into too many as well."""
    assert room_problems(person, person.rooms) == []
    assert room_problems(person, person.rooms[1:]) == [f"{person.user_id} was not let into {person.rooms[0]}"]
    assert room_problems(person, [*person.rooms, "user:u3"]) == [
        f"{person.user_id} was let into user:u3, and may not be there"
    ]


@pytest.mark.parametrize("routing_key", KNOWN)
def test_known_receivers(routing_key: str) -> None:
    """Who gets an event, and through which rooms, is what the systems expect."""
    expected = PLAN.expected([publication(routing_key)])

    assert {(user_id, each.event_type): rooms for (user_id, each), rooms in expected.items()} == KNOWN[
        routing_key
    ]


def test_plan_is_whole() -> None:
    """Every event type that browsers see is published under its own name and each of its old ones."""
    shown = [each for each in CATALOGUE.event_types if each.name not in set(ChangeKind)]
    names = {name for each in shown for name in (each.name, *each.aliases)}

    assert {each.routing_key for each in PLAN.publications} == {*names, "quotaUpdated"}
    assert len(names) == 43 + 8


def test_stranger_gets_own_event() -> None:
    """The stranger's own event reaches the stranger and nobody else: that socket is not just dead."""
    (own,) = next(chapter.publications for chapter in PLAN.chapters if chapter.title == "another user")

    assert {user_id for user_id, _ in PLAN.expected([own])} == {"u2"}


def test_people() -> None:
    """The sample users claim, want and are refused what the access rules say."""
    owner, stranger, administrator = PLAN.people
    rules = AccessRules()

    assert (owner.user_id, owner.claims) == ("u1", ("device:*", "company:*"))
    assert (stranger.user_id, stranger.claims, stranger.roles) == ("u2", (), ())
    assert (administrator.claims, administrator.roles) == ((), ("admin",))
    assert stranger.forbidden == ("user:u1", "device:device-19", "company:company-3", "role:admin")
    for person in PLAN.people:
        principal = Principal(person.user_id, frozenset(person.roles), person.claims)
        assert all(rules.decide(principal, room).allowed for room in person.rooms)
        assert not any(rules.decide(principal, room).allowed for room in person.forbidden)


def test_public_kinds() -> None:
    """Rooms of a public kind are forbidden to nobody."""
    stranger = make_plan(CATALOGUE, "test", ["device"]).people[1]

    assert stranger.forbidden == ("user:u1", "company:company-3", "role:admin")


def test_runs_are_apart() -> None:
    """Two runs share no message id, and no transaction that can happen only once."""
    first, second = (make_plan(CATALOGUE, run).publications for run in ("one", "two"))

    assert not {each.message_id for each in first} & {each.message_id for each in second}
    assert not transactions(first) & transactions(second)
    assert len(transactions(first)) == 3 * 3


def transactions(publications: list[Publication]) -> set[object]:
    """Return the transactions that these are about."""
    return {each.payload["transactionId"] for each in publications if "transactionId" in each.payload}


def test_repeated_is_the_same_event() -> None:
    """What is published again differs only in its id."""
    (again,) = next(chapter.publications for chapter in PLAN.chapters if chapter.title == "repeated")
    original = publication(again.routing_key)

    assert again.body("now") == original.body("now")
    assert again.message_id != original.message_id


def test_recorder_leaves_others_alone() -> None:
    """A frame of somebody else's event is counted, and nothing more."""
    recorder = Recorder()
    recorder.publishing(publication("quota.updated"))

    recorder.arrived("u1", {"type": "quota.updated", "version": 1, "id": "theirs", "room": "user:u1"}, 1.0)

    assert recorder.arrivals == []
    assert recorder.others == 1


def test_recorder_measures() -> None:
    """Latency is from the publish to the arrival, and news is taken once."""
    recorder = Recorder()
    recorder.publishing(publication("quota.updated"))
    wanted = frame("quota.updated")
    at = recorder.published_at[wanted.message_id] + 0.25

    recorder.arrived("u1", {**wire(wanted), "room": "user:u1"}, at)

    (news,) = recorder.take_news()
    assert news == Arrival("u1", wanted, "user:u1", news.latency_seconds)
    assert news.latency_seconds == pytest.approx(0.25)
    assert recorder.take_news() == []


async def test_recorder_waits_no_longer() -> None:
    """Waiting ends when what is awaited has arrived, or when the time is over."""
    recorder = Recorder()
    recorder.publishing(publication("quota.updated"))
    wanted = frame("quota.updated")

    await recorder.complete({("u1", wanted)}, 0.0)
    waiting = asyncio.create_task(recorder.complete({("u1", wanted)}, SECONDS_MAX))
    await asyncio.sleep(0)
    assert not waiting.done()
    recorder.arrived("u1", {**wire(wanted), "room": "user:u1"}, time.perf_counter())
    await waiting


async def test_lost_socket_ends_the_waiting() -> None:
    """Nobody waits for what cannot arrive any more."""
    recorder = Recorder()
    waiting = asyncio.create_task(recorder.complete({("u1", frame("quota.updated"))}, SECONDS_MAX))
    await asyncio.sleep(0)

    recorder.lose("u1 lost the socket: 1006")

    await asyncio.wait_for(waiting, SECONDS_MAX / 10)
    assert recorder.troubles == ["u1 lost the socket: 1006"]


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 2), (99, 4), (100, 4), (25, 1), (26, 2)])
def test_percentile(percent: float, value: float) -> None:
    """A percentile is one of the values, by nearest rank."""
    assert percentile([1, 2, 3, 4], percent) == value


def test_environment_wins(tmp_path: Path) -> None:
    """What `make run` wrote holds, unless the environment says otherwise."""
    file = tmp_path / "env"
    file.write_text("RABBITMQ_URL='amqp://written/'\nBRIDGE_WS__PORT=8080\n")

    variables = environment(file, {"RABBITMQ_URL": "amqp://given/"})

    assert variables == {"RABBITMQ_URL": "amqp://given/", "BRIDGE_WS__PORT": "8080"}


@pytest.mark.parametrize("environ", [{}, {"BRIDGE_WS__PORT": "0"}])
def test_no_bridge(environ: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a running bridge there is one clear sentence, and status 1."""
    with pytest.raises(DevelError):
        environment(tmp_path / "env", environ)

    assert main(environ, tmp_path / "env") == 1
    assert capsys.readouterr().err == "No bridge runs here; start the bridge first: make run.\n"
