"""Publishes events and holds the sockets of those they are for: one process, one clock for both ends.

    python -m benchmarks.amqp.driver '{"url": "amqp://…", "exchange": "…", "queue": "…", "plan": {…}}'

Asked to `fly`, it publishes events that were built beforehand, `through` the bridge or `past` it (to
the queue, which it consumes itself), and answers once each has arrived. With a `rate` they leave in a
steady stream, whatever comes back; else so that `in_flight_max` are under way: as fast as they
arrive, which is the highest rate that whoever is in between can keep up.
"""

from __future__ import annotations

import asyncio
import json
import select
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.amqp import PREFETCH
from benchmarks.amqp.client import Client as Broker
from benchmarks.amqp.flight import Flight
from benchmarks.amqp.frames import Events, new_series, number_in
from benchmarks.client import Client as Socket
from benchmarks.load import READ_BYTES, Plan, open_clients
from benchmarks.machine import Cpu
from benchmarks.servers.lines import obey
from benchmarks.wire import MessageReader

ARRIVE_SECONDS_MAX = 60.0  # After the last has left.
TICK_SECONDS = 0.001  # The least that epoll_wait(2) can be told to wait.

Arrivals = Callable[[], list[bytes]]
"""Reads once what is there; returns the texts of events among it."""


class Driver:
    """Both ends of the way."""

    def __init__(
        self, broker: Broker, past: Broker, events: dict[str, Events], sockets: list[Socket]
    ) -> None:
        """`past` consumes a queue; `events` are those of each way, by its name."""
        self._broker = broker
        self._events = events
        self._next = 0
        self._epoll = select.epoll()
        self._ends: dict[int, Arrivals] = {past.sock.fileno(): past.take, broker.sock.fileno(): broker.take}
        self._ends |= {socket.sock.fileno(): _reading(socket) for socket in sockets}
        for descriptor in self._ends:
            self._epoll.register(descriptor, select.EPOLLIN)

    async def fly(self, way: str, events: int, rate: float = 0.0, in_flight_max: int = 0) -> dict[str, float]:
        """Publish so many events; return their times once all have arrived.

        Raises:
            BrokerError: the broker closed, or refused one.
            TimeoutError: some have not come.
        """
        flight = Flight(self._next, events)
        frames = list(self._events[way].frames(range(self._next, self._next + events)))
        self._next += events
        began, before = time.monotonic(), Cpu.now()
        looked_at, longest = began, 0.0
        while flight.under_way or flight.left < events:
            now = time.monotonic()
            if flight.left < events:
                longest = max(longest, now - looked_at)
                looked_at = now
            elif now - looked_at > ARRIVE_SECONDS_MAX:
                raise TimeoutError(f"{flight.under_way} of {events} events have not arrived")
            due = int((now - began) * rate) if rate else flight.arrived + in_flight_max
            leaving = frames[flight.left : due]
            flight.leave(len(leaving), now)
            self._broker.offer(leaving)
            self._look(flight)
        wall = time.monotonic() - began
        return flight.summary() | {
            "events": flight.arrived,
            "wall": wall,
            "busy": sum(Cpu.now().since(before)) / wall,
            "blind_ms_max": longest * 1e3,
        }

    def _look(self, flight: Flight) -> None:
        """Take what has arrived, or wait for it for as long as a tick."""
        for descriptor, _ in self._epoll.poll(TICK_SECONDS):
            texts = self._ends[descriptor]()
            at = time.monotonic()
            for text in texts:
                flight.arrive(number_in(text), at)


def _reading(socket: Socket) -> Arrivals:
    reader = MessageReader()

    def read() -> list[bytes]:
        data = socket.sock.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server closed a socket")
        return list(reader.feed(data))

    return read


async def main() -> None:
    """Connect to everything, then fly until the end of standard input."""
    argument: dict[str, Any] = json.loads(sys.argv[1])
    url, queue, plan = argument["url"], argument["queue"], Plan(**argument["plan"])
    sockets = open_clients(plan)
    name = new_series()
    ways = {
        "through": Events(argument["exchange"], name, plan.sockets),
        "past": Events("", name, plan.sockets, routing_key=queue),
    }
    with Broker(url) as broker, Broker(url) as past:
        if queue:
            past.declare(queue)
            past.consume(queue, prefetch=PREFETCH)
        await obey({"fly": Driver(broker, past, ways, sockets).fly})


if __name__ == "__main__":
    asyncio.run(main())
