"""The console of a group of nodes on one machine: every request is handed on to one of them.

To the same one as long as it answers, so that what a page shows is of one node. The others are in its list
of nodes, and answer when it asks for the sockets of a user.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from bridge.admin.console import PREFIX
from bridge.admin.console_streams import send
from bridge.admin.console_web import FORWARDED_FOR, HEADERS, UNREADABLE, ApiError, of_http

CONNECT_SECONDS_MAX = 2.0
READ_SECONDS_MAX = 60.0  # Above what an errand on the bus takes, and the silence of a stream.
_THERE = (
    "Accept",
    "Accept-Encoding",
    "Authorization",
    "Content-Type",
    "If-Modified-Since",
    "If-None-Match",
    "Range",
    "Sec-Fetch-Site",
)
_NOT_BACK = ("Connection", "Date", "Keep-Alive", "Server", "Transfer-Encoding")


class HandedOn:
    """Hands requests on to whichever worker answers."""

    def __init__(self, sockets: Mapping[str, Path]) -> None:
        """`sockets` are those of the workers' operator ports, by worker; the mapping may change."""
        self._sockets = sockets
        self._worker = ""  # Who answered last.
        self._mute = ""  # Who took a request last and did not answer; empty if they have since.

    def add_to(self, app: web.Application) -> None:
        """Serve below /console."""
        app.router.add_route("*", PREFIX, self._hand_on)
        app.router.add_route("*", PREFIX + "/{rest:.*}", self._hand_on)

    async def _hand_on(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except web.HTTPException as exc:
            return of_http(exc, request)
        except web.RequestPayloadError:
            return UNREADABLE.response()
        for worker in sorted(
            self._sockets, key=lambda name: (name == self._mute, name != self._worker, name)
        ):
            try:
                return await self._ask(worker, request, body)
            except aiohttp.ClientConnectorError:
                continue  # It has not got the request.
            except aiohttp.ClientError:
                self._mute = worker
                break  # It may have done what was asked: nobody else is to do it again.
        response = ApiError(503, "no_worker", "no worker answers; see /readyz, and try again").response()
        response.headers.update(HEADERS)
        return response

    async def _ask(self, worker: str, request: web.Request, body: bytes) -> web.StreamResponse:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS_MAX, sock_read=READ_SECONDS_MAX
        )
        headers = {name: value for name, value in request.headers.items() if name.title() in _THERE}
        headers[FORWARDED_FOR] = request.remote or ""
        url = URL(f"http://worker{request.raw_path}", encoded=True)
        connector = aiohttp.UnixConnector(str(self._sockets[worker]))
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                auto_decompress=False,
                skip_auto_headers=("Accept-Encoding", "User-Agent"),
            ) as session,
            session.request(
                request.method, url, headers=headers, data=body or None, allow_redirects=False
            ) as theirs,
        ):
            self._worker = worker
            self._mute = "" if self._mute == worker else self._mute
            back = {name: value for name, value in theirs.headers.items() if name.title() not in _NOT_BACK}
            response = web.StreamResponse(status=theirs.status, reason=theirs.reason, headers=back)
            await response.prepare(request)
            # From here on nothing can be said any more: whoever goes, the response ends.
            with contextlib.suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
                async for chunk in theirs.content.iter_any():
                    await send(response, chunk)
            return response
