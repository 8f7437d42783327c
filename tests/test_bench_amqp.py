"""The bench's own AMQP: what it publishes is valid, what it counts is right, however bytes are cut."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st
from pamqp import commands, frame, header

from benchmarks.amqp.bare import tape
from benchmarks.amqp.bus import Bus
from benchmarks.amqp.client import BrokerError, Client
from benchmarks.amqp.drains import Side, in_turns
from benchmarks.amqp.flight import Flight
from benchmarks.amqp.frames import (
    BODY,
    BODY_BYTES,
    HEAD_BYTES,
    ROUTING_KEY,
    USER,
    Confirms,
    Events,
    FrameReader,
    number_in,
)
from benchmarks.children import Child
from benchmarks.subject import plan
from bridge.core.catalogue import Catalogue
from bridge.core.delivery import Delivery
from bridge.core.intake import Intake
from bridge.core.verdict import Fate
from consumers import domains
from tests.servers import Prefix, SharedBroker

SECONDS_MAX = 20.0
EVENTS = Events("exchange", "a1b2c3d4", users=10)


def parts(data: bytes) -> Iterator[frame.FrameTypes]:
    """Take bytes apart with pamqp."""
    while data:
        used, _, part = frame.unmarshal(data)
        yield part
        data = data[used:]


def body_of(event: bytes) -> bytes:
    """Return what an event's publish frames carry."""
    return next(whole[HEAD_BYTES:-1] for kind, whole in FrameReader().feed(event) if kind == BODY)


class TestEvents:
    """What is published."""

    def test_frames(self) -> None:
        """An event is a publish, a header with an id of its own, and a body; it goes to its number's user."""
        method, head, body = parts(next(EVENTS.frames([123])))

        assert isinstance(method, commands.Basic.Publish)
        assert (method.exchange, method.routing_key) == ("exchange", ROUTING_KEY)
        assert isinstance(head, header.ContentHeader)
        assert (head.properties.message_id, head.properties.delivery_mode) == ("a1b2c3d4-000000123", 2)
        assert head.body_size == BODY_BYTES
        assert json.loads(body.value)["userId"] == USER.format(index=3)  # type: ignore[union-attr] # a body

    def test_one_size(self) -> None:
        """All events have one size, so that a count is a measure."""
        assert len({len(event) for event in EVENTS.frames([0, 9, 10, 999_999_999])}) == 1

    def test_number(self) -> None:
        """The number can be read from whatever text holds the event."""
        assert [number_in(event) for event in EVENTS.frames(range(5, 8))] == [5, 6, 7]
        with pytest.raises(ValueError, match="connected"):
            number_in(b'{"type":"connected"}')

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_valid(self, *, wrapped: bool) -> None:
        """The bridge logs it for its user: nothing that is measured takes a short cut to a dead letter."""
        catalogue = Catalogue(domains())
        domain = catalogue.domains[ROUTING_KEY.partition(".")[0]]
        body = body_of(next(replace(EVENTS, wrapped=wrapped).frames([4])))

        assert (b'"pattern"' in body) is wrapped
        verdict = Intake(catalogue, domain, body_bytes_max=10_000).judge(
            Delivery(ROUTING_KEY, body, received_at=time.time(), message_id="m")
        )

        assert verdict.fate is Fate.LOGGED
        assert "user:u-00004" in verdict.entries[0].targets


class TestFrameReader:
    """Frames out of a stream."""

    @given(st.lists(st.integers(min_value=1, max_value=400), max_size=40))
    def test_cut_anywhere(self, cuts: list[int]) -> None:
        """However the stream is cut, the same frames come out."""
        stream = b"".join(EVENTS.frames(range(4)))
        reader = FrameReader()
        places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})

        found = [one for start, end in pairwise(places) for one in reader.feed(stream[start:end])]

        assert found == list(FrameReader().feed(stream))
        assert b"".join(whole for _, whole in found) == stream


