"""Session tokens as NextAuth.js 4 and Auth.js 5 seal them, from the primitives up: no code of the bridge's.

Whether this is how they do it is seen where tokens that their own code has made are opened: `test_sessions`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

COOKIE = "authjs.session-token"
HALF_BYTES = 32  # Of the key of A256CBC-HS512 (RFC 7518 section 5.2.5).


def session_claims(user_id: str, *, seconds: float = 3_600.0) -> dict[str, object]:
    """Return what a session says by default."""
    now = int(time.time())
    return {
        "name": "Ann",
        "email": "ann@example.com",
        "sub": user_id,
        "iat": now,
        "exp": now + int(seconds),
        "jti": str(uuid4()),
    }


def nextauth_4(claims: dict[str, object], secret: str) -> str:
    """Seal a session as next-auth 4 does: A256GCM (RFC 7518 section 5.3)."""
    key = _derived(secret, "", "NextAuth.js Generated Encryption Key", 32)
    header, iv = _header({"alg": "dir", "enc": "A256GCM"}), os.urandom(12)
    sealed = AESGCM(key).encrypt(iv, json.dumps(claims).encode(), header.encode())
    return ".".join((header, "", _text(iv), _text(sealed[:-16]), _text(sealed[-16:])))


def authjs_5(claims: dict[str, object], secret: str) -> str:
    """Seal a session as Auth.js 5 does: A256CBC-HS512 (RFC 7518 section 5.2), salted with the cookie."""
    key = _derived(secret, COOKIE, f"Auth.js Generated Encryption Key ({COOKIE})", 2 * HALF_BYTES)
    thumbprint = hashlib.sha512(json.dumps({"k": _text(key), "kty": "oct"}, separators=(",", ":")).encode())
    header = _header({"alg": "dir", "enc": "A256CBC-HS512", "kid": _text(thumbprint.digest())})
    iv, padder = os.urandom(16), padding.PKCS7(128).padder()
    padded = padder.update(json.dumps(claims).encode()) + padder.finalize()
    encryptor = Cipher(algorithms.AES(key[HALF_BYTES:]), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padded) + encryptor.finalize()
    aad = header.encode()
    tag = hmac.digest(key[:HALF_BYTES], aad + iv + sealed + (len(aad) * 8).to_bytes(8), "sha512")[:HALF_BYTES]
    return ".".join((header, "", _text(iv), _text(sealed), _text(tag)))


def signed(claims: dict[str, object], secret: str) -> str:
    """Sign a session, as an `encode` of a platform's own does."""
    return jwt.encode(claims, secret, algorithm="HS256")


def _derived(secret: str, salt: str, info: str, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt=salt.encode(), info=info.encode()).derive(secret.encode())


def _header(members: dict[str, str]) -> str:
    return _text(json.dumps(members, separators=(",", ":")).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
