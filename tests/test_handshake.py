"""What an upgrade request says: who, from where, and what they want."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request

from bridge.core.commands import Hello
from bridge.core.entry import Position
from bridge.core.errors import BadMessage
from bridge.core.origins import OriginRules
from bridge.ws.address import Proxies
from bridge.ws.handshake import hello_from, offered_subprotocols, path_of, single

HeaderList = list[tuple[str, str]]

AUTHORIZATION = ("Authorization", "Bearer t-authorization")
X_AUTH_TOKEN = ("X-Auth-Token", "t-x-auth-token")
COOKIE = ("Cookie", "theme=dark; bridge_token=t-cookie; lang=en")
SUBPROTOCOL = ("Sec-WebSocket-Protocol", "bridge.v1, bearer.t-subprotocol")
QUERY = "/ws?token=t-query"


def hello(path: str = "/ws", *headers: tuple[str, str], cookie_trusted: bool = True) -> Hello | None:
    """Return the hello of a request."""
    return hello_from(
        Request(path, Headers(list(headers))), cookie_name="bridge_token", cookie_trusted=cookie_trusted
    )


def token(path: str = "/ws", *headers: tuple[str, str], cookie_trusted: bool = True) -> str | None:
    """Return the token of a request, None if it has none."""
    found = hello(path, *headers, cookie_trusted=cookie_trusted)
    return found.token if found else None


PLACES = [
    ("t-authorization", QUERY, [AUTHORIZATION, X_AUTH_TOKEN, COOKIE, SUBPROTOCOL]),
    ("t-x-auth-token", QUERY, [X_AUTH_TOKEN, COOKIE, SUBPROTOCOL]),
    ("t-cookie", QUERY, [COOKIE, SUBPROTOCOL]),
    ("t-subprotocol", QUERY, [SUBPROTOCOL]),
    ("t-query", QUERY, []),
    (None, "/ws", []),
]


@pytest.mark.parametrize(("found", "path", "headers"), PLACES)
def test_first_place_wins(found: str | None, path: str, headers: HeaderList) -> None:
    """A token is looked for in Authorization, X-Auth-Token, the cookie, the sub-protocols, the query."""
    assert token(path, *headers) == found
    assert token(path, *reversed(headers)) == found  # Their order in the request says nothing.


TOKENS: list[tuple[str | None, str, HeaderList]] = [
    # found     path       headers
    ("a.b.c", "/ws", [("authorization", "bearer a.b.c")]),
    ("a.b.c", "/ws", [("Authorization", "BEARER   a.b.c  ")]),
    (None, "/ws", [("Authorization", "Basic dXNlcjpwYXNz")]),
    (None, "/ws", [("Authorization", "Bearer")]),
    (None, "/ws", [("Authorization", "Bearer ")]),
    ("t-query", QUERY, [("Authorization", "Basic dXNlcjpwYXNz"), ("X-Auth-Token", "")]),
    (
        "a, Bearer b",
        "/ws",
        [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
    ),  # Which is no token.
    ("x, y", "/ws", [("X-Auth-Token", "x"), ("X-Auth-Token", "y")]),
    ("a.b.c", "/ws", [("Cookie", "bridge_token=a.b.c")]),
    ("a.b.c", "/ws", [("Cookie", 'bridge_token="a.b.c"')]),
    ("a.b.c", "/ws", [("Cookie", "x=1"), ("Cookie", "bridge_token=a.b.c")]),
    ("first", "/ws", [("Cookie", "bridge_token=first; bridge_token=second")]),
    ("a=b", "/ws", [("Cookie", "bridge_token=a=b")]),
    (
        "a.b.c",
        "/ws",
        [("Cookie", 'prefs={"a": [1, "b"]}; path=/; bad name=1; x[0]=ü; =; ;bridge_token=a.b.c')],
    ),
    (None, "/ws", [("Cookie", "xbridge_token=a; bridge_token_=b; bridge_token")]),
    ("t-query", QUERY, [("Cookie", "bridge_token=")]),
    ("t-query", QUERY, [("Sec-WebSocket-Protocol", "bridge.v1")]),
    ("a.b.c", "/ws", [("Sec-WebSocket-Protocol", "bridge.v1"), ("Sec-WebSocket-Protocol", "bearer.a.b.c")]),
    ("a.b.c", "/ws", [("Sec-WebSocket-Protocol", " bearer.a.b.c ,, bridge.v1")]),
    ("", "/ws", [("Sec-WebSocket-Protocol", "bearer.")]),  # A token was meant, and is missing: 4401.
    (None, "/ws?token=", []),
    ("a b/c", "/ws?token=a%20b%2Fc", []),
    ("last", "/ws?token=first&token=last", []),
    (None, "/ws?Token=a", []),
]


@pytest.mark.parametrize(("found", "path", "headers"), TOKENS)
def test_token(found: str | None, path: str, headers: HeaderList) -> None:
    """Each place has its rules; what is empty or something else counts as not there."""
    assert token(path, *headers) == found


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        ("bridge_token.1=b; other=x; bridge_token.0=a; bridge_token.2=c", "abc"),
        ("bridge_token.0=a; bridge_token.2=c", "a"),
        ("bridge_token.1=b", None),
        ("bridge_token.0=a; bridge_token=whole", "whole"),
        ("bridge_token.0=a; bridge_token.0=z", "a"),
        ("bridge_token.00=a; bridge_token.x=b", None),
    ],
)
def test_cookie_in_pieces(cookies: str, expected: str | None) -> None:
    """A session that is too long for one cookie is put together from its numbered pieces."""
    assert token("/ws", ("Cookie", cookies)) == expected


def test_cookie_of_a_foreign_page() -> None:
    """A cookie speaks for the user only if the page is one of ours; all else is put there on purpose."""
    assert token("/ws", COOKIE, cookie_trusted=False) is None
    assert token(QUERY, COOKIE, cookie_trusted=False) == "t-query"
    assert token("/ws", COOKIE, AUTHORIZATION, cookie_trusted=False) == "t-authorization"


HELLOS = [
    ("", Hello("t")),
    ("&rooms=device:d7,score:m1", Hello("t", ("device:d7", "score:m1"))),
    ("&rooms=device%3Ad7%2Call", Hello("t", ("device:d7", "all"))),
    ("&rooms=", Hello("t")),
    ("&rooms=,a:1,,", Hello("t", ("a:1",))),
    ("&rooms=user:%E7%94%A8", Hello("t", ("user:用",))),
    ("&rooms=user:%ff", Hello("t", ("user:\N{REPLACEMENT CHARACTER}",))),
    ("&epoch=e&offset=41", Hello("t", (), Position("e", 41))),
    ("&epoch=&offset=0", Hello("t", (), Position("", 0))),
    ("&epoch=e&offset=9223372036854775807", Hello("t", (), Position("e", 2**63 - 1))),
    ("&epoch=e&offset=0041", Hello("t", (), Position("e", 41))),
]


@pytest.mark.parametrize(("query", "found"), HELLOS)
def test_rooms_and_position(query: str, found: Hello) -> None:
    """A query says the same as a hello: rooms with commas between, epoch and offset."""
    assert hello(f"/ws?token=t{query}") == found


BAD_QUERIES = [
    ("&epoch=e", "bad_position", "offset must be a whole number"),
    ("&offset=5", "bad_position", "epoch must be text"),
    ("&epoch=e&offset=", "bad_position", "offset must be a whole number"),
    ("&epoch=e&offset=x", "bad_position", "offset must be a whole number"),
    ("&epoch=e&offset=-1", "bad_position", "offset must be a whole number"),
    ("&epoch=e&offset=1.0", "bad_position", "offset must be a whole number"),
    ("&epoch=e&offset=%D9%A1", "bad_position", "offset must be a whole number"),
    ("&epoch=e&offset=%C2%B2", "bad_position", "offset must be a whole number"),
    ("&epoch=e&offset=9223372036854775808", "bad_position", "offset must be a whole number"),
    ("&epoch=e&offset=" + "9" * 5_000, "bad_position", "offset must be a whole number"),
    ("&epoch=" + "e" * 129 + "&offset=1", "bad_position", "epoch must be text"),
    ("&x" * 40, "bad_query", "the query has more than 32 fields"),
    ("&rooms=" + "a:1," * 201, "bad_query", "at most 200 rooms"),
]


@pytest.mark.parametrize(("query", "code", "message"), BAD_QUERIES)
def test_bad_query(query: str, code: str, message: str) -> None:
    """A position that is none, and a query without end, are refused as a bad message is."""
    with pytest.raises(BadMessage) as caught:
        hello(f"/ws?token=t{query}")

    assert caught.value.code == code
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/ws", "/ws"),
        ("/ws?token=a/b", "/ws"),
        ("/ws/", "/ws/"),
        ("/", "/"),
        ("", ""),
        ("http://bridge.example.com/ws?x", "/ws"),
        ("//[", ""),
        ("//ws", ""),
    ],
)
def test_path(target: str, path: str) -> None:
    """The path is what stands before the query; what is no URL has none."""
    assert path_of(Request(target, Headers())) == path


def test_single() -> None:
    """A header that comes several times is one value, which then matches nothing by accident."""
    headers = Headers([("Origin", "https://a.io"), ("origin", "https://b.io"), ("Host", "h")])

    assert single(headers, "Origin") == "https://a.io, https://b.io"
    assert single(headers, "Host") == "h"
    assert single(headers, "X-Auth-Token") is None


def test_subprotocols() -> None:
    """Sub-protocols come in one header or several, in the client's order."""
    headers = Headers([("Sec-WebSocket-Protocol", "b, a"), ("Sec-WebSocket-Protocol", "c")])

    assert offered_subprotocols(headers) == ["b", "a", "c"]


printable = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)


@settings(deadline=None, max_examples=300)
@given(
    printable,
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "Authorization",
                    "X-Auth-Token",
                    "Cookie",
                    "Sec-WebSocket-Protocol",
                    "X-Forwarded-For",
                    "Forwarded",
                    "Origin",
                    "Host",
                ]
            ),
            printable,
        ),
        max_size=6,
    ),
)
def test_any_request(target: str, header_list: HeaderList) -> None:
    """Whatever a request says, it is understood or refused, and nothing else happens."""
    headers = Headers(header_list)
    request = Request(f"/ws?token=t&{target}", headers)

    path_of(Request(target, headers))
    for header in ("x-forwarded-for", "forwarded"):
        Proxies(("10.0.0.0/8",), header=header).client_of("10.0.0.1", headers)
    OriginRules(("https://*.example.com",)).admit(single(headers, "Origin"), single(headers, "Host"))
    try:
        found = hello_from(request, cookie_name="bridge_token", cookie_trusted=True)
    except BadMessage:
        return
    assert found is not None
