"""What the benchmarks reckon with: frames counted, greetings exchanged, figures summed up."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given, strategies as st
from rich.console import Console
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol

from benchmarks import charts
from benchmarks.cases import CASES, GUARDED
from benchmarks.contest import Contestant, Sample, parts, play_rounds
from benchmarks.counting import delays
from benchmarks.figures import Bar, Figure, Limit, Spread, merged, ratios
from benchmarks.machine import ProcessGoneError, cpu_of, resident_bytes, resident_bytes_of
from benchmarks.peers import Peer, node_peer, python_peer
from benchmarks.peers.openings import OPENINGS, Dialogue, Opening, Step, UnexpectedError
from benchmarks.peers.table import ENTRANTS
from benchmarks.report import apart, show
from benchmarks.servers.bridge import Subject
from benchmarks.wire import FrameCounter, MarkCounter, agrees_to_deflate, client_frame, upgrade
from bridge.app import Bridge

RSV1 = 0x40  # Of the first byte (RFC 6455 section 5.2).


def frame(payload: bytes, opcode: Opcode = Opcode.TEXT, *, compressed: bool = False) -> bytes:
    """Return a server's frame."""
    data = bytearray(Frame(opcode, payload).serialize(mask=False))
    data[0] |= RSV1 if compressed else 0
    return bytes(data)


