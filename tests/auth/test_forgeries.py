"""Every way in which a token can be forged, broken, or meant for another key."""

from __future__ import annotations

import json
import traceback

import jwt
import pytest
from hypothesis import example, given, settings, strategies as st

from bridge.auth.keys import key_from_pem, key_from_secret
from bridge.auth.sessions import SessionKeys
from bridge.auth.tokens import TokenRules, TokenVerifier
from bridge.core.errors import TokenRejected
from bridge.core.rooms import parse_room, user_room
from tests.auth.issuer import (
    LONG_SECRET,
    NOW,
    OTHER_SECRET,
    RULES,
    SECRET,
    VALID,
    base64url,
    issued,
    jwk,
    public_pem,
    signed,
    token_of,
    verify,
)

# Every way a token can be forged or broken, where one of these keys would have to have signed it.
MANY = TokenRules(
    keys=(
        key_from_secret(SECRET, "HS256"),
        key_from_pem(public_pem("RSA"), kid="rsa"),
        key_from_pem(public_pem("P-256"), kid="ec"),
        key_from_pem(public_pem("Ed25519"), kid="ed"),
    ),
    claims=RULES.claims,
    sessions=SessionKeys([SECRET], ["session"]),
)
HEADER, PAYLOAD, SIGNATURE = signed(VALID).split(".")
ATTACKER = jwk("ES256", "P-256", 1)


def signed_with_a_public_key(kid: str) -> str:
    """Return a token whose HMAC has our public RSA key for a secret, as everybody can make it."""
    header = {"alg": "HS256", "kid": kid} if kid else {"alg": "HS256"}
    return token_of(header, VALID, secret=public_pem("RSA").decode())


def unsigned(algorithm: str, signature: bytes, **header: object) -> str:
    """Return a token with a signature that no key made."""
    parts = (json.dumps({"alg": algorithm, **header}).encode(), json.dumps(VALID).encode(), signature)
    return ".".join(map(base64url, parts))


def sealed(header: dict[str, object]) -> str:
    """Return an encrypted token that no key of ours can open."""
    return ".".join(map(base64url, (json.dumps(header).encode(), b"", b"i" * 12, b"c" * 40, b"t" * 16)))


