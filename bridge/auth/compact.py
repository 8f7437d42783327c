"""The compact serialization of JOSE: header, payload and signature, each in base64url, between dots.

Strict where decoders are often lenient: no padding, no stray characters, no loose bits at an end, and no
name twice in an object. Nothing here is verified yet.
"""

from __future__ import annotations

import binascii
from typing import Any, NamedTuple

import jiter

from bridge.auth.keys import KID_CHARACTERS_MAX
from bridge.core.errors import TokenRejected

SIGNED_DOTS = 2  # RFC 7515 section 7.1
ENCRYPTED_DOTS = 4  # RFC 7516 section 7.1
# What base64url does not have becomes a character that base64 does not have either.
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/\0\0\0")


class Header(NamedTuple):
    """What a token says about itself. Attackers write it, too."""

    algorithm: str
    kid: str
    encryption: str


class SignedToken(NamedTuple):
    """A signed token taken apart. `payload` means nothing until the signature of `signed` is verified."""

    header: Header
    signed: bytes
    payload: bytes
    signature: bytes


def malformed() -> TokenRejected:
    """Return the rejection of what is no token at all."""
    return TokenRejected("malformed", "the token is not a JSON Web Token")


def parse_signed(token: str) -> SignedToken:
    """Take a signed token (JWS, RFC 7515) apart. It must be ASCII.

    Raises:
        TokenRejected: it is none.
    """
    signed, _, signature = token.encode("ascii").rpartition(b".")
    header, _, payload = signed.partition(b".")
    return SignedToken(parse_header(header), signed, _decoded(payload), _decoded(signature))


def parse_header(segment: bytes) -> Header:
    """Read a header. Of its parameters only `alg`, `enc` and `kid` count; keys in it are never used.

    Raises:
        TokenRejected: it is none, or asks for an extension: none is known here (RFC 7515 section 4.1.11).
    """
    header = parse_object(_decoded(segment))
    algorithm, kid, encryption = header.get("alg"), header.get("kid", ""), header.get("enc", "")
    if not isinstance(kid, str) or len(kid) > KID_CHARACTERS_MAX or not isinstance(encryption, str):
        raise malformed()
    if "crit" in header or "b64" in header or "zip" in header:
        raise malformed()
    return Header(algorithm if isinstance(algorithm, str) else "", kid, encryption)


def parse_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        TokenRejected: it is none.
    """
    try:
        value = jiter.from_json(data, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError:
        raise malformed() from None
    if not isinstance(value, dict):
        raise malformed()
    return value


def _decoded(segment: bytes) -> bytes:
    base64 = segment.translate(_TO_BASE64) + b"=" * (-len(segment) % 4)
    try:
        data = binascii.a2b_base64(base64, strict_mode=True)
    except binascii.Error:
        raise malformed() from None
    if binascii.b2a_base64(data, newline=False) != base64:  # Another spelling of the same bytes.
        raise malformed()
    return data