def pieces(data: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    """Yield data cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        yield data[start:end]


class TestWire:
    """Messages are counted whatever the kernel makes of them."""

    @given(
        sizes=st.lists(st.sampled_from([0, 1, 125, 126, 300, 65_535, 65_536]), max_size=5),
        cuts=st.lists(st.integers(min_value=0), max_size=9),
    )
    def test_frames_are_counted_however_they_are_cut(self, sizes: list[int], cuts: list[int]) -> None:
        """Every data frame counts once, no control frame does, and compressed ones are told apart."""
        stream = b"".join(
            frame(bytes(size), compressed=size > 125) + frame(b"", Opcode.PING) for size in sizes
        )
        counter = FrameCounter()

        counted = sum(counter.feed(piece, len(piece)) for piece in pieces(stream, cuts))

        assert counted == len(sizes)
        assert counter.compressed == sum(size > 125 for size in sizes)

    @given(
        joined=st.lists(st.integers(min_value=0, max_value=9), max_size=5),
        cuts=st.lists(st.integers(min_value=0), max_size=9),
    )
    def test_marked_events_are_counted_though_they_share_frames(
        self, joined: list[int], cuts: list[int]
    ) -> None:
        """Each event counts, however many a server has put into one frame."""
        stream = b"".join(frame(b"MSG bench 1 2\r\nhi\r\n" * events, Opcode.BINARY) for events in joined)
        counter = MarkCounter(b"MSG bench ")

        assert sum(counter.feed(piece, len(piece)) for piece in pieces(stream, cuts)) == sum(joined)

    @pytest.mark.parametrize("size", [0, 125, 126, 65_535])
    def test_client_frames_are_understood(self, size: int) -> None:
        """What a client says is read by a server that nobody here wrote."""
        server = Protocol(SERVER)

        server.receive_data(client_frame(b"x" * size, binary=True))

        [received] = server.events_received()
        assert received == Frame(Opcode.BINARY, b"x" * size)

    def test_an_upgrade_says_what_is_asked_for(self) -> None:
        """Token, sub-protocol and compression are there when they are wanted, and only then."""
        plain = upgrade("host", "/ws").decode()
        whole = upgrade("host", "/ws", "t.o.k", subprotocol="v12.stomp", deflate=True).decode()

        for header in ("Authorization", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"):
            assert header not in plain
        assert "\r\nAuthorization: Bearer t.o.k\r\n" in whole
        assert "\r\nSec-WebSocket-Protocol: v12.stomp\r\n" in whole
        assert "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" in whole

    @pytest.mark.parametrize(
        ("head", "agreed"),
        [
            (b"HTTP/1.1 101 X\r\nSec-WebSocket-Extensions: permessage-deflate; a=1", True),
            (b"HTTP/1.1 101 X\r\nsec-websocket-extensions: permessage-deflate", True),
            (b"HTTP/1.1 101 X\r\nServer: permessage-deflate", False),
            (b"HTTP/1.1 101 X", False),
        ],
    )
    def test_compression_is_on_only_if_the_server_says_so(self, head: bytes, *, agreed: bool) -> None:
        """An offer that is not taken up is not counted as compression."""
        assert agrees_to_deflate(head) is agreed


class TestOpenings:
    """How a client gets from the upgrade to its first event."""

    def test_a_dialogue_goes_step_by_step(self) -> None:
        """Each message that is expected is answered, and after the last one the client is open."""
        dialogue = Dialogue(Opening(first=b"hi", steps=(Step(b"who", b"me"), Step(b"fine"))))

        assert not dialogue.done
        assert dialogue.begin() == client_frame(b"hi")
        assert dialogue.receive(b"who are you?") == client_frame(b"me")
        assert not dialogue.done
        assert dialogue.receive(b"fine") == b""
        assert dialogue.done

    def test_another_answer_is_an_error(self) -> None:
        """A server that refuses is not taken for one that greets, and its words are shown."""
        dialogue = Dialogue(OPENINGS["stomp"])

        with pytest.raises(UnexpectedError, match="Access refused"):
            dialogue.receive(b"ERROR\nmessage:Access refused\n\n\0")

    def test_every_entrant_has_an_opening(self) -> None:
        """No peer is in the table that clients cannot get to, and no name is there twice."""
        assert all(entrant.opening in OPENINGS for entrant in ENTRANTS)
        assert len({entrant.peer.name for entrant in ENTRANTS}) == len(ENTRANTS)


class TestPeers:
    """A peer that is not there is named."""

    @pytest.mark.parametrize(
        "peer", [node_peer("x", "x.cjs", "no-such-package"), python_peer("x", "x", "no_such_package")]
    )
    def test_a_missing_peer_says_what_to_do(self, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is lacking is said, with a remedy: the program itself, its environment or a package."""
        here = peer.available()
        monkeypatch.setenv("PATH", "")
        without = peer.available()

        assert here is not None
        assert without is not None
        assert "make bench-peers" in here
        assert "make bench-peers" in without


def figure(
    name: str, values: Sequence[float], limits: Sequence[float] = (), bar: Bar | None = None
) -> Figure:
    """Return a figure in µs."""
    limit = Limit("limit", Spread.of(limits)) if limits else None
    return Figure(name, "µs", Spread.of(values), limit, ratios(values, limits) if limits else None, bar)


class TestFigures:
    """What measurements are summed up to."""

    @given(st.lists(st.floats(min_value=0, max_value=1e9), min_size=1))
    def test_a_spread_is_in_order(self, values: list[float]) -> None:
        """Lowest, quartiles, median and highest follow each other."""
        spread = Spread.of(values)

        ordered = [spread.low, spread.lower, spread.middle, spread.upper, spread.high]
        assert all(a <= b or a == pytest.approx(b) for a, b in pairwise(ordered))

    @pytest.mark.parametrize(
        ("rounds", "at_least", "reached", "failed"),
        [
            ([1.0, 1.1, 1.2], False, True, False),
            ([1.3, 1.1, 1.0], False, True, False),
            ([1.1, 1.1, 1.3, 1.3, 1.3], False, False, False),  # A quarter of the rounds reached it.
            ([1.1, 1.3, 1.3, 1.3, 1.3], False, False, True),
            ([1.3], False, False, True),
            ([1.3, 1.3, 1.1], True, True, False),
            ([1.1, 1.1, 1.1, 1.3, 1.3], True, False, False),
            ([1.1, 1.1, 1.1, 1.1, 1.3], True, False, True),
        ],
    )
    def test_a_bar_is_missed_beyond_the_noise(
        self, rounds: list[float], *, at_least: bool, reached: bool, failed: bool
    ) -> None:
        """A figure fails when the quartile on the bar's side is past a bar of 1.2, too."""
        judged = figure("x", rounds, bar=Bar(1.2, "value", at_least=at_least))

        assert (judged.reached, judged.failed) == (reached, failed)

    def test_a_bar_on_the_ratio_looks_at_the_ratio(self) -> None:
        """The value itself may be as large as it likes."""
        assert figure("x", [100.0], [100.0], Bar(1.1, "ratio")).reached
        assert not figure("x", [100.0], [50.0], Bar(1.1, "ratio")).reached

    def test_runs_are_merged_by_their_medians(self) -> None:
        """Several runs come to the spread of each run's median; what one run lacks is left out."""
        runs = [
            [figure("a", [1.0, 2.0, 9.0], [1.0, 1.0, 1.0]), figure("once", [1.0])],
            [figure("a", [4.0, 4.0, 4.0], [2.0, 2.0, 2.0])],
            [figure("a", [3.0, 3.0, 3.0], [3.0, 3.0, 3.0])],
        ]

        [found] = merged(runs)

        assert (found.value.low, found.value.middle, found.value.high) == (2.0, 3.0, 4.0)
        assert found.limit is not None
        assert found.ratio is not None
        assert (found.limit.value.low, found.limit.value.high) == (1.0, 3.0)
        assert (found.ratio.low, found.ratio.middle, found.ratio.high) == (1.0, 2.0, 2.0)

    def test_a_chart_has_a_bar_for_each_side(self) -> None:
        """What was measured is drawn once, beside everything that it was measured against."""
        first = figure("a", [1.0], [2.0])
        second = Figure("a", "µs", first.value, Limit("other", Spread.of([3.0])))

        assert charts.rows([first, figure("b", [4.0]), second]) == [
            ("a", 1.0, True),
            ("limit", 2.0, False),
            ("other", 3.0, False),
            ("b", 4.0, True),
        ]

    def test_user_system_and_wall_time_are_shown_where_they_are_known(self) -> None:
        """A side without all three is left out; one that is in several figures of a name is there once."""
        whole = {"user_us": 1.0, "system_us": 2.0, "wall_us": 3.0, "load_generator_busy": 0.5}
        details = {"ours": whole, "theirs": {"user_us": 1.0}, "sockets": 5}
        found = Figure("a", "µs", Spread.of([1.0]), details=details)

        assert apart([found, found]) == {("a", "ours"): whole}

    def test_figures_can_be_written(self) -> None:
        """A figure is plain data, with its verdict."""
        written = json.loads(json.dumps(figure("a", [1.0], [1.0], Bar(1.2, "ratio")).as_json()))

        assert written["reached"] is True
        assert written["failed"] is False

    def test_delays_are_those_of_each_socket(self) -> None:
        """The first event of every socket was sent at the first time, and so on; what is missing is said."""
        arrivals = [array("d", [10.5, 11.25]), array("d", [10.25])]

        assert delays([10.0, 11.0], arrivals) == {"missed": 1, "p50": 0.25, "p99": 0.5, "max": 0.5}
        assert delays([10.0], [array("d")]) == {"missed": 1}


@dataclass
class Player:
    """A contestant that only writes down that it played."""

    name: str
    order: list[str]
    samples: list[Sample] = field(default_factory=list)

    def play(self, _batches: int, _events: int, _message_bytes: int) -> Sample:
        """Note the turn."""
        self.order.append(self.name)
        return Sample(1, 0.0, 0.0, 0.0, 0.0)


class TestContest:
    """Everybody is measured under the same conditions."""

    def test_rounds_alternate_in_direction(self) -> None:
        """After a warm-up that does not count it is A B, B A, A B, so that a drift falls on both."""
        order: list[str] = []
        players = [Player("A", order), Player("B", order)]

        play_rounds(cast(list[Contestant], players), 3, 1, message_bytes=1)

        assert "".join(order) == "AB" + "ABBAAB"
        assert [len(player.samples) for player in players] == [3, 3]

    @given(whole=st.integers(min_value=0, max_value=999), part=st.integers(min_value=1, max_value=99))
    def test_parts_come_to_the_whole(self, whole: int, part: int) -> None:
        """What is sent in parts is all sent, and no part is too large."""
        split = list(parts(whole, part))

        assert sum(split) == whole
        assert all(0 < size <= part for size in split)

    def test_the_guard_is_made_of_cases(self) -> None:
        """What `make bench-check` runs is there."""
        assert set(GUARDED) <= set(CASES)


class TestMachine:
    """CPU and memory of a server are read from outside."""

    def test_cpu_of_a_process_grows_with_what_it_does(self) -> None:
        """The kernel's account of a process goes up as it works."""
        before = cpu_of([os.getpid()])
        sum(range(100_000))
        taken = cpu_of([os.getpid()]).since(before)

        assert sum(taken) > 0

    def test_a_process_that_is_gone_is_an_error(self) -> None:
        """A server that has ended is not one that took nothing."""
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

        with pytest.raises(ProcessGoneError):
            cpu_of([child])

    def test_memory_is_summed_over_processes(self) -> None:
        """A server of two processes takes what both take."""
        assert resident_bytes_of([os.getpid()] * 2) == pytest.approx(2 * resident_bytes(), rel=0.1)


@pytest.mark.parametrize(
    ("rounds", "verdict"),
    [
        ([1.0, 1.1, 1.1, 1.3], "reached"),
        ([1.0, 1.1, 1.2, 1.3], "missed, within the noise"),
        ([1.1, 1.2, 1.2, 1.3], "MISSED"),
    ],
)
def test_the_table_tells_a_miss_from_noise(rounds: list[float], verdict: str) -> None:
    """A bar is missed plainly, or by no more than the rounds differ; both are told below the table, too."""
    out = Console(record=True, width=200)
    figure = Figure("fan-out", "µs", Spread.of(rounds), bar=Bar(1.12, "value"))

    show(out, {"fanout": [figure]}, {})

    text = out.export_text()
    row = next(line for line in text.splitlines() if line.startswith("│ fanout"))
    assert row.split("│")[-2].strip() == verdict
    assert (f"{verdict}: fan-out" in text) == (verdict != "reached")


async def test_paced_sending_is_counted_without_the_waiting() -> None:
    """What each sending took is added up, but for the first, which comes before the pace is kept."""
    spent = iter([100.0, 1.0, 2.0, 3.0])
    subject = Subject(cast(Bridge, None), 0)

    async def bare(batches: int, events: int) -> dict[str, float]:
        assert (batches, events) == (1, 1)
        return dict.fromkeys(("user", "system", "wall"), next(spent))

    subject.bare = bare  # type: ignore[method-assign]

    assert await subject.paced("bare", 3, 0.0) == {"user": 6.0, "system": 6.0, "wall": 6.0}
