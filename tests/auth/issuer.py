"""An issuer of tokens for tests: keys of every kind, and tokens that say whatever a test wants."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from bridge.auth.claims import ClaimRules
from bridge.auth.keys import key_from_pem, key_from_secret
from bridge.auth.tokens import TokenRules, TokenVerifier
from bridge.core.access import Principal

SECRET = "0123456789abcdef0123456789abcdef"
OTHER_SECRET = "fedcba9876543210fedcba9876543210"
LONG_SECRET = SECRET * 2
NOW = 1_800_000_000.0
HOUR = 3_600.0
LEEWAY = 5.0
VALID: dict[str, Any] = {"sub": "u1", "exp": int(NOW + HOUR)}
RULES = TokenRules(keys=(key_from_secret(SECRET, "HS256"),), claims=ClaimRules(leeway_seconds=LEEWAY))
CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}


def base64url(data: bytes) -> str:
    """Return base64url without padding, as tokens are written."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token_of(
    header: bytes | Mapping[str, Any], claims: bytes | Mapping[str, Any], *, secret: str = SECRET
) -> str:
    """Return a token with an HMAC by SHA-256, whatever its header and claims say."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    unsigned = ".".join(map(base64url, parts))
    signature = jwt.get_algorithm_by_name("HS256").sign(unsigned.encode(), secret.encode())
    return f"{unsigned}.{base64url(signature)}"


def signed(
    claims: Mapping[str, Any], *, secret: str = SECRET, header: Mapping[str, Any] | None = None
) -> str:
    """Return such a token, with a header that is right but for what the test changes."""
    return token_of({"typ": "JWT", "alg": "HS256", **(header or {})}, claims, secret=secret)


@cache
def private_key(kind: str, number: int) -> Any:  # noqa: ANN401, ARG001 - of many classes; the number tells apart
    """Return a private key: the same for the same arguments, since making one takes long."""
    match kind:
        case "RSA":
            return rsa.generate_private_key(65_537, 2_048)
        case "weak RSA":
            return rsa.generate_private_key(65_537, 1_024)  # noqa: S505 - to be refused
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "Ed448":
            return ed448.Ed448PrivateKey.generate()
        case curve:
            return ec.generate_private_key(CURVES[curve])


def private_pem(kind: str, number: int = 0) -> bytes:
    """Return a private key as a PEM file has it."""
    pem: bytes = private_key(kind, number).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


def public_pem(kind: str, number: int = 0) -> bytes:
    """Return a public key as a PEM file has it."""
    pem: bytes = (
        private_key(kind, number)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return pem


def jwk(
    algorithm: str, kind: str, number: int = 0, *, private: bool = False, **members: object
) -> dict[str, Any]:
    """Return a key as a JSON Web Key."""
    key = private_key(kind, number)
    method = jwt.get_algorithm_by_name(algorithm)
    written: dict[str, Any] = method.to_jwk(key if private else key.public_key(), as_dict=True)
    written.pop("key_ops", None)
    return {**written, **members}


def jwks(*keys: Mapping[str, Any]) -> bytes:
    """Return a JSON Web Key Set."""
    return json.dumps({"keys": keys}).encode()


def issued(
    algorithm: str, kind: str, number: int = 0, *, kid: str = "", claims: Mapping[str, Any] = VALID
) -> str:
    """Return a token signed with a private key."""
    return key_from_pem(private_pem(kind, number), algorithm, kid=kid).sign(claims)


def verify(token: str, rules: TokenRules = RULES, *, now: float = NOW) -> Principal:
    """Return whom a token names."""
    return TokenVerifier(rules).verify(token, now)
