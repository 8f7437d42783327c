"""Keys that tokens are signed with. Each has one algorithm, fixed when the key is made.

The `alg` of a token chooses among keys and never how one of them is used (RFC 8725 section 3.1), so an RSA
public key never verifies an HMAC, and `none` fits no key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

HMAC_BYTES_MIN = {"HS256": 32, "HS384": 48, "HS512": 64}  # The length of the hash: RFC 7518 section 3.2.
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
PUBLIC_KEY_ALGORITHMS = frozenset({*RSA_ALGORITHMS, *CURVE_ALGORITHMS.values(), "EdDSA"})
ALGORITHMS = frozenset({*HMAC_BYTES_MIN, *PUBLIC_KEY_ALGORITHMS})
RSA_BITS_MIN = 2_048  # RFC 7518 section 3.3.
KID_CHARACTERS_MAX = 200
KEYS_TRIED_MAX = 8  # For one token: a signature costs up to 0.1 ms to verify.

_KEY_TYPES = {"oct": "HS256", "RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}  # Each with one that reads it.


class KeyUnusableError(Exception):
    """A key that cannot be used. The texts say why and what to do, and hold nothing of the key."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """A key, its algorithm, and its name; a key without a name is tried for every name."""

    algorithm: str
    kid: str
    _method: Any = field(repr=False)  # PyJWT's implementation of the algorithm.
    _public: Any = field(repr=False)
    _private: Any = field(repr=False)  # None where only the public half is known.

    @property
    def signs(self) -> bool:
        """Whether it can sign tokens, too."""
        return self._private is not None

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Tell whether the signature is by this key."""
        return bool(self._method.verify(signed, self._public, signature))

    def only_verifying(self) -> Key:
        """Return the key as one that signs nothing more."""
        return replace(self, _private=None)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a token with these claims. The key must be one that `signs`."""
        headers = {"kid": self.kid} if self.kid else None
        return jwt.encode(dict(claims), self._private, algorithm=self.algorithm, headers=headers)


class KeySet:
    """All keys that count at a time. Immutable."""

    def __init__(self, keys: Iterable[Key]) -> None:
        """Sort these keys by what tokens ask for."""
        self.keys = tuple(keys)
        self.algorithms = frozenset(key.algorithm for key in self.keys)
        self.names = frozenset(key.kid for key in self.keys if key.kid)
        self._named: dict[tuple[str, str], list[Key]] = defaultdict(list)  # By name and algorithm.
        self._fitting: dict[str, list[Key]] = defaultdict(list)  # By algorithm.
        for key in self.keys:
            _put(self._named[key.kid, key.algorithm], key)
            _put(self._fitting[key.algorithm], key)

    def candidates(self, kid: str, algorithm: str) -> Sequence[Key]:
        """Return the keys, KEYS_TRIED_MAX at most, that may have signed a token with this header."""
        if not kid:
            return self._fitting.get(algorithm, ())
        return self._named.get((kid if kid in self.names else "", algorithm), ())


def _put(keys: list[Key], key: Key) -> None:
    if len(keys) < KEYS_TRIED_MAX:
        keys.append(key)


def key_from_secret(secret: str | bytes, algorithm: str, *, kid: str = "") -> Key:
    """Return the HMAC key that a secret is.

    Raises:
        KeyUnusableError: the secret is shorter than the hash, or is another kind of key.
    """
    if algorithm not in HMAC_BYTES_MIN:
        raise KeyUnusableError(
            f"a secret does not sign with {algorithm}", f"choose one of {', '.join(HMAC_BYTES_MIN)}"
        )
    bytes_min = HMAC_BYTES_MIN[algorithm]
    data = secret.encode() if isinstance(secret, str) else secret
    if len(data) < bytes_min:
        raise KeyUnusableError(
            f"is shorter than {bytes_min} bytes, which {algorithm} needs",
            f"generate one: openssl rand -hex {bytes_min}",
        )
    method = jwt.get_algorithm_by_name(algorithm)
    try:
        method.prepare_key(data)
    except jwt.InvalidKeyError:
        raise KeyUnusableError(
            "is an asymmetric key or a certificate, which must never serve as a secret",
            "put it into a file and name that under [[auth.key]]",
        ) from None
    return Key(algorithm, kid, method, data, data)


def key_from_pem(data: bytes, algorithm: str | None = None, *, kid: str = "") -> Key:
    """Return the key in a PEM file: a public or private key, or a certificate, which is not checked.

    RSA keys verify RS256 unless `algorithm` says otherwise; a curve has one algorithm.

    Raises:
        KeyUnusableError: it cannot be read, is too weak, or does not fit the algorithm.
    """
    try:
        return _asymmetric(_read_pem(data), algorithm, kid)
    except TypeError:
        raise KeyUnusableError(
            "is protected by a pass phrase", "write it without: openssl pkey -in … -out …"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusableError(
            "is no public or private key in PEM, nor a certificate",
            "export the public key: openssl pkey -in private.pem -pubout -out public.pem",
        ) from None


def _read_pem(data: bytes) -> Any:  # noqa: ANN401 - whatever key it is
    if b"PRIVATE KEY-----" in data:
        return serialization.load_pem_private_key(data, password=None)
    if b"BEGIN CERTIFICATE-----" in data:
        return x509.load_pem_x509_certificate(data).public_key()
    return serialization.load_pem_public_key(data)


def key_from_jwk(jwk: object, *, symmetric: bool) -> Key:
    """Return the key of one JSON Web Key (RFC 7517). Without an `alg`, an RSA key is for RS256.

    `symmetric`: whether a secret (`oct`) may be among them, as in a file that nobody else can read.

    Raises:
        KeyUnusableError: it is of a kind that is not known, not for signatures, too weak, or broken.
    """
    if not isinstance(jwk, dict):
        raise KeyUnusableError("is not a JSON object", "write keys as in RFC 7517")
    kid, stated, kind = jwk.get("kid", ""), jwk.get("alg"), jwk.get("kty")
    if not isinstance(kid, str) or len(kid) > KID_CHARACTERS_MAX:
        raise KeyUnusableError(
            "has a kid that is no text of a sensible length", f"use {KID_CHARACTERS_MAX} characters at most"
        )
    if not isinstance(kind, str) or kind not in _KEY_TYPES:
        raise KeyUnusableError("is of a kind that is not known here", f"use one of {', '.join(_KEY_TYPES)}")
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise KeyUnusableError("is not for verifying signatures", "nothing has to be done")
    if not isinstance(stated, str | None):
        raise KeyUnusableError("has an alg that is no text", "write keys as in RFC 7517")
    if kind != "oct" and "d" in jwk and not symmetric:
        raise KeyUnusableError(
            "comes with its private half for everybody to read", "have the issuer make a new one at once"
        )
    if kind == "oct" and not symmetric:
        raise KeyUnusableError("is a secret, which no URL should give away", "use auth.secret instead")
    try:
        material = jwt.PyJWK(jwk, algorithm=_KEY_TYPES[kind]).key
        if kind == "oct":
            return key_from_secret(material, stated or "HS256", kid=kid)
        return _asymmetric(material, stated, kid)
    except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
        # Their texts quote the key, which may be a secret.
        raise KeyUnusableError("is broken", "compare it with RFC 7518 section 6") from None


def _asymmetric(material: Any, stated: str | None, kid: str) -> Key:  # noqa: ANN401 - one of many classes
    """Make a key of what the cryptography library has read."""
    has_private = hasattr(material, "public_key")
    public = material.public_key() if has_private else material
    match public:
        case rsa.RSAPublicKey():
            fitting: Sequence[str] = RSA_ALGORITHMS
            if public.key_size < RSA_BITS_MIN:
                raise KeyUnusableError(
                    f"is an RSA key of {public.key_size} bits", f"use one of {RSA_BITS_MIN} bits or more"
                )
        case ec.EllipticCurvePublicKey() if public.curve.name in CURVE_ALGORITHMS:
            fitting = (CURVE_ALGORITHMS[public.curve.name],)
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            fitting = ("EdDSA",)
        case _:
            raise KeyUnusableError(
                "is of a kind that signs no tokens here", "use RSA, P-256, P-384, P-521 or Ed25519"
            )
    algorithm = stated or fitting[0]
    if algorithm not in fitting:
        raise KeyUnusableError(
            f"does not fit the algorithm {algorithm[:20]}", f"set it to {' or '.join(fitting)}"
        )
    method = jwt.get_algorithm_by_name(algorithm)
    return Key(algorithm, kid, method, public, material if has_private else None)
