"""The limit: a process that reads the bytes of deliveries from TCP, and does nothing with them.

python -m benchmarks.amqp.bare '{"port": …}'

The port is that of a `Tape`, in another process: what a broker has sent, to be sent again.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from benchmarks.amqp.window import DRAIN_SECONDS_MAX, REST_SECONDS, Window
from benchmarks.servers.lines import obey

HOST = "127.0.0.1"
READ_BYTES = 262_144  # As asyncio reads.


@contextmanager
def tape(recorded: bytes) -> Iterator[int]:
    """Send the same bytes to whoever connects, one after the other; the port is given."""
    with socket.create_server((HOST, 0)) as server:
        thread = Thread(target=_play, args=(server, recorded), daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _play(server: socket.socket, recorded: bytes) -> None:
    while True:
        try:
            listener, _ = server.accept()
        except OSError:
            return  # Shut down.
        with listener:
            listener.settimeout(DRAIN_SECONDS_MAX)
            listener.sendall(recorded)


class Bare:
    """Reads a tape."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def drain(self, events: int) -> dict[str, float]:
        """Read to the end of the tape, which holds so many events."""
        size = 0
        buffer = bytearray(READ_BYTES)
        window = Window()
        with socket.create_connection((HOST, self._port), DRAIN_SECONDS_MAX) as sock:
            while read := sock.recv_into(buffer):
                size += read
        window.last()
        time.sleep(REST_SECONDS)  # noqa: ASYNC251 - as the others do, though nothing can follow
        return window.close(events) | {"bytes": size}


async def main() -> None:
    """Serve until the end of standard input."""
    await obey({"drain": Bare(json.loads(sys.argv[1])["port"]).drain})


if __name__ == "__main__":
    asyncio.run(main())
