"""Encrypted session tokens as NextAuth.js 4 and Auth.js 5 issue them: JWE (RFC 7516) with a shared secret.

The key is derived from the secret with HKDF-SHA256 and used directly (`"alg": "dir"`):

| issuer        | enc           | salt             | info                                             |
|---------------|---------------|------------------|--------------------------------------------------|
| NextAuth.js 4 | A256GCM       | empty            | NextAuth.js Generated Encryption Key             |
| Auth.js 5     | A256CBC-HS512 | the cookie name  | Auth.js Generated Encryption Key (the cookie name) |

The `kid` of the latter is the thumbprint of the derived key. https://authjs.dev/reference/core/jwt
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from bridge.auth.compact import parse_header
from bridge.core.errors import TokenRejected

NEXTAUTH_4 = "A256GCM"
AUTHJS_5 = "A256CBC-HS512"
KEY_BYTES = {NEXTAUTH_4: 32, AUTHJS_5: 64}
SESSION_KEYS_MAX = 16  # Tried for one token.


@dataclass(frozen=True, slots=True, eq=False)
class _SessionKey:
    encryption: str
    kid: str
    key: OctKey = field(repr=False)

    def open(self, token: str) -> bytes | None:
        """Return what a token holds, None if it is not sealed with this key."""
        try:
            opened = jwe.decrypt_compact(token, self.key, algorithms=["dir", self.encryption])
        except (JoseError, InvalidTag, ValueError):
            return None
        return opened.plaintext


class SessionKeys:
    """The keys that are derived from secrets."""

    def __init__(self, secrets: Iterable[str], salts: Iterable[str]) -> None:
        """Derive every key. `salts` are the names of the session cookies of Auth.js 5."""
        names = tuple(salts)
        keys = [
            key
            for secret in secrets
            for key in (
                _derived(secret, NEXTAUTH_4, ""),
                *(_derived(secret, AUTHJS_5, salt) for salt in names),
            )
        ]
        self._keys = keys[:SESSION_KEYS_MAX]

    def open(self, token: str) -> bytes:
        """Return the payload of an encrypted session token.

        Raises:
            TokenRejected: it is none, or not sealed with one of the secrets.
        """
        header = parse_header(token.partition(".")[0].encode("ascii"))
        fitting = [key for key in self._keys if key.encryption == header.encryption]
        if header.algorithm != "dir" or not fitting:
            raise TokenRejected("wrong_algorithm", "the token is encrypted in a way that is not known here")
        for key in fitting:
            if header.kid in ("", key.kid) and (payload := key.open(token)) is not None:
                return payload
        raise TokenRejected("bad_signature", "the token is not sealed with our secret")


def _derived(secret: str, encryption: str, salt: str) -> _SessionKey:
    product = "NextAuth.js" if encryption == NEXTAUTH_4 else "Auth.js"
    info = f"{product} Generated Encryption Key" + (f" ({salt})" if salt else "")
    length = KEY_BYTES[encryption]
    data = HKDF(hashes.SHA256(), length, salt=salt.encode(), info=info.encode()).derive(secret.encode())
    return _SessionKey(encryption, _thumbprint(data), OctKey.import_key(data))


def _thumbprint(key: bytes) -> str:
    """Return the thumbprint of a secret (RFC 7638), with the hash that is as long as the secret."""
    members = b'{"k":"%s","kty":"oct"}' % base64.urlsafe_b64encode(key).rstrip(b"=")
    digest = hashlib.new(f"sha{len(key) * 8}", members).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