FORGERIES = [
    ("missing", "", "no token"),
    # Somebody else's, or changed.
    ("bad_signature", signed(VALID, secret=OTHER_SECRET), "signed with another secret"),
    (
        "bad_signature",
        f"{HEADER}.{base64url(json.dumps({**VALID, 'sub': 'root'}).encode())}.{SIGNATURE}",
        "altered",
    ),
    ("bad_signature", f"{HEADER}.{PAYLOAD}.", "without a signature"),
    ("bad_signature", f"{HEADER}.{PAYLOAD}.{SIGNATURE[:20]}", "with half a signature"),
    (
        "bad_signature",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE}{SIGNATURE[:1]}".replace("=", ""),
        "with one and a bit",
    ),
    ("bad_signature", issued("RS256", "RSA", 1, kid="rsa"), "another's RSA key under our name"),
    ("bad_signature", issued("ES256", "P-256", 1, kid="ec"), "another's curve key under our name"),
    ("bad_signature", issued("EdDSA", "Ed25519", 1, kid="ed"), "another's Ed25519 key under our name"),
    ("bad_signature", issued("RS256", "RSA", 1), "another's RSA key without a name"),
    ("unknown_key", issued("RS256", "RSA", 1, kid="evil"), "another's RSA key under another name"),
    # The key, or where to find it, brought along.
    ("bad_signature", unsigned("ES256", b"x" * 64, jwk=ATTACKER, kid="ec"), "a key in the header"),
    ("bad_signature", unsigned("RS256", b"x" * 256, jku="https://evil.io/keys", kid="rsa"), "jku"),
    ("bad_signature", unsigned("RS256", b"x" * 256, x5u="https://evil.io/cert", kid="rsa"), "x5u"),
    ("bad_signature", signed(VALID, secret="x", header={"kid": "../../../dev/null"}), "kid is a path"),
    ("bad_signature", signed(VALID, secret="x", header={"kid": "' UNION SELECT 'x"}), "kid is SQL"),
    # One key for another's algorithm.
    ("bad_signature", signed_with_a_public_key(""), "HMAC with our public key, tried against the secret"),
    ("wrong_algorithm", signed_with_a_public_key("rsa"), "HMAC with our public key, under its name"),
    ("wrong_algorithm", signed(VALID, header={"kid": "rsa"}), "our secret under the name of the RSA key"),
    ("wrong_algorithm", issued("RS256", "RSA", kid="ec"), "our RSA key under the name of the curve key"),
    ("wrong_algorithm", issued("PS256", "RSA", kid="rsa"), "our RSA key, but PS256"),
    ("wrong_algorithm", issued("RS512", "RSA", kid="rsa"), "our RSA key, but RS512"),
    ("wrong_algorithm", jwt.encode(VALID, LONG_SECRET, algorithm="HS512"), "HS512"),
    # Signatures that algorithms have taken for good.
    ("bad_signature", unsigned("ES256", bytes(64), kid="ec"), "a signature of zeros on a curve"),
    ("bad_signature", unsigned("EdDSA", bytes(64), kid="ed"), "a signature of zeros for Ed25519"),
    ("bad_signature", unsigned("RS256", bytes(256), kid="rsa"), "a signature of zeros for RSA"),
    ("bad_signature", unsigned("ES256", b"", kid="ec"), "no signature on a curve"),
    ("bad_signature", unsigned("ES256", b"\xff" * 500, kid="ec"), "a huge signature on a curve"),
    # No algorithm, or none that is known.
    ("wrong_algorithm", jwt.encode(VALID, "", algorithm="none"), "alg none"),
    ("wrong_algorithm", signed(VALID, header={"alg": "none"}), "alg none, but signed"),
    ("wrong_algorithm", signed(VALID, header={"alg": "None"}), "alg None"),
    ("wrong_algorithm", signed(VALID, header={"alg": "nOnE", "kid": "rsa"}), "alg nOnE"),
    ("wrong_algorithm", signed(VALID, header={"alg": "hs256"}), "alg in lower case"),
    ("wrong_algorithm", signed(VALID, header={"alg": "ES256K"}), "alg of a curve that we do not take"),
    ("wrong_algorithm", signed(VALID, header={"alg": ""}), "alg empty"),
    ("wrong_algorithm", signed(VALID, header={"alg": ["HS256"]}), "alg is a list"),
    ("wrong_algorithm", signed(VALID, header={"alg": {"HS256": 1}}), "alg is an object"),
    ("wrong_algorithm", signed(VALID, header={"alg": None}), "alg is null"),
    ("wrong_algorithm", token_of({"typ": "JWT"}, VALID), "no alg"),
    # Headers that say what nobody understands.
    ("malformed", signed(VALID, header={"kid": 5}), "kid is a number"),
    ("malformed", signed(VALID, header={"kid": None}), "kid is null"),
    ("malformed", signed(VALID, header={"kid": "x" * 201}), "kid is long"),
    ("malformed", signed(VALID, header={"crit": ["exp"]}), "crit"),
    ("malformed", signed(VALID, header={"crit": ["b64"], "b64": True}), "crit that other libraries take"),
    ("malformed", signed(VALID, header={"b64": False}), "a detached payload"),
    ("malformed", signed(VALID, header={"zip": "DEF"}), "a compressed payload"),
    ("malformed", token_of(b'{"alg":"HS256","alg":"none"}', VALID), "two algs"),
    ("malformed", token_of(b"[]", VALID), "a list for a header"),
    ("malformed", token_of(b"no", VALID), "a header that is not JSON"),
    ("malformed", token_of(b"", VALID), "no header"),
    ("malformed", token_of(b"\xff", VALID), "a header that is not UTF-8"),
    ("malformed", token_of(b"[" * 4_000, VALID), "a deep header"),
    # Claims that are none.
    ("malformed", token_of({"alg": "HS256"}, b"[]"), "a list for claims"),
    ("malformed", token_of({"alg": "HS256"}, b'"u1"'), "text for claims"),
    ("malformed", token_of({"alg": "HS256"}, b"5"), "a number for claims"),
    ("malformed", token_of({"alg": "HS256"}, b"null"), "null for claims"),
    ("malformed", token_of({"alg": "HS256"}, b""), "no claims"),
    ("malformed", token_of({"alg": "HS256"}, b"\xff"), "claims that are not UTF-8"),
    ("malformed", token_of({"alg": "HS256"}, b"[" * 4_000), "deep claims"),
    ("malformed", token_of({"alg": "HS256"}, b'{"sub":"u1","sub":"root"}'), "two users"),
    # Texts that are no tokens.
    ("malformed", "token", "one part"),
    ("malformed", f"{HEADER}.{PAYLOAD}", "two parts"),
    ("malformed", f"{HEADER}.{PAYLOAD}.{SIGNATURE}.x", "four parts"),
    ("malformed", f"{HEADER}.{PAYLOAD}.{SIGNATURE}.x.y.z", "six parts"),
    ("malformed", "...", "empty parts"),
    ("malformed", f"{HEADER}.?.{SIGNATURE}", "not base 64"),
    ("malformed", f"{HEADER}.{PAYLOAD}.{SIGNATURE}=", "padding"),
    ("malformed", f"{HEADER}.{PAYLOAD}.{SIGNATURE}\n", "a line end"),
    ("malformed", f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}+", "base 64 of the other kind"),
    (
        "malformed",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}{chr(ord(SIGNATURE[-1]) + 1)}",
        "loose bits at the end",
    ),
    ("malformed", "Bearer " + signed(VALID), "with its scheme"),
    ("malformed", '{"payload":"e30","signatures":[]}', "the JSON serialization"),
    ("malformed", "ü.ü.ü", "letters beyond ASCII"),
    ("malformed", "\ud800", "half a character"),
    ("malformed", "a.\x00.b", "a NUL"),
    ("malformed", " ", "white space"),
    ("malformed", "x" * 8_193, "too long"),
    ("malformed", signed({**VALID, "x": "y" * 9_000}), "valid, but too long"),
    # Encrypted ones.
    ("malformed", "....", "five empty parts"),
    ("wrong_algorithm", sealed({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "rsa"}), "for our RSA key"),
    ("wrong_algorithm", sealed({"alg": "A256KW", "enc": "A256GCM"}), "with a wrapped key"),
    ("wrong_algorithm", sealed({"alg": "dir", "enc": "A128GCM"}), "with another cipher"),
    ("wrong_algorithm", sealed({"alg": "dir"}), "with no cipher"),
    ("malformed", sealed({"alg": "dir", "enc": 5}), "enc is a number"),
    ("malformed", sealed({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}), "compressed: it could be a bomb"),
    ("bad_signature", sealed({"alg": "dir", "enc": "A256GCM"}), "of random bytes"),
    ("bad_signature", sealed({"alg": "dir", "enc": "A256CBC-HS512", "kid": "evil"}), "under another name"),
]


