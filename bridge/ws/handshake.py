"""What an HTTP upgrade request says: where to, with which token, and what it asks for. Pure."""

from __future__ import annotations

from itertools import count, takewhile
from urllib.parse import SplitResult, parse_qsl, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request

from bridge.core.commands import Hello
from bridge.core.errors import BadMessage
from bridge.ws.dialects.bridge_v1 import ROOMS_PER_COMMAND_MAX, position_from

BEARER_SUBPROTOCOL = "bearer."
QUERY_FIELDS_MAX = 32


def single(headers: Headers, name: str) -> str | None:
    """Return a header's value, None when it is missing; several as one (RFC 9110 section 5.3)."""
    values = headers.get_all(name)
    return ", ".join(values) if values else None


def path_of(request: Request) -> str:
    """Return the path without the query."""
    return _split(request.path).path


def _split(url: str) -> SplitResult:
    """Take a URL apart; one that cannot be is like an empty one."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def hello_from(request: Request, *, cookie_name: str, cookie_trusted: bool) -> Hello | None:
    """Return the hello that a handshake contains, None when it has no token.

    Raises:
        BadMessage: there is a token, but the position beside it is malformed, or there are too many rooms;
            or the query is too long.
    """
    try:
        fields = parse_qsl(
            _split(request.path).query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX
        )
    except ValueError as exc:
        raise BadMessage("bad_query", f"the query has more than {QUERY_FIELDS_MAX} fields") from exc
    query = dict(fields)
    token = _token(request.headers, query, cookie_name if cookie_trusted else "")
    if token is None:
        return None
    rooms = tuple(room for room in query.get("rooms", "").split(",") if room)
    if len(rooms) > ROOMS_PER_COMMAND_MAX:
        raise BadMessage("bad_query", f"at most {ROOMS_PER_COMMAND_MAX} rooms in one command")
    since = None
    if "offset" in query or "epoch" in query:
        offset = query.get("offset", "")
        since = position_from(
            query.get("epoch"),
            int(offset) if offset.isascii() and offset.isdigit() and len(offset) < 20 else None,  # noqa: PLR2004 - digits of an offset
        )
    return Hello(token, rooms, since)


def _token(headers: Headers, query: dict[str, str], cookie_name: str) -> str | None:
    """Look for a token in every place it can be; the first found wins."""
    scheme, _, credentials = (single(headers, "Authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    if token := single(headers, "X-Auth-Token"):
        return token
    if cookie_name and (token := _cookie(headers, cookie_name)):
        return token
    for protocol in offered_subprotocols(headers):
        if protocol.startswith(BEARER_SUBPROTOCOL):
            return protocol.removeprefix(BEARER_SUBPROTOCOL)
    return query.get("token") or None


def offered_subprotocols(headers: Headers) -> list[str]:
    """Return the sub-protocols that a client offers, in its order."""
    return [
        protocol.strip()
        for value in headers.get_all("Sec-WebSocket-Protocol")
        for protocol in value.split(",")
        if protocol.strip()
    ]


def _cookie(headers: Headers, name: str) -> str | None:
    """Return a cookie's value. One past 4 KB Auth.js keeps in pieces, named `name.0`, `name.1` and so on."""
    # Not http.cookies: it gives up at the first cookie that it dislikes, and others on the page set those.
    pieces: dict[str, str] = {}
    for value in headers.get_all("Cookie"):
        for cookie in value.split(";"):
            key, _, content = cookie.strip().partition("=")
            if key == name:
                return content.strip('"')
            if key.startswith(f"{name}."):
                pieces.setdefault(key, content.strip('"'))
    names = takewhile(pieces.__contains__, (f"{name}.{number}" for number in count()))
    return "".join(pieces[piece] for piece in names) or None
