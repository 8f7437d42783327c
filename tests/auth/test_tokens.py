"""Whom a token names, and every way in which it can name nobody."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from bridge.auth.claims import ClaimRules
from bridge.auth.keys import key_from_pem
from bridge.auth.tokens import make_token
from bridge.core.access import Principal
from bridge.core.errors import TokenRejected
from tests.auth.issuer import (
    HOUR,
    LEEWAY,
    NOW,
    RULES,
    SECRET,
    VALID,
    public_pem,
    signed,
    verify,
)

STRICT = replace(RULES, claims=ClaimRules(audience="bridge", issuer="https://id.example.com"))


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
    ({"sub": "u1", "nbf": NOW - 1}, "u1", set(), ()),
    ({"sub": "u1", "nbf": None, "iat": None, "jti": None}, "u1", set(), ()),  # As if they were not there.
]


@pytest.mark.parametrize(("claims", "user_id", "roles", "rooms"), GOOD)
def test_good_token(claims: dict[str, object], user_id: str, roles: set[str], rooms: tuple[str, ...]) -> None:
    """A valid token names a user, maybe roles and rooms; the first claim that is there has the user."""
    principal = verify(signed({**claims, "exp": int(NOW + HOUR)}))

    assert principal == Principal(user_id, frozenset(roles), rooms, int(NOW + HOUR) + LEEWAY)


@pytest.mark.parametrize("end", [NOW + HOUR + 0.25, int(NOW + HOUR)])
def test_end(end: float) -> None:
    """A principal is good until the token ends, and the leeway longer."""
    assert verify(signed({"sub": "u1", "exp": end})).expires_at == end + LEEWAY


IDENTITIES = [
    # claims                          token id                                issued at
    ({}, "", None),
    ({"jti": "t-1", "iat": NOW - 5}, "t-1", NOW - 5),
    ({"jti": 7, "iat": int(NOW)}, "7", NOW),  # Issuers that number their tokens mean the digits.
    ({"jti": "", "iat": 0.5}, "", 0.5),
]


@pytest.mark.parametrize(("claims", "token_id", "issued_at"), IDENTITIES)
def test_what_revocation_needs(claims: dict[str, object], token_id: str, issued_at: float | None) -> None:
    """The principal has the token's id and when it was issued, so that it can be revoked by either."""
    principal = verify(signed({**VALID, **claims}))

    assert (principal.token_id, principal.issued_at) == (token_id, issued_at)


def test_clocks_that_differ_a_little() -> None:
    """A token is good for the leeway past its end, and before its beginning."""
    assert verify(signed({"sub": "u1", "exp": NOW - LEEWAY + 1})).user_id == "u1"
    assert verify(signed({**VALID, "nbf": NOW + LEEWAY, "iat": NOW + LEEWAY})).user_id == "u1"


def test_audience_and_issuer() -> None:
    """Where an audience and an issuer are set, the token has to name them; more audiences do no harm."""
    claims = {**VALID, "iss": "https://id.example.com"}

    assert verify(signed({**claims, "aud": "bridge"}), STRICT).user_id == "u1"
    assert verify(signed({**claims, "aud": ["shop", "bridge"]}), STRICT).user_id == "u1"


BAD_CLAIMS: list[tuple[dict[str, object], str]] = [
    ({"exp": NOW - 60}, "expired"),
    ({"exp": NOW - LEEWAY}, "expired"),
    ({"exp": 0}, "expired"),
    ({"exp": -5}, "expired"),
    ({"exp": -(10**400)}, "bad_claim"),
    ({"exp": True}, "bad_claim"),
    ({"exp": (NOW + HOUR) * 1_000}, "bad_claim"),  # In milliseconds: it would never end.
    ({"exp": 10**400}, "bad_claim"),
    ({"exp": None}, "missing_claim"),
    ({"exp": "soon"}, "bad_claim"),
    ({"exp": str(int(NOW + HOUR))}, "bad_claim"),  # RFC 7519 section 2: a NumericDate is a JSON number.
    ({"exp": [NOW]}, "bad_claim"),
    ({"exp": {"at": NOW}}, "bad_claim"),
    ({"exp": float("inf")}, "malformed"),  # JSON has neither of these two.
    ({"exp": float("nan")}, "malformed"),
    ({"nbf": NOW + HOUR}, "not_yet_valid"),
    ({"nbf": "later"}, "bad_claim"),
    ({"nbf": float("inf")}, "malformed"),
    ({"iat": NOW + HOUR}, "not_yet_valid"),  # It would outlive a revocation of all issued before a time.
    ({"iat": "then"}, "bad_claim"),
    ({"iat": NOW * 1_000}, "bad_claim"),
    ({"jti": 5.5}, "bad_claim"),
    ({"jti": True}, "bad_claim"),
    ({"jti": ["t-1"]}, "bad_claim"),
    ({"jti": 2**65}, "bad_claim"),
    ({"jti": "x" * 201}, "bad_claim"),
    ({"sub": None}, "no_user"),
    ({"sub": ""}, "no_user"),
    ({"sub": 42}, "no_user"),
    ({"sub": ["u1"]}, "no_user"),
    ({"sub": "u1,u2"}, "no_user"),
    ({"sub": "u*"}, "no_user"),
    ({"sub": "u 1"}, "no_user"),
    ({"sub": "\x00"}, "no_user"),
    ({"sub": "\ud800"}, "malformed"),  # Half a character is no JSON text.
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


def test_made_tokens() -> None:
    """A token made for development is what the verifier wants, audience, issuer and an id included."""
    token = make_token(STRICT, user_id="u1", roles=["admin"], rooms=["device:*"], seconds=60)

    made = verify(token, STRICT, now=time.time())

    assert (made.user_id, made.roles, made.rooms) == ("u1", frozenset({"admin"}), ("device:*",))
    assert 55 < made.expires_at - LEEWAY - time.time() <= 60
    assert (
        made.token_id
        != verify(make_token(STRICT, user_id="u1", seconds=60), STRICT, now=time.time()).token_id
    )


def test_only_public_keys() -> None:
    """Without a key that signs no token is made."""
    with pytest.raises(LookupError):
        make_token(replace(RULES, keys=(key_from_pem(public_pem("RSA")),)), user_id="u1", seconds=60)


def test_other_claims() -> None:
    """The claims for user, roles and rooms can be named otherwise."""
    names = ClaimRules(user_claims=("uid",), roles_claim="groups", rooms_claim="channels")
    rules = replace(RULES, claims=names)

    made = verify(
        make_token(rules, user_id="u1", roles=["admin"], rooms=["x:*"], seconds=60), rules, now=time.time()
    )

    assert (made.user_id, made.roles, made.rooms) == ("u1", frozenset({"admin"}), ("x:*",))
    with pytest.raises(TokenRejected, match="none of the claims uid names a user"):
        verify(signed(VALID), rules)


def test_the_secret_is_not_shown() -> None:
    """Rules that get into a log or a traceback do not give the secret away."""
    assert SECRET not in repr(RULES)
