"""Keys: which are taken, for which algorithm, and what is said of the others."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given, settings, strategies as st

from bridge.auth.keys import (
    ALGORITHMS,
    HMAC_BYTES_MIN,
    KEYS_TRIED_MAX,
    KeySet,
    KeyUnusableError,
    key_from_jwk,
    key_from_pem,
    key_from_secret,
)
from bridge.core.errors import TokenRejected
from tests.auth.issuer import (
    LONG_SECRET,
    NOW,
    RULES,
    SECRET,
    VALID,
    base64url,
    issued,
    jwk,
    private_key,
    private_pem,
    public_pem,
    verify,
)

PAIRS = [
    # algorithm, kind of key
    ("RS256", "RSA"),
    ("RS384", "RSA"),
    ("RS512", "RSA"),
    ("PS256", "RSA"),
    ("PS384", "RSA"),
    ("PS512", "RSA"),
    ("ES256", "P-256"),
    ("ES384", "P-384"),
    ("ES512", "P-521"),
    ("EdDSA", "Ed25519"),
]


def test_every_algorithm_is_tested() -> None:
    """The table above and the secrets are all that there is."""
    assert {algorithm for algorithm, _ in PAIRS} | HMAC_BYTES_MIN.keys() == ALGORITHMS


@pytest.mark.parametrize(("algorithm", "kind"), PAIRS)
def test_asymmetric_keys(algorithm: str, kind: str) -> None:
    """A token signed with the private key is verified with the public one, from PEM and from a JWK."""
    token = issued(algorithm, kind, kid="k1")
    keys = (
        key_from_pem(public_pem(kind), algorithm, kid="k1"),
        key_from_jwk(jwk(algorithm, kind, kid="k1", alg=algorithm), symmetric=False),
    )

    for key in keys:
        assert verify(token, replace(RULES, keys=(key,))).user_id == "u1"


@pytest.mark.parametrize("algorithm", HMAC_BYTES_MIN)
def test_secrets(algorithm: str) -> None:
    """A secret verifies what it signed, with each hash, as text and as a JWK."""
    key = key_from_secret(LONG_SECRET, algorithm)
    written = {"kty": "oct", "k": base64url(LONG_SECRET.encode()), "alg": algorithm}

    for same in (key, key_from_jwk(written, symmetric=True)):
        assert verify(key.sign(VALID), replace(RULES, keys=(same,))).user_id == "u1"


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("own", sorted(ALGORITHMS))
def test_one_algorithm_for_each_key(own: str, algorithm: str) -> None:
    """A key verifies what says its own algorithm, and nothing else."""
    kinds = dict(PAIRS)
    if own in HMAC_BYTES_MIN:
        key = key_from_secret(LONG_SECRET, own)
    else:
        key = key_from_pem(public_pem(kinds[own]), own)
    if algorithm in HMAC_BYTES_MIN:
        token = key_from_secret(LONG_SECRET, algorithm).sign(VALID)
    else:
        token = issued(algorithm, kinds[algorithm])

    if algorithm == own:
        assert verify(token, replace(RULES, keys=(key,))).user_id == "u1"
    else:
        with pytest.raises(TokenRejected) as caught:
            verify(token, replace(RULES, keys=(key,)))
        assert caught.value.reason == "wrong_algorithm"


def certificate() -> bytes:
    """Return a certificate of the RSA key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    day = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    key = private_key("RSA", 0)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(day).not_valid_after(day + dt.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("pem", "signs"),
    [(public_pem("RSA"), False), (private_pem("RSA"), True), (certificate(), False)],
    ids=["public", "private", "certificate"],
)
def test_pem_files(pem: bytes, *, signs: bool) -> None:
    """A PEM file may hold a public key, a private key, which can sign as well, or a certificate."""
    key = key_from_pem(pem)

    assert (key.algorithm, key.signs) == ("RS256", signs)
    assert verify(issued("RS256", "RSA"), replace(RULES, keys=(key,))).user_id == "u1"


def locked() -> bytes:
    """Return a private key with a pass phrase."""
    locked: bytes = private_key("P-256", 0).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"phrase"),
    )
    return locked