@pytest.mark.parametrize(("reason", "token"), [pytest.param(*row[:2], id=row[2]) for row in FORGERIES])
def test_forged_or_broken(reason: str, token: str) -> None:
    """What is not signed by a key of ours in its own way is rejected with the reason, twice the same."""
    verifier = TokenVerifier(MANY)

    for _ in range(2):  # The second time it is remembered.
        with pytest.raises(TokenRejected) as caught:
            verifier.verify(token, NOW)
        assert caught.value.reason == reason


@pytest.mark.parametrize("token", [pytest.param(row[1], id=row[2]) for row in FORGERIES if len(row[1]) > 10])
def test_tokens_stay_out_of_tracebacks(token: str) -> None:
    """Neither the rejection nor what led to it has a word of the token."""
    with pytest.raises(TokenRejected) as caught:
        verify(token, MANY)

    said = "".join(traceback.format_exception(caught.value))
    assert not any(part in said for part in token.split(".") if len(part) > 10)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
header_names = st.sampled_from(["alg", "kid", "crit", "typ", "b64", "enc", "zip"])
claim_names = st.sampled_from(["sub", "userId", "exp", "nbf", "iat", "aud", "jti", "roles", "role", "rooms"])


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(claim_names, json_values).map(lambda changes: signed({**VALID, **changes}))
    | st.dictionaries(header_names, json_values).map(lambda header: signed(VALID, header=header))
    | st.dictionaries(header_names, json_values).map(lambda header: sealed({"alg": "dir", **header}))
    | st.text()
    | st.binary(max_size=200).map(lambda data: data.decode("utf-8", "surrogateescape"))
    | st.lists(st.binary(max_size=20).map(base64url), min_size=3, max_size=5).map(".".join)
    | st.tuples(st.integers(0, len(signed(VALID)) - 1), st.characters()).map(
        lambda change: signed(VALID)[: change[0]] + change[1] + signed(VALID)[change[0] + 1 :]
    )
)
@example(token_of({"alg": "HS256"}, b'{"sub":"u1","exp":1e400}'))
@example(token_of({"alg": "HS256"}, b'{"sub":"u1","exp":' + b"9" * 5_000 + b"}"))
def test_any_token(token: str) -> None:
    """Whatever is sent for a token, it names a user that can have a room, or is rejected."""
    try:
        principal = verify(token, MANY)
    except TokenRejected:
        return
    assert parse_room(user_room(principal.user_id))
    assert principal.expires_at > NOW