class TestConfirms:
    """What a broker has confirmed."""

    @pytest.mark.parametrize(
        ("acks", "count"),
        [
            ([], 0),
            ([(1, False)], 1),
            ([(3, True)], 3),
            ([(2, False)], 1),
            ([(2, False), (1, False)], 2),
            ([(2, False), (3, True)], 3),
            ([(5, False), (3, True)], 4),
            ([(3, True), (2, True)], 3),
        ],
    )
    def test_count(self, acks: list[tuple[int, bool]], count: int) -> None:
        """Single and multiple confirmations count each event once, in whatever order they come."""
        confirms = Confirms()
        for tag, multiple in acks:
            confirms.note(tag, multiple=multiple)

        assert confirms.count == count

    @given(st.permutations(range(1, 30)))
    def test_any_order(self, tags: list[int]) -> None:
        """When each has been confirmed, all have."""
        confirms = Confirms()
        for done, tag in enumerate(tags, 1):
            confirms.note(tag, multiple=False)
            assert confirms.count == done


class TestFlight:
    """Events under way."""

    def test_times(self) -> None:
        """A time is that from leaving to arriving, in ms, whatever the order of arrival."""
        flight = Flight(100, events=3)
        flight.leave(2, at=1.0)
        flight.leave(1, at=2.0)
        for number, at in ((102, 2.5), (100, 1.1), (101, 1.3)):
            flight.arrive(number, at)

        assert (flight.left, flight.arrived, flight.under_way) == (3, 3, 0)
        assert flight.summary() == pytest.approx({"p50": 300.0, "p99": 500.0, "max": 500.0, "twice": 0})

    @pytest.mark.parametrize("number", [100, 99, 101, 102])
    def test_not_under_way(self, number: int) -> None:
        """One that is there already, of another flight, or still to leave is one too many, and no arrival."""
        flight = Flight(100, events=2)
        flight.leave(1, at=1.0)
        flight.arrive(100, 1.1)

        flight.arrive(number, 1.2)

        assert (flight.arrived, flight.twice) == (1, 1)


class TestRounds:
    """Sides that take turns."""

    def test_direction(self, idle: Child) -> None:
        """Every other round goes backwards."""
        sides = [Side(name, idle) for name in "ab"]
        played: list[str] = []

        in_turns(sides, 3, lambda side: played.append(side.name))

        assert "".join(played) == "abbaab"

    def test_note(self, idle: Child) -> None:
        """A round is noted as CPU for each event, and as a rate."""
        side = Side("a", idle)
        side.note({"events": 1_000, "user": 0.01, "system": 0.005, "wall": 0.02})

        assert side.micros == pytest.approx([15.0])
        assert side.per_second == pytest.approx([1e6 / 15])
        assert side.details() == pytest.approx(
            {"user_us": 10.0, "system_us": 5.0, "events_per_second": 50_000.0, "busy": 0.75}
        )

    @pytest.fixture
    def idle(self) -> Iterator[Child]:
        """A child that is never asked."""
        with Child("cat", ["cat"]) as child:
            yield child


class TestTape:
    """What the bare reader reads."""

    def test_again(self) -> None:
        """Whoever connects gets all of the recorded bytes, then the end."""
        recorded = bytes(range(256)) * 1_000
        with tape(recorded) as port:
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", port), 5.0) as reader:
                    assert b"".join(iter(lambda: reader.recv(65_536), b"")) == recorded


