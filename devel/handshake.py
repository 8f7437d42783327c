"""Whether an AMQP 0-9-1 broker answers, told by its first words rather than by an open port."""

from __future__ import annotations

import socket
import time

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
# A method frame (1) on channel 0, its size, then class 10 method 10: Connection.Start.
START_FRAME_TYPE_CHANNEL = b"\x01\x00\x00"
START_CLASS_METHOD = b"\x00\x0a\x00\x0a"
START_BYTES = 11


def answers(host: str, port: int, seconds_max: float) -> bool:
    """Tell whether a broker answers the protocol header with Connection.Start (AMQP 0-9-1, 2.2.4).

    An open port is not enough: Docker's proxy and a broker that is still booting accept connections too.
    """
    deadline = time.monotonic() + seconds_max
    try:
        with socket.create_connection((host, port), seconds_max) as connection:
            connection.sendall(PROTOCOL_HEADER)
            heard = b""
            while len(heard) < START_BYTES:
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                more = connection.recv(START_BYTES - len(heard))
                if not more:
                    return False
                heard += more
    except OSError:
        return False
    return heard.startswith(START_FRAME_TYPE_CHANNEL) and heard.endswith(START_CLASS_METHOD)
