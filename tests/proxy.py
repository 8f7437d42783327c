"""A TCP proxy that can fail on purpose: put it between two parties, then cut or swallow what passes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 65_536


class Proxy:
    """Forwards TCP connections to one address, for the length of the context.

    `forward` is the state it starts in. `swallow` makes it a black hole: connections stay open and
    are accepted, but nothing arrives any more, in either direction, until `forward` lets what is under
    way go on. `cut` ends the connections there are with a reset; it can follow either.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        listen_at: int = 0,
        socket: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Forward to this address, or to a Unix socket.

        `listen_at` is a port, 0 for any that is free; `tls` is for clients.
        """
        self._target = (host, port)
        self._socket = socket
        self._listen_at = listen_at
        self._tls = tls
        self._server: asyncio.Server | None = None  # Set while the context is open.
        self._open = asyncio.Event()  # Cleared while bytes are swallowed.
        self._open.set()
        self._answering = asyncio.Event()  # Cleared while answers are swallowed.
        self._answering.set()
        self._relays: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}  # With both ends.

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self._listen_at, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut()

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""
        assert self._server is not None, "the proxy is not open"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._relays)

    def forward(self) -> None:
        """Let bytes pass, those held back first."""
        self._open.set()
        self._answering.set()

    def swallow(self) -> None:
        """Let nothing pass; nobody is told."""
        self._open.clear()

    def swallow_answers(self) -> None:
        """Let what is asked pass, and nothing back; nobody is told."""
        self._answering.clear()

    async def cut(self) -> None:
        """Reset every connection there is; return when they are gone."""
        relays = dict(self._relays)
        for relay, writers in relays.items():
            for writer in writers:
                writer.transport.abort()
            relay.cancel()
        if relays:
            await asyncio.wait(relays)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.get_running_loop().create_task(self._relay(reader, writer))
        self._relays[relay] = [writer]
        relay.add_done_callback(self._relays.pop)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._open.wait()
            far_reader, far_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        current = asyncio.current_task()
        assert current is not None
        self._relays[current].append(far_writer)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, far_writer, self._open))
                tasks.create_task(self._pump(far_reader, writer, self._open, self._answering))
        finally:
            writer.transport.abort()
            far_writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._socket is not None:
            return await asyncio.open_unix_connection(self._socket)
        return await asyncio.open_connection(*self._target)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *gates: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                for gate in gates:
                    await gate.wait()
                writer.write(data)
                await writer.drain()
            for gate in gates:
                await gate.wait()
            if writer.can_write_eof():  # Not so over TLS.
                writer.write_eof()
