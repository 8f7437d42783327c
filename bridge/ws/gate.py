"""The gate: the head of an HTTP request in, the answer out. It decides what becomes a WebSocket.

The request is read by the Sans-I/O layer of websockets, which gets the head and nothing behind it,
and which is dropped with the request: no header, and no token in one, outlives the handshake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import cast

import structlog
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from bridge.core.commands import Hello
from bridge.core.errors import BadMessage
from bridge.core.limits import KeyedLimiter
from bridge.core.origins import OriginRules
from bridge.core.stats import Stats
from bridge.ws.address import Proxies, network_of
from bridge.ws.deflate import NEGOTIATION
from bridge.ws.dialects.bridge_v1 import SUBPROTOCOL
from bridge.ws.handshake import hello_from, path_of, single
from bridge.ws.wire import SILENT

log = structlog.get_logger()

SOCKET_PATH = "/ws"
HEALTH_PATH = "/healthz"
HEAD_END = b"\r\n\r\n"
HEAD_BYTES_MAX = 32_768
RETRY_AFTER_SECONDS = 5
ORIGIN_SHOWN_MAX = 200  # Characters.


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to an HTTP request.

    `response` goes on the wire as it is; unless `accepted`, the connection then ends. `hello` is the one
    in the request, None if there is none, or what is wrong with it. `deflate` is what the response agrees to.
    """

    response: bytes
    address: str
    accepted: bool = False
    hello: Hello | BadMessage | None = None
    deflate: PerMessageDeflate | None = None


class Gate:
    """Answers HTTP requests. `full` tells whether the node takes no more sockets."""

    def __init__(
        self,
        *,
        origins: OriginRules,
        attempts: KeyedLimiter,
        stats: Stats,
        healthy: Callable[[], bool],
        full: Callable[[], bool],
        cookie_name: str,
        proxies: Proxies,
        ipv6_prefix_bits: int,
        compression: bool,
    ) -> None:
        """Decide by these rules."""
        self._origins = origins
        self._attempts = attempts
        self._stats = stats
        self._healthy = healthy
        self._full = full
        self._cookie_name = cookie_name
        self._proxies = proxies
        self._ipv6_prefix_bits = ipv6_prefix_bits
        self._extensions = [NEGOTIATION] if compression else []

    def admit(self, head: bytes, peer: str, now: float) -> Admission:
        """Answer a request. `head` ends with its empty line; `now` is monotonic, in seconds."""
        wire = _Handshake(extensions=self._extensions, logger=SILENT)
        try:
            return self._admit(wire, head, peer, now)
        finally:
            wire.parser.close()  # Which refers to itself, and to the request: both are freed now.

    def _admit(self, wire: ServerProtocol, head: bytes, peer: str, now: float) -> Admission:
        if len(head) > HEAD_BYTES_MAX:
            response = wire.reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too long\n")
            return self._refused(peer, response)
        wire.receive_data(head)
        for request in wire.events_received():
            if isinstance(request, Request):
                return self._answer(wire, request, peer, now)
        # What the Sans-I/O layer cannot read it has answered by itself, or it has nothing to say.
        written = b"".join(wire.data_to_send())
        unread = wire.reject(HTTPStatus.BAD_REQUEST, "this is not an HTTP request\n")
        self._stats.handshakes_refused[HTTPStatus.BAD_REQUEST] += 1
        return Admission(written or unread.serialize(), peer)

    def _answer(self, wire: ServerProtocol, request: Request, peer: str, now: float) -> Admission:
        headers, path = request.headers, path_of(request)
        if path == HEALTH_PATH:
            well = self._healthy()
            response = (
                wire.reject(HTTPStatus.OK, "ok\n")
                if well
                else wire.reject(HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")
            )
            return Admission(response.serialize(), peer)
        address = self._proxies.client_of(peer, headers)
        refusal = self._refusal(wire, request, path, address, now)
        if refusal is not None:
            return self._refused(address, refusal)
        response = wire.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return self._refused(address, response)
        vouched = self._origins.vouched(single(headers, "Origin"), single(headers, "Host"))
        hello: Hello | BadMessage | None
        try:
            hello = hello_from(request, cookie_name=self._cookie_name, cookie_trusted=vouched)
        except BadMessage as bad:
            hello = bad
        agreed = cast(list[PerMessageDeflate], wire.extensions)  # The only one there is; empty or one.
        return Admission(
            response.serialize(), address, accepted=True, hello=hello, deflate=next(iter(agreed), None)
        )

    def _refusal(
        self, wire: ServerProtocol, request: Request, path: str, address: str, now: float
    ) -> Response | None:
        """Return the answer to a request that is not let through, None for one that is."""
        if path != SOCKET_PATH:
            return wire.reject(HTTPStatus.NOT_FOUND, f"WebSockets live at {SOCKET_PATH}\n")
        wait_seconds = self._attempts.take(network_of(address, ipv6_prefix_bits=self._ipv6_prefix_bits), now)
        if wait_seconds:
            response = wire.reject(HTTPStatus.TOO_MANY_REQUESTS, "too many connection attempts\n")
            response.headers["Retry-After"] = str(ceil(wait_seconds))
            return response
        if self._full():
            response = wire.reject(HTTPStatus.SERVICE_UNAVAILABLE, "this node takes no more sockets\n")
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return response
        origin, host = single(request.headers, "Origin"), single(request.headers, "Host")
        if not self._origins.admit(origin, host):
            log.info("ws.origin_refused", address=address, origin=(origin or "")[:ORIGIN_SHOWN_MAX])
            return wire.reject(
                HTTPStatus.FORBIDDEN, f"the origin {origin} is not allowed (ws.allowed_origins)\n"
            )
        return None

    def _refused(self, address: str, response: Response) -> Admission:
        self._stats.handshakes_refused[response.status_code] += 1
        return Admission(response.serialize(), address)


class _Handshake(ServerProtocol):
    """The server's side of an opening handshake."""

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Speak bridge.v1 to whoever offers it; a `bearer.…` entry is a token and never echoed."""
        return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in subprotocols else None