BAD_PEM = [
    (b"", None, "is no public or private key"),
    (b"no key", None, "is no public or private key"),
    (b"\xff\x00", None, "is no public or private key"),
    (public_pem("RSA")[:-60], None, "is no public or private key"),
    (b"-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----\n", None, "is no public or private key"),
    (b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n", None, "is no public or private key"),
    (locked(), None, "is protected by a pass phrase"),
    (public_pem("weak RSA"), None, "is an RSA key of 1024 bits"),
    (public_pem("secp256k1"), None, "is of a kind that signs no tokens here"),
    (public_pem("P-256"), "ES384", "does not fit the algorithm ES384; set it to ES256"),
    (public_pem("P-256"), "RS256", "does not fit the algorithm RS256; set it to ES256"),
    (public_pem("RSA"), "HS256", "does not fit the algorithm HS256"),
    (public_pem("RSA"), "none", "does not fit the algorithm none"),
]


@pytest.mark.parametrize(("pem", "algorithm", "problem"), BAD_PEM, ids=[row[2] for row in BAD_PEM])
def test_unusable_pem(pem: bytes, algorithm: str | None, problem: str) -> None:
    """What is no key for tokens is refused, with what to do."""
    with pytest.raises(KeyUnusableError) as caught:
        key_from_pem(pem, algorithm)

    assert str(caught.value).startswith(problem)
    assert caught.value.remedy


BAD_SECRETS = [
    ("", "HS256", "is shorter than 32 bytes"),
    (SECRET[:-1], "HS256", "is shorter than 32 bytes, which HS256 needs; generate one: openssl rand -hex 32"),
    (SECRET, "HS384", "is shorter than 48 bytes"),
    (SECRET, "HS512", "is shorter than 64 bytes"),
    (SECRET, "RS256", "a secret does not sign with RS256"),
    (SECRET, "none", "a secret does not sign with none"),
    (public_pem("RSA").decode(), "HS256", "is an asymmetric key or a certificate"),
    (public_pem("P-256").decode(), "HS256", "is an asymmetric key or a certificate"),
    (certificate().decode(), "HS256", "is an asymmetric key or a certificate"),
]


@pytest.mark.parametrize(("secret", "algorithm", "problem"), BAD_SECRETS)
def test_unusable_secrets(secret: str, algorithm: str, problem: str) -> None:
    """A secret that is too short, or that is really a public key, is refused, and not shown."""
    with pytest.raises(KeyUnusableError) as caught:
        key_from_secret(secret, algorithm)

    assert str(caught.value).startswith(problem)
    assert not secret or secret not in str(caught.value)


OCT = {"kty": "oct", "k": base64url(SECRET.encode())}
BAD_JWKS: list[tuple[object, str]] = [
    ([], "is not a JSON object"),
    ({}, "is of a kind that is not known here"),
    ({"kty": ["RSA"]}, "is of a kind that is not known here"),
    ({"kty": "AKP"}, "is of a kind that is not known here"),
    ({"kty": "RSA"}, "is broken"),
    ({"kty": "RSA", "n": 5, "e": "AQAB"}, "is broken"),
    ({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, "is broken"),
    ({"kty": "OKP", "crv": "X25519", "x": "AA"}, "is broken"),
    (jwk("RS256", "RSA", kid=5), "has a kid that is no text"),
    (jwk("RS256", "RSA", kid="x" * 201), "has a kid that is no text"),
    (jwk("RS256", "RSA", use="enc"), "is not for verifying signatures"),
    (jwk("RS256", "RSA", key_ops=["sign"]), "is not for verifying signatures"),
    (jwk("RS256", "RSA", key_ops=5), "is not for verifying signatures"),
    (jwk("RS256", "RSA", alg=5), "has an alg that is no text"),
    (jwk("RS256", "RSA", alg="HS256"), "does not fit the algorithm HS256"),
    (jwk("RS256", "RSA", alg="RSA-OAEP"), "does not fit the algorithm RSA-OAEP"),
    (jwk("RS256", "RSA", alg="none"), "does not fit the algorithm none"),
    (jwk("RS256", "weak RSA"), "is an RSA key of 1024 bits"),
    (jwk("RS256", "RSA", private=True), "comes with its private half"),
    (jwk("ES256", "P-256", crv="P-384"), "is broken"),
    (jwk("ES256K", "secp256k1"), "is of a kind that signs no tokens here"),
    (OCT, "is a secret, which no URL should give away"),
]


@pytest.mark.parametrize(("written", "problem"), BAD_JWKS)
def test_unusable_jwk(written: object, problem: str) -> None:
    """A JSON Web Key that is published is refused unless it is a sound public key for signatures."""
    with pytest.raises(KeyUnusableError) as caught:
        key_from_jwk(written, symmetric=False)

    assert str(caught.value).startswith(problem)


def test_private_keys_in_a_file() -> None:
    """A set that is not published may hold secrets and private keys; short secrets are refused there, too."""
    assert key_from_jwk(OCT, symmetric=True).algorithm == "HS256"
    assert key_from_jwk(jwk("RS256", "RSA", private=True), symmetric=True).signs
    with pytest.raises(KeyUnusableError, match="is shorter than 64 bytes"):
        key_from_jwk({**OCT, "alg": "HS512"}, symmetric=True)


NAMED = [
    # names of the keys      name in the token      is the key found?
    (("a", "b"), "a", True),
    (("a", "b"), "b", True),
    (("a", "b"), "c", False),
    (("a", "b"), "", True),  # Without a name all that fit are tried.
    (("",), "c", True),  # A key without a name is tried for every name
    (("", "c"), "c", True),
    (("c", "c"), "c", True),  # Two keys may share a name, while one follows the other.
]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(("names", "asked", "found"), NAMED)
def test_names(names: tuple[str, ...], asked: str, *, found: bool, last: bool) -> None:
    """The kid of a token chooses the key; it is found wherever it stands."""
    token = issued("ES256", "P-256", 0, kid=asked)
    right = {asked} & set(names) or ({""} & set(names)) or {names[-1]}
    keys = [
        key_from_pem(public_pem("P-256", 0 if name in right else 1 + number), kid=name)
        for number, name in enumerate(names)
    ]
    rules = replace(RULES, keys=tuple(keys if last else reversed(keys)))

    if found:
        assert verify(token, rules).user_id == "u1"
    else:
        with pytest.raises(TokenRejected) as caught:
            verify(token, rules)
        assert caught.value.reason == "unknown_key"


def test_a_name_is_binding() -> None:
    """Where a key has the name, no other is tried, not even one without a name."""
    named, unnamed = public_pem("P-256", 1), public_pem("P-256", 0)
    rules = replace(RULES, keys=(key_from_pem(named, kid="a"), key_from_pem(unnamed)))

    with pytest.raises(TokenRejected) as caught:
        verify(issued("ES256", "P-256", 0, kid="a"), rules)

    assert caught.value.reason == "bad_signature"


def test_so_many_are_tried() -> None:
    """For a token without a name so many keys are tried, and no more."""
    others = [key_from_pem(public_pem("P-256", 1 + number)) for number in range(KEYS_TRIED_MAX)]
    ours = key_from_pem(public_pem("P-256", 0))
    token = issued("ES256", "P-256", 0)

    assert len(KeySet([*others, ours]).candidates("", "ES256")) == KEYS_TRIED_MAX
    assert verify(token, replace(RULES, keys=(*others[1:], ours)), now=NOW).user_id == "u1"
    with pytest.raises(TokenRejected):
        verify(token, replace(RULES, keys=(*others, ours)), now=NOW)


def test_keys_are_not_shown() -> None:
    """Rules that get into a log or a traceback do not give a secret away."""
    assert SECRET not in repr(RULES)
    assert SECRET not in repr(RULES.keys[0])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
members = st.sampled_from(
    ["kty", "kid", "alg", "use", "key_ops", "crv", "n", "e", "d", "p", "q", "x", "y", "k", "oth"]
)
WHOLE = [
    jwk("RS256", "RSA"),
    jwk("RS256", "RSA", private=True),
    jwk("ES256", "P-256"),
    jwk("ES256", "P-256", private=True),
    jwk("EdDSA", "Ed25519"),
    OCT,
]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(WHOLE),
    st.dictionaries(members, json_values | st.sampled_from(["", "AQAB", "AA", "RSA", "P-521"]), max_size=3),
    st.booleans(),
)
def test_any_jwk(whole: dict[str, object], changes: dict[str, object], symmetric: bool) -> None:  # noqa: FBT001
    """Whatever an issuer publishes for a key, it is a key with a known algorithm, or is refused."""
    try:
        key = key_from_jwk({**whole, **changes}, symmetric=symmetric)
    except KeyUnusableError:
        return
    assert key.algorithm in ALGORITHMS
    assert symmetric or not key.signs
