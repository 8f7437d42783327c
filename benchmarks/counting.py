"""What a load generator does once its sockets are open: read, count, and answer questions.

Each line in is `{"frames": n, "seconds": s}`, answered as soon as `n` frames have arrived in all, or
`s` seconds are over. With `"sent_at": […]` the answer has the delays of the events since the last
such question: the first event of every socket was sent at the first of these times
(`time.monotonic`, which is one clock for all processes of a machine), and so on.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from array import array
from collections.abc import Sequence
from typing import Any

from benchmarks.client import Client
from benchmarks.figures import percentile
from benchmarks.machine import Cpu

READ_BYTES = 262_144
SLOW_READS_PER_SECOND = 10


def say(**answer: object) -> None:
    """Write one line."""
    print(json.dumps(answer), flush=True)


class Counting:
    """Reads from all sockets for as long as standard input is open, and answers what it is asked."""

    def __init__(self, clients: list[Client], *, watched: bool = False) -> None:
        """Take over open sockets. `watched` keeps when each frame came, until its delay is asked for."""
        self._clients = {client.sock.fileno(): client for client in clients}
        self._frames = sum(client.frames for client in clients)
        self._gone = 0
        self._last_frame_at = time.monotonic()
        self._arrivals = {fd: array("d") for fd in self._clients} if watched else {}
        self._question: dict[str, Any] | None = None  # Set while one waits for its answer.
        self._deadline = 0.0
        self._questions = b""

    def run(self) -> None:
        """Work until the end of standard input. An ended input ends the generator too."""
        commands = sys.stdin.fileno()
        buffer = bytearray(READ_BYTES)
        with select.epoll() as epoll:
            epoll.register(commands, select.EPOLLIN)
            for fd in self._clients:
                epoll.register(fd, select.EPOLLIN | select.EPOLLET)
            while True:
                for fd, _ in epoll.poll(self._wait_seconds()):
                    if fd == commands:
                        if not self._read_questions(commands):
                            return
                    elif not self._read(fd, buffer):
                        epoll.unregister(fd)
                        self._gone += 1
                self._answer()

    def _read(self, fd: int, buffer: bytearray) -> bool:
        """Take what has come on one socket; return whether the server is still there."""
        client = self._clients[fd]
        before = client.frames
        alive = client.read(buffer)
        arrived = client.frames - before
        if arrived:
            self._frames += arrived
            self._last_frame_at = time.monotonic()
            if self._arrivals:
                self._arrivals[fd].extend([self._last_frame_at] * arrived)
        return alive

    def _wait_seconds(self) -> float | None:
        return None if self._question is None else max(0.0, self._deadline - time.monotonic())

    def _read_questions(self, commands: int) -> bool:
        data = os.read(commands, READ_BYTES)
        self._questions += data
        while b"\n" in self._questions:
            line, _, self._questions = self._questions.partition(b"\n")
            self._question = json.loads(line)
            self._deadline = time.monotonic() + float(json.loads(line)["seconds"])
        return bool(data)

    def _answer(self) -> None:
        question = self._question
        if question is None or (self._frames < question["frames"] and time.monotonic() < self._deadline):
            return
        self._question = None
        clients = self._clients.values()
        say(
            frames=self._frames,
            bytes=sum(client.received for client in clients),
            compressed=sum(client.counter.compressed for client in clients),
            gone=self._gone,
            last_frame_at=self._last_frame_at,
            cpu_seconds=sum(Cpu.now()),
            **(delays(question["sent_at"], list(self._arrivals.values())) if "sent_at" in question else {}),
        )
        if "sent_at" in question:
            for arrivals in self._arrivals.values():
                del arrivals[:]


class SlowReading(Counting):
    """Reads a little from each socket now and then, as a client on a bad line would."""

    def __init__(self, clients: list[Client], bytes_per_second: int) -> None:
        """Take over open sockets; each is read from at most so fast."""
        super().__init__(clients)
        self._buffer = bytearray(max(1, bytes_per_second // SLOW_READS_PER_SECOND))

    def run(self) -> None:
        """Work until the end of standard input."""
        commands = sys.stdin.fileno()
        alive = list(self._clients)
        while True:
            if select.select([commands], [], [], 1 / SLOW_READS_PER_SECOND)[0]:
                if not self._read_questions(commands):
                    return
            else:
                alive = [fd for fd in alive if self._read_once(fd)]
                self._gone = len(self._clients) - len(alive)
            self._answer()

    def _read_once(self, fd: int) -> bool:
        client = self._clients[fd]
        before = client.frames
        alive = client.read(self._buffer, once=True)
        self._frames += client.frames - before
        return alive


def delays(sent_at: Sequence[float], arrivals: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return percentiles, in seconds, of how long events took to sockets that got every one, in order.

    `missed` is how many did not come at all.
    """
    taken = sorted(
        arrived - sent for times in arrivals for sent, arrived in zip(sent_at, times, strict=False)
    )
    missed = len(sent_at) * len(arrivals) - len(taken)
    if not taken:
        return {"missed": missed}
    return {
        "missed": missed,
        "p50": percentile(taken, 0.5),
        "p99": percentile(taken, 0.99),
        "max": taken[-1],
    }
