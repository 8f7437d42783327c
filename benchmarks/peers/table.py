"""The peers that send events to sockets, and how a client gets to them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.load import Plan
from benchmarks.peers import Peer, centrifugo, driven_peer, nats, nchan, node_peer, python_peer, web_stomp
from benchmarks.peers.openings import OPENINGS
from benchmarks.subject import HOST


@dataclass(frozen=True, slots=True)
class Entrant:
    """A peer in a contest of fan-out. It obeys `prepare`, `fanout` and `settle`."""

    peer: Peer
    opening: str

    def plan(self, port: int, sockets: int, *, deflate: bool = False, secret: str = "") -> Plan:
        """Return a plan of sockets that are sent every event; with a `secret`, each with a token."""
        path = OPENINGS[self.opening].path
        return Plan(HOST, port, sockets, path, secret=secret, opening=self.opening, deflate=deflate)


WS = Entrant(node_peer("Node ws", "ws.cjs", "ws", "jsonwebtoken"), "greeted")
SOCKET_IO = Entrant(node_peer("Socket.IO", "socketio.cjs", "socket.io"), "socket.io")
WEBSOCKETS = Entrant(python_peer("websockets", "websockets_fanout", "websockets"), "greeted")
PICOWS = Entrant(python_peer("picows", "picows_fanout", "picows", "uvloop"), "greeted")
PYTHON_SOCKET_IO = Entrant(
    python_peer("python-socketio", "python_socketio", "socketio", "uvicorn", "uvloop"), "socket.io"
)
WEB_STOMP = Entrant(driven_peer("RabbitMQ Web-STOMP", "web_stomp", web_stomp.missing), "stomp")
NCHAN = Entrant(driven_peer("nginx nchan", "nchan", nchan.missing), "nchan")
NATS = Entrant(driven_peer("nats-server", "nats", nats.missing), "nats")
CENTRIFUGO = Entrant(driven_peer("Centrifugo", "centrifugo", centrifugo.missing), "centrifugo")

ENTRANTS = (
    WS,
    SOCKET_IO,
    PYTHON_SOCKET_IO,
    WEBSOCKETS,
    PICOWS,
    WEB_STOMP,
    NCHAN,
    NATS,
    CENTRIFUGO,
)
