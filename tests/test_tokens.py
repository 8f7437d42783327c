"""Whom a token names, and every way in which it can name nobody."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings, strategies as st

from bridge.auth.tokens import TokenRules, TokenVerifier, make_token
from bridge.core.access import Principal
from bridge.core.errors import TokenRejected
from bridge.core.rooms import parse_room, user_room

SECRET = "0123456789abcdef0123456789abcdef"
OTHER_SECRET = "fedcba9876543210fedcba9876543210"
HOUR = 3_600.0
LEEWAY = 5.0
RULES = TokenRules(
    secret=SECRET,
    audience=None,
    issuer=None,
    leeway_seconds=LEEWAY,
    user_claims=("sub", "userId", "id"),
    roles_claim="roles",
    rooms_claim="rooms",
)
STRICT = replace(RULES, audience="bridge", issuer="https://id.example.com")
NOW = time.time()
VALID: dict[str, Any] = {"sub": "u1", "exp": NOW + HOUR}


def signed(
    claims: Mapping[str, Any], *, secret: str = SECRET, header: Mapping[str, Any] | None = None
) -> str:
    """Return a token signed with HS256, whatever its header and claims say."""
    parts = [json.dumps({"typ": "JWT", "alg": "HS256", **(header or {})}), json.dumps(claims)]
    unsigned = ".".join(_base64(part.encode()) for part in parts)
    signature = jwt.get_algorithm_by_name("HS256").sign(unsigned.encode(), secret.encode())
    return f"{unsigned}.{_base64(signature)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def verify(token: str, rules: TokenRules = RULES) -> Principal:
    """Return whom a token names."""
    return TokenVerifier(rules).verify(token)


GOOD = [
    # claims beside a valid end                         the user, the roles, the rooms
    ({"sub": "u1"}, "u1", set(), ()),
    ({"userId": "u1"}, "u1", set(), ()),
    ({"id": "u1", "sub": "", "userId": None}, "u1", set(), ()),
    ({"sub": "u1", "userId": "u2"}, "u1", set(), ()),
    ({"sub": "用户:7"}, "用户:7", set(), ()),
    ({"sub": "u1", "roles": ["admin", "support", "admin"]}, "u1", {"admin", "support"}, ()),
    ({"sub": "u1", "roles": "admin"}, "u1", {"admin"}, ()),
    ({"sub": "u1", "role": "admin"}, "u1", {"admin"}, ()),
    ({"sub": "u1", "role": ["admin"]}, "u1", {"admin"}, ()),
    ({"sub": "u1", "roles": [], "role": "admin"}, "u1", set(), ()),
    ({"sub": "u1", "roles": None, "role": None, "rooms": None}, "u1", set(), ()),
    ({"sub": "u1", "rooms": ["device:*", "device:d7"]}, "u1", set(), ("device:*", "device:d7")),
    ({"sub": "u1", "rooms": ["no room at all", ""]}, "u1", set(), ("no room at all", "")),  # Names nothing.
    ({"sub": "u1", "aud": "somebody", "iss": "anybody"}, "u1", set(), ()),  # Nobody asks for these.
    ({"sub": "u1", "nbf": NOW - 1, "iat": NOW - 1, "jti": "x"}, "u1", set(), ()),
]


@pytest.mark.parametrize(("claims", "user_id", "roles", "rooms"), GOOD)
def test_good_token(claims: dict[str, object], user_id: str, roles: set[str], rooms: tuple[str, ...]) -> None:
    """A valid token names a user, maybe roles and rooms; the first claim that is there has the user."""
    principal = verify(signed({**claims, "exp": int(NOW + HOUR)}))

    assert principal == Principal(user_id, frozenset(roles), rooms, int(NOW + HOUR) + LEEWAY)


@pytest.mark.parametrize("end", [NOW + HOUR, int(NOW + HOUR), str(int(NOW + HOUR))])
def test_end(end: object) -> None:
    """A principal is good to the second until the token ends, and the leeway longer."""
    assert verify(signed({"sub": "u1", "exp": end})).expires_at == int(NOW + HOUR) + LEEWAY


def test_clocks_that_differ_a_little() -> None:
    """A token is good for the leeway past its end, and before its beginning."""
    assert verify(signed({"sub": "u1", "exp": time.time() - 2})).user_id == "u1"
    assert verify(signed({**VALID, "nbf": time.time() + 3, "iat": time.time() + 3})).user_id == "u1"


def test_audience_and_issuer() -> None:
    """Where an audience and an issuer are set, the token has to name them; more audiences do no harm."""
    claims = {**VALID, "iss": "https://id.example.com"}

    assert verify(signed({**claims, "aud": "bridge"}), STRICT).user_id == "u1"
    assert verify(signed({**claims, "aud": ["shop", "bridge"]}), STRICT).user_id == "u1"


BAD_CLAIMS: list[tuple[dict[str, object], str]] = [
    ({"exp": NOW - 60}, "expired"),
    ({"exp": 0}, "expired"),
    ({"exp": -(10**400)}, "expired"),
    ({"exp": True}, "expired"),
    ({"exp": (NOW + HOUR) * 1_000}, "bad_claim"),  # In milliseconds: it would never end.
    ({"exp": 10**400}, "bad_claim"),
    ({"exp": None}, "missing_claim"),
    ({"exp": "soon"}, "malformed"),
    ({"exp": [NOW]}, "malformed"),
    ({"exp": {"at": NOW}}, "malformed"),
    ({"exp": float("inf")}, "malformed"),
    ({"exp": float("nan")}, "malformed"),
    ({"nbf": NOW + HOUR}, "not_yet_valid"),
    ({"nbf": "later"}, "malformed"),
    ({"nbf": None}, "malformed"),
    ({"nbf": float("inf")}, "malformed"),
    ({"iat": NOW + HOUR}, "not_yet_valid"),
    ({"iat": "then"}, "malformed"),
    ({"jti": 5}, "malformed"),
    ({"sub": None}, "no_user"),
    ({"sub": ""}, "no_user"),
    ({"sub": 42}, "no_user"),
    ({"sub": ["u1"]}, "no_user"),
    ({"sub": "u1,u2"}, "no_user"),
    ({"sub": "u*"}, "no_user"),
    ({"sub": "u 1"}, "no_user"),
    ({"sub": "\x00"}, "no_user"),
    ({"sub": "\ud800"}, "no_user"),
    ({"sub": "x" * 129}, "no_user"),
    ({"sub": 42, "userId": "u1"}, "no_user"),  # No guessing which of them is right.
    ({"roles": {"admin": True}}, "bad_claim"),
    ({"roles": ["admin", 5]}, "bad_claim"),
    ({"roles": ["not a role"]}, "bad_claim"),
    ({"roles": ["*"]}, "bad_claim"),
    ({"roles": "a,b"}, "bad_claim"),
    ({"roles": [f"r{number}" for number in range(51)]}, "bad_claim"),
    ({"role": 5}, "bad_claim"),
    ({"rooms": "device:*"}, "bad_claim"),
    ({"rooms": [5]}, "bad_claim"),
    ({"rooms": ["x" * 201]}, "bad_claim"),
    ({"rooms": ["x"] * 201}, "bad_claim"),
]


@pytest.mark.parametrize(("claims", "reason"), BAD_CLAIMS, ids=lambda value: repr(value)[:40])
def test_bad_claims(claims: dict[str, object], reason: str) -> None:
    """A token whose claims say no, or nonsense, is rejected with the reason."""
    with pytest.raises(TokenRejected) as caught:
        verify(signed({**VALID, **claims}))

    assert caught.value.reason == reason


def test_no_end() -> None:
    """A token has to end some day."""
    with pytest.raises(TokenRejected) as caught:
        verify(signed({"sub": "u1"}))

    assert (caught.value.reason, caught.value.message) == ("missing_claim", "the token has no claim exp")


OURS = {**VALID, "aud": "bridge", "iss": "https://id.example.com"}
BAD_PARTIES: list[tuple[dict[str, object], str]] = [
    ({"aud": "shop"}, "wrong_audience"),
    ({"aud": ["shop"]}, "wrong_audience"),
    ({"aud": []}, "missing_claim"),
    ({"aud": 5}, "wrong_audience"),
    ({"aud": "bridge2"}, "wrong_audience"),
    ({"aud": None}, "missing_claim"),
    ({"iss": "https://evil.io"}, "wrong_issuer"),
    ({"iss": "https://id.example.com/"}, "wrong_issuer"),
    ({"iss": ["https://id.example.com"]}, "wrong_issuer"),
]


@pytest.mark.parametrize(("claims", "reason"), BAD_PARTIES)
def test_wrong_audience_or_issuer(claims: dict[str, object], reason: str) -> None:
    """A token for or from somebody else is rejected with the reason."""
    with pytest.raises(TokenRejected) as caught:
        verify(signed({**OURS, **claims}), STRICT)

    assert caught.value.reason == reason


@pytest.mark.parametrize("claim", ["aud", "iss"])
def test_missing_audience_or_issuer(claim: str) -> None:
    """A token that says neither for whom nor from whom it is, is rejected where that is asked."""
    with pytest.raises(TokenRejected) as caught:
        verify(signed({name: value for name, value in OURS.items() if name != claim}), STRICT)

    assert (caught.value.reason, caught.value.message) == ("missing_claim", f"the token has no claim {claim}")


def rs256() -> str:
    """Return a token signed with a private RSA key."""
    key = rsa.generate_private_key(65_537, 2_048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return jwt.encode(VALID, pem, algorithm="RS256")


HEADER, PAYLOAD, SIGNATURE = signed(VALID).split(".")
FORGERIES = [
    ("missing", "", "no token"),
    ("bad_signature", signed(VALID, secret=OTHER_SECRET), "signed with another key"),
    (
        "bad_signature",
        f"{HEADER}.{_base64(json.dumps({**VALID, 'sub': 'root'}).encode())}.{SIGNATURE}",
        "altered",
    ),
    ("bad_signature", f"{HEADER}.{PAYLOAD}.", "without a signature"),
    ("bad_signature", f"{HEADER}.{PAYLOAD}.{SIGNATURE[:20]}", "with half a signature"),
    ("wrong_algorithm", jwt.encode(VALID, "", algorithm="none"), "alg none"),
    ("wrong_algorithm", signed(VALID, header={"alg": "none"}), "alg none, but signed"),
    ("wrong_algorithm", signed(VALID, header={"alg": "None"}), "alg None"),
    ("wrong_algorithm", signed(VALID, header={"alg": "hs256"}), "alg in lower case"),
    ("wrong_algorithm", jwt.encode(VALID, SECRET * 2, algorithm="HS512"), "alg HS512"),
    ("wrong_algorithm", rs256(), "alg RS256"),
    ("wrong_algorithm", signed(VALID, header={"alg": ["HS256"]}), "alg is a list"),
    ("wrong_algorithm", signed(VALID, header={"alg": None}), "no alg"),
    ("malformed", signed(VALID, header={"kid": 5}), "kid is a number"),
    ("malformed", signed(VALID, header={"crit": ["exp"]}), "crit names what nobody understands"),
    ("malformed", signed(VALID, header={"b64": False}), "a detached payload"),
    ("malformed", "token", "one part"),
    ("malformed", f"{HEADER}.{PAYLOAD}", "two parts"),
    ("malformed", f"{HEADER}.{PAYLOAD}.{SIGNATURE}.x", "four parts"),
    ("malformed", "...", "empty parts"),
    ("malformed", f"{HEADER}.?.{SIGNATURE}", "not base 64"),
    ("malformed", f"{_base64(b'[]')}.{PAYLOAD}.{SIGNATURE}", "a list for a header"),
    ("malformed", f"{_base64(b'no')}.{PAYLOAD}.{SIGNATURE}", "a header that is not JSON"),
    ("malformed", "Bearer " + signed(VALID), "with its scheme"),
    ("malformed", "ü.ü.ü", "letters beyond ASCII"),
    ("malformed", "\ud800", "half a character"),
    ("malformed", " ", "white space"),
    ("malformed", "x" * 8_193, "too long"),
    ("malformed", signed({**VALID, "x": "y" * 9_000}), "valid, but too long"),
]


@pytest.mark.parametrize(("reason", "token"), [pytest.param(*row[:2], id=row[2]) for row in FORGERIES])
def test_forged_or_broken(reason: str, token: str) -> None:
    """What is not signed by our key with HS256 is rejected with the reason, and without a word of it."""
    with pytest.raises(TokenRejected) as caught:
        verify(token)

    assert caught.value.reason == reason
    if len(token) > 10:
        assert token[:10] not in f"{caught.value.message} {caught.value!r}"


@pytest.mark.parametrize("claims", [b"[]", b'"u1"', b"5", b"null", b"no", b"\xff", b"[" * 4_000])
def test_claims_that_are_none(claims: bytes) -> None:
    """A signed token whose claims are no JSON object is malformed."""
    unsigned = f"{HEADER}.{_base64(claims)}"
    signature = jwt.get_algorithm_by_name("HS256").sign(unsigned.encode(), SECRET.encode())

    with pytest.raises(TokenRejected) as caught:
        verify(f"{unsigned}.{_base64(signature)}")

    assert caught.value.reason == "malformed"


def test_made_tokens() -> None:
    """A token made for development is what the verifier wants, audience and issuer included."""
    token = make_token(STRICT, user_id="u1", roles=["admin"], rooms=["device:*"], seconds=60)

    principal = verify(token, STRICT)

    assert principal == Principal("u1", frozenset({"admin"}), ("device:*",), principal.expires_at)
    assert 55 < principal.expires_at - LEEWAY - time.time() <= 60


def test_other_claims() -> None:
    """The claims for user, roles and rooms can be named otherwise."""
    rules = replace(RULES, user_claims=("uid",), roles_claim="groups", rooms_claim="channels")

    made = verify(make_token(rules, user_id="u1", roles=["admin"], rooms=["x:*"], seconds=60), rules)

    assert made == Principal("u1", frozenset({"admin"}), ("x:*",), made.expires_at)
    with pytest.raises(TokenRejected, match="none of the claims uid names a user"):
        verify(signed(VALID), rules)


def test_the_secret_is_not_shown() -> None:
    """Rules that get into a log or a traceback do not give the secret away."""
    assert SECRET not in repr(RULES)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
claim_names = st.sampled_from(["sub", "userId", "exp", "nbf", "iat", "aud", "jti", "roles", "role", "rooms"])


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(claim_names, json_values).map(lambda changes: signed({**VALID, **changes}))
    | st.dictionaries(st.sampled_from(["alg", "kid", "crit", "typ", "b64"]), json_values).map(
        lambda header: signed(VALID, header=header)
    )
    | st.text()
    | st.lists(st.binary(max_size=20).map(_base64), min_size=3, max_size=3).map(".".join)
)
def test_any_token(token: str) -> None:
    """Whatever is sent for a token, it names a user that can have a room, or is rejected."""
    try:
        principal = verify(token)
    except TokenRejected:
        return
    assert parse_room(user_room(principal.user_id))
    assert principal.expires_at > time.time()
