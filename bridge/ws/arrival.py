"""A TCP connection on its way through the TLS handshake.

Not asyncio's own way of serving TLS: that tells nobody about a client before its handshake is done, and
then any number of clients that never finish one could hold memory and file descriptors.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from bridge.ws.address import plain_address
from bridge.ws.tls import Tls

if TYPE_CHECKING:
    from bridge.ws.server import SocketServer


class Arrival(asyncio.Protocol):
    """Made by the server for each TCP connection it accepts; becomes a connection, or nothing."""

    def __init__(self, server: SocketServer, tls: Tls) -> None:
        """Wait for the transport."""
        self._server = server
        self._tls = tls
        self._tcp = cast(asyncio.Transport, None)  # Set once, in connection_made.
        self._early = b""  # What came in one read with the end of the handshake; one record or a few.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, unless there are too many already."""
        self._tcp = cast(asyncio.Transport, transport)
        self._tcp.pause_reading()  # What comes is for TLS, which reads on by itself.
        peer = transport.get_extra_info("peername")
        self._server.enter(self, plain_address(peer[0]) if isinstance(peer, tuple) else "")
        if not transport.is_closing():
            self._server.secure(self)

    def data_received(self, data: bytes) -> None:
        """Keep what has been decrypted before the connection is there."""
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Be gone."""
        self._server.leave(self)

    def abort(self) -> None:
        """Drop the connection at once."""
        self._tcp.abort()

    async def secure(self) -> None:
        """Do the TLS handshake, and hand over to a connection."""
        try:
            secured = await self._server.loop.start_tls(
                self._tcp,
                self,
                self._tls.context,
                server_side=True,
                ssl_handshake_timeout=self._server.limits.handshake_seconds_max,
            )
        except OSError:  # Whatever the client did wrong, and the timeout.
            secured = None
        finally:
            self._server.leave(self)
        if secured is None or secured.is_closing():
            self._tcp.abort()
            return
        connection = self._server.new_connection()
        secured.set_protocol(connection)
        connection.connection_made(secured)
        if self._early:
            connection.data_received(self._early)
