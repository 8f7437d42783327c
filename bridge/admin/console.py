"""The operator console: a page without secrets, and an API behind a token. On the operator port alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from bridge.admin.console_api import Api, Node
from bridge.admin.console_streams import Sampler, Streams
from bridge.admin.console_web import HEADERS, Guard, guarded_by

STATIC = Path(__file__).parent / "static"
PREFIX = "/console"
AddTo = Callable[[web.Application], None]
"""Adds what is to be served below /console."""
NOT_SET = "The console is off: set admin.token (BRIDGE_ADMIN__TOKEN) to a secret of 16 characters or more.\n"


class Console:
    """Serves the console; `sampler` is run by whoever owns it."""

    def __init__(self, token: str, node: Node, sampler: Sampler) -> None:
        """Let in who has the token."""
        self._guard = Guard(token)
        self._streams = Streams()
        self._api = Api(node, sampler, self._streams)

    def add_to(self, app: web.Application) -> None:
        """Serve below /console."""
        api = web.Application(middlewares=[guarded_by(self._guard)])
        api.add_routes(self._api.routes())
        page = web.Application()
        page.on_response_prepare.append(_strict)
        page.add_subapp("/api", api)
        page.router.add_get("", _to_folder)
        page.router.add_get("/", _index)
        page.router.add_static("/", STATIC)
        app.add_subapp(PREFIX, page)
        app.on_shutdown.append(self._end)

    async def _end(self, _: web.Application) -> None:
        self._streams.end()


def add_notice(app: web.Application) -> None:
    """Say below /console why nothing is there."""

    async def notice(_: web.Request) -> web.Response:
        return web.Response(status=404, text=NOT_SET, headers=HEADERS)

    app.router.add_get(PREFIX, notice)
    app.router.add_route("*", PREFIX + "/{rest:.*}", notice)


async def _to_folder(_: web.Request) -> web.Response:
    # Relative, so that a proxy may serve the console below another path.
    return web.Response(status=302, headers={"Location": "console/"})


async def _index(_: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "index.html")


async def _strict(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-cache")
