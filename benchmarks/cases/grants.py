"""How long a `subscribe` takes, by who decides: a query of the database, what is remembered, or a claim.

A hundred users have a socket each, and ask for one room at a time, one socket after the other, so that
nothing waits for anything else. The time is the client's, from the command to its answer. The database has
100,000 users and 1,000,000 devices, and is stopped in the end: what only it could grant must be refused
as `unavailable`, what a claim grants must go on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.amqp.bus import bus
from benchmarks.client import Client
from benchmarks.database import DEVICE_QUERY, DEVICES_PER_USER, database
from benchmarks.figures import Figure, Limit, Spread, percentile, ratios
from benchmarks.load import READ_BYTES, open_clients
from benchmarks.subject import START_SECONDS_MAX, Options, plan, start_bridge
from benchmarks.wire import MessageReader, client_frame

USERS = 100  # In a round.
ROUNDS, ROUNDS_QUICK = 5, 2
REMEMBERED_SECONDS = 3_600.0
ANSWER_SECONDS_MAX = 10.0
CLAIM = "score:*"

ASKED, REMEMBERED, CLAIMED = "by a query", "by a query, remembered", "by claim"
UNASKED, STILL_CLAIMED = "database stopped: unavailable", "database stopped: by claim"

Times = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Page:
    """One socket, and the number of its user."""

    client: Client
    number: int

    def ask(self, **command: object) -> tuple[dict[str, Any], float]:
        """Send a command; return its answer, and the seconds that it took."""
        data = client_frame(json.dumps(command).encode())
        sock, reader = self.client.sock, MessageReader()
        began = time.perf_counter()
        sock.sendall(data)
        while True:
            more = sock.recv(READ_BYTES)
            assert more, "the node closed the socket"
            for message in reader.feed(more):
                seconds = time.perf_counter() - began
                answer: dict[str, Any] = json.loads(message)
                return answer, seconds

    def subscribe(self, room: str, *, expected: str = "") -> float:
        """Ask for a room; return the seconds. It must be refused with this code, or joined if it is empty."""
        answer, seconds = self.ask(op="subscribe", rooms=[room])
        refused = answer["data"].get("code", "")
        assert refused == expected, f"{room}: {answer}"
        return seconds

    def device(self, place: int) -> str:
        """Return the room of a device that the user owns."""
        return f"device:d{self.number}-{place}"


def run(options: Options) -> list[Figure]:
    """Measure subscribing. Raises ChildError, OpenFailedError, or DevelError without broker or database."""
    count = options.rounds(ROUNDS, ROUNDS_QUICK)
    with database(options) as db, bus(options) as chosen:
        settings = chosen.settings()
        settings["ws"] |= {"commands_per_second_max": 10_000, "commands_burst_max": 100_000}
        settings |= {
            "database": {"url": db.url, "answer_seconds_max": REMEMBERED_SECONDS},
            "grants": {"device": {"query": DEVICE_QUERY}},
        }
        with start_bridge(settings, with_broker=True) as server:
            port = server.answer(START_SECONDS_MAX)["port"]
            _while_it_is_there(port, 1)  # Warm up.
            rounds = [_while_it_is_there(port, 2 + number) for number in range(count)]
            counted = server.ask(START_SECONDS_MAX, do="answers")
            expected = USERS * DEVICES_PER_USER * (1 + count)
            assert counted == {"grant asked": expected, "grant remembered": expected}, f"{counted}"
            db.stop()
            stopped = [_while_it_is_away(port, 2 + count + number) for number in range(count)]
    options.notes.append(
        f"{USERS * DEVICES_PER_USER:,} commands of each kind in each of {count} rounds, one at a time. "
        "The answer to the first one after the database was stopped is among them."
    )
    ways = {name: [taken[name] for taken in rounds] for name in (CLAIMED, ASKED, REMEMBERED)}
    ways |= {name: [taken[name] for taken in stopped] for name in (UNASKED, STILL_CLAIMED)}
    return [figure for name, taken in ways.items() for figure in _figures(name, taken, ways[CLAIMED])]


def _while_it_is_there(port: int, number: int) -> Times:
    """Ask in every way; return the seconds of each answer. Rounds have users of their own."""
    pages = _pages(port, number)
    asked = [page.subscribe(page.device(place)) for page, place in _turns(pages)]
    for page in pages:
        page.ask(op="unsubscribe", rooms=[page.device(place) for place in range(DEVICES_PER_USER)])
    remembered = [page.subscribe(page.device(place)) for page, place in _turns(pages)]
    claimed = [page.subscribe(f"score:{place}") for page, place in _turns(pages)]
    _leave(pages)
    return {ASKED: asked, REMEMBERED: remembered, CLAIMED: claimed}


def _while_it_is_away(port: int, number: int) -> Times:
    """Ask for what the database would grant, and for what it need not."""
    pages = _pages(port, number)
    unasked = [page.subscribe(page.device(place), expected="unavailable") for page, place in _turns(pages)]
    claimed = [page.subscribe(f"score:{place}") for page, place in _turns(pages)]
    _leave(pages)
    return {UNASKED: unasked, STILL_CLAIMED: claimed}


def _pages(port: int, number: int) -> list[Page]:
    """Open a socket for each of a round's users."""
    first = number * USERS
    return [_page(port, user) for user in range(first, first + USERS)]


def _page(port: int, number: int) -> Page:
    [client] = open_clients(replace(plan(port, 1, user=f"u{number}"), rooms=(CLAIM,)))
    client.sock.settimeout(ANSWER_SECONDS_MAX)
    return Page(client, number)


def _turns(pages: list[Page]) -> Iterable[tuple[Page, int]]:
    return ((page, place) for place in range(DEVICES_PER_USER) for page in pages)


def _leave(pages: list[Page]) -> None:
    for page in pages:
        page.client.sock.close()


def _figures(name: str, rounds: list[list[float]], least: list[list[float]]) -> Iterable[Figure]:
    """Return both percentiles in ms, beside those of a room that needs no question."""
    for label, share in (("p50", 0.50), ("p99", 0.99)):
        value, limit = (
            [percentile(sorted(seconds), share) * 1e3 for seconds in taken] for taken in (rounds, least)
        )
        yield Figure(
            f"subscribe {name}, {label}",
            "ms",
            Spread.of(value),
            Limit(CLAIMED, Spread.of(limit)) if rounds is not least else None,
            ratios(value, limit) if rounds is not least else None,
        )