class TestClient:
    """The connection, to a real broker."""

    def test_fill_and_record(self, rabbitmq: SharedBroker, prefix: Prefix) -> None:
        """What was filled in is confirmed, and comes back as it was, in order."""
        queue = f"{prefix}.bench"
        prefix.queues.add(queue)
        events = list(Events("", "series", 7, routing_key=queue).frames(range(200)))
        with Client(rabbitmq.url) as publishing, Client(rabbitmq.url) as consuming:
            consuming.declare(queue)
            assert publishing.fill(events) == 200
            assert publishing.unconfirmed == 0
            consuming.consume(queue)
            recorded = consuming.record(200)

        bodies = [whole[HEAD_BYTES:-1] for kind, whole in FrameReader().feed(recorded) if kind == BODY]
        assert bodies == [body_of(event) for event in events]

    def test_offer_and_take(self, rabbitmq: SharedBroker, prefix: Prefix) -> None:
        """Offering waits for nothing; what has come can be taken piece by piece."""
        queue = f"{prefix}.bench"
        prefix.queues.add(queue)
        taken: list[bytes] = []
        with Client(rabbitmq.url) as client:
            client.declare(queue)
            client.consume(queue)
            client.offer(list(Events("", "series", 7, routing_key=queue).frames(range(50))))
            while len(taken) < 50 or client.unconfirmed:
                client.flush()
                assert select.select([client.sock], [], [], SECONDS_MAX)[0], f"{len(taken)} came"
                taken += client.take()

        assert [number_in(text) for text in taken] == list(range(50))

    def test_take_acks(self, rabbitmq: SharedBroker, prefix: Prefix) -> None:
        """With a prefetch what was taken is acked, or no more would come."""
        queue = f"{prefix}.bench"
        prefix.queues.add(queue)
        taken: list[bytes] = []
        with Client(rabbitmq.url) as publishing, Client(rabbitmq.url) as consuming:
            publishing.declare(queue)
            publishing.fill(Events("", "series", 7, routing_key=queue).frames(range(50)))
            consuming.consume(queue, prefetch=3)
            while len(taken) < 50:
                assert select.select([consuming.sock], [], [], SECONDS_MAX)[0], f"{len(taken)} came"
                taken += consuming.take()

        assert [number_in(text) for text in taken] == list(range(50))

    def test_broker_closes(self, rabbitmq: SharedBroker) -> None:
        """What the broker does not like is told with its words."""
        with Client(rabbitmq.url) as client, pytest.raises(BrokerError, match="404 NOT_FOUND"):
            client.fill(Events("no-such-exchange", "series", 1).frames([0]))


class TestProcesses:
    """The programs of the bench, together, on a real broker."""

    def test_bridge(self, bus: Bus) -> None:
        """A bridge drains on demand what was filled in, then carries what a driver publishes to sockets."""
        with bus.gateway() as server, bus.publisher() as publisher:
            port = server.answer(SECONDS_MAX)["port"]
            publisher.answer(SECONDS_MAX)
            for _ in range(2):
                publisher.ask(SECONDS_MAX, do="fill", events=60)
                assert server.ask(SECONDS_MAX, do="drain", events=60)["events"] == 60
            with bus.driver(plan(port, 3, user=USER), past=True) as driver:
                driver.answer(SECONDS_MAX)
                server.ask(SECONDS_MAX, do="attach")
                for way in ("through", "past"):
                    flown = driver.ask(SECONDS_MAX, do="fly", way=way, events=90, in_flight_max=9)
                    assert (flown["events"], flown["twice"]) == (90, 0)
                flown = driver.ask(SECONDS_MAX, do="fly", way="through", events=30, rate=1_000.0)
                assert (flown["events"], flown["twice"]) == (30, 0)

    def test_stock(self, bus: Bus) -> None:
        """The consumer that uses aio-pika as it comes drains as often as it is asked."""
        with Client(bus.url) as client:
            client.declare(bus.queue)
        events = Events("", "series", 1, routing_key=bus.queue)
        argument = {"url": bus.url, "queue": bus.queue, "prefetch": 10}
        with Child.of_module("benchmarks.amqp.stock", argument) as stock, Client(bus.url) as client:
            stock.answer(SECONDS_MAX)
            for _ in range(2):
                client.fill(events.frames(range(60)))
                assert stock.ask(SECONDS_MAX, do="drain", events=60)["events"] == 60

    @pytest.fixture
    def bus(self, rabbitmq: SharedBroker, prefix: Prefix) -> Bus:
        """Names on the shared broker."""
        bus = Bus(rabbitmq.url, str(prefix))
        prefix.queues.add(bus.own_queue)
        return bus
