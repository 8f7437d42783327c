"""The console's tail: what it reads of the replay window, what it leaves out, and that it says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.admin.console_streams import (
    LOOKED_AT_MAX,
    RECENT_MAX,
    TURN_BYTES_MAX,
    TURN_ENTRIES_MAX,
    Filter,
    Tail,
)
from bridge.core.entry import Entry, EventKey, Logged, Position
from bridge.core.policy import Policy
from bridge.core.window import Window, WindowLimits

ALL = Filter()
TYPES = ("quota.updated", "device.started")


class Log:
    """A window, and how many entries it was given."""

    def __init__(self, bytes_max: int = 10**9) -> None:
        self.window = Window(WindowLimits(seconds_max=1e9, bytes_max=bytes_max))
        self.window.begin(Position("e1", 0))
        self.appended = 0
        self.tail = Tail(self.window, lambda: self.appended, lambda name: name.partition(".")[0])

    def append(self, count: int, event_type: str = TYPES[0], room: str = "user:u1", text: str = "") -> None:
        """Append entries, which all came in at 1 s and had happened at 0.5 s."""
        for _ in range(count):
            self.appended += 1
            payload = json.dumps({"type": event_type, "data": {"text": text}}, ensure_ascii=False).encode()
            key = EventKey(event_type, str(self.appended))
            entry = Entry(key, (room,), Policy.MUST_DELIVER, "", 0.5, None, payload)
            self.window.append([Logged(self.appended * 2, entry)], 1.0)

    def turn(self, wanted: Filter = ALL) -> tuple[int, list[Any]]:
        """Return what a turn of the tail shows."""
        missed, entries = self.tail.turn(wanted)
        return missed, [json.loads(entry)["offset"] for entry in entries]


def test_recent_entries_come_first() -> None:
    """The tail begins with the newest entries of the window, and goes on where they ended."""
    log = Log()
    log.append(RECENT_MAX + 10)

    recent = [json.loads(entry) for entry in log.tail.recent(ALL)]
    log.append(2)

    assert [entry["offset"] for entry in recent] == [2 * number for number in range(11, RECENT_MAX + 11)]
    assert recent[0] == {
        "offset": 22,
        "domain": "quota",
        "rooms": ["user:u1"],
        "latencyMs": 500.0,
        "type": "quota.updated",
        "data": {"text": ""},
    }
    assert log.turn() == (0, [122, 124])
    assert log.turn() == (0, [])


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [2, 4, 6]),
        ({"type": "quota.updated"}, [2]),
        ({"type": "device.*"}, [4, 6]),
        ({"type": "*.started"}, [4, 6]),
        ({"domain": "device"}, [4, 6]),
        ({"user": "u1"}, [2, 4]),
        ({"room": "device:d7"}, [6]),
        ({"text": "GRün"}, [4]),
        ({"text": 'say "hi"'}, [6]),
        ({"type": "device.*", "user": "u1"}, [4]),
        ({"user": "u1", "room": "device:d7"}, []),
        ({"type": "[", "text": "\ud800"}, []),
    ],
)
def test_filters(parameters: dict[str, str], expected: list[int]) -> None:
    """Every filter that is given has to let an entry through, among the recent ones as among the new."""
    log = Log()

    def fill() -> None:
        log.append(1)
        log.append(1, "device.started", text="alles GrÜn")
        log.append(1, "device.started", room="device:d7", text='say "hi"')

    fill()
    wanted = Filter.of(parameters)

    assert [json.loads(entry)["offset"] for entry in log.tail.recent(wanted)] == expected
    fill()
    assert log.turn(wanted) == (0, [offset + 6 for offset in expected])


def test_more_than_a_turn_shows() -> None:
    """Of more entries than one turn shows the newest are shown, and the others counted."""
    log = Log()
    log.append(TURN_ENTRIES_MAX + 7)

    missed, offsets = log.turn()

    assert missed == 7
    assert offsets == [2 * number for number in range(8, TURN_ENTRIES_MAX + 8)]


def test_more_bytes_than_a_turn_shows() -> None:
    """Large entries count by their bytes, too; one larger than all that may be shown is shown alone."""
    log = Log()
    log.append(5, text="x" * (TURN_BYTES_MAX // 4))

    assert log.turn() == (2, [6, 8, 10])
    assert len(log.tail.recent(ALL)) == len(log.tail.of_room("user:u1")) == 3
    log.append(2, text="x" * TURN_BYTES_MAX)
    assert log.turn() == (1, [14])


def test_more_than_a_turn_looks_at() -> None:
    """Entries that were not looked at count as left out, whatever the filter would have said."""
    log = Log()
    log.append(10, room="user:u2")
    log.append(LOOKED_AT_MAX)

    assert log.turn(Filter.of({"user": "u2"})) == (10, [])


def test_entries_that_have_left_the_window() -> None:
    """What has left the window unseen counts as left out, and so does what went with a former life."""
    log = Log(bytes_max=2_000)
    log.append(10)

    missed, offsets = log.turn()

    assert missed == 10 - len(offsets) > 0
    assert offsets[-1] == 20
    log.append(3)
    log.window.begin(Position("e2", 0))
    assert log.turn() == (3, [])
