"""JSON Web Tokens (RFC 7519): verified on the way in, made by hand for development and operators.

token ──► remembered? ──► header: which keys? ──► signature, or seal ──► claims ──► Principal
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from bridge.auth.cache import TokenCache
from bridge.auth.claims import ClaimRules, principal_of
from bridge.auth.compact import ENCRYPTED_DOTS, SIGNED_DOTS, Header, malformed, parse_object, parse_signed
from bridge.auth.jwks import KeySource
from bridge.auth.keys import PUBLIC_KEY_ALGORITHMS, Key, KeySet
from bridge.auth.sessions import SessionKeys
from bridge.core.access import Principal
from bridge.core.errors import KeyMissing, TokenRejected
from bridge.core.health import Health

TOKEN_CHARACTERS_MAX = 8_192
VERIFIED_TOKENS_MAX = 20_000


@dataclass(frozen=True, slots=True)
class TokenRules:
    """By which keys tokens are verified and made, and what they must say. `sessions`: encrypted ones."""

    keys: Sequence[Key]
    claims: ClaimRules
    sessions: SessionKeys | None = field(default=None, repr=False)


class TokenVerifier:
    """Turns tokens into principals. With sources of keys, `run` has to run beside it."""

    def __init__(
        self,
        rules: TokenRules,
        sources: Sequence[KeySource] = (),
        *,
        verified_tokens_max: int = VERIFIED_TOKENS_MAX,
    ) -> None:
        """Verify by these rules, and by the keys of these sources as they come and go."""
        self._rules = rules
        self._sources = tuple(sources)
        self._cache = TokenCache(verified_max=verified_tokens_max)
        self._keys = KeySet(rules.keys)
        for source in self._sources:
            source.on_change = self._renew_keys

    def verify(self, token: str, now: float | None = None) -> Principal:
        """Return whom the token names. `now` is in seconds since the Unix epoch.

        Raises:
            KeyMissing: `fetch_keys` could find the key. Verify once more after it; if this comes again,
                it is a rejection like any other.
            TokenRejected: it is missing, malformed, expired, not yet valid, for or from somebody else,
                not signed by one of the keys, or names nobody.
        """
        if not token:
            raise TokenRejected("missing", "no token was sent")
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise TokenRejected("malformed", f"the token is longer than {TOKEN_CHARACTERS_MAX} characters")
        if not token.isascii():
            raise malformed()
        now = time.time() if now is None else now
        digest = hashlib.sha256(token.encode("ascii")).digest()
        principal = self._cache.find(digest, now)
        if principal is None:
            try:
                principal = principal_of(parse_object(self._payload(token)), self._rules.claims, now)
            except TokenRejected as rejected:
                self._cache.keep_rejected(digest, rejected, now)
                raise
            self._cache.keep(digest, principal)
        return principal

    async def fetch_keys(self, kid: str) -> None:
        """Look for a key after `KeyMissing`. Returns when it was looked for, found or not, or in time."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources:
                tasks.create_task(source.fetch(kid))

    async def run(self) -> None:
        """Keep the keys of the sources fresh, until cancelled; returns at once if there are none."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources:
                tasks.create_task(source.run())

    def health(self) -> list[Health]:
        """Tell how each source of keys is. One without keys is vital as long as there are none elsewhere."""
        return [replace(source.health(), vital=not self._keys.keys) for source in self._sources]

    def _payload(self, token: str) -> bytes:
        """Return what a token holds, once it is known to come from a holder of a key."""
        dots = token.count(".")
        if dots == ENCRYPTED_DOTS and self._rules.sessions is not None:
            return self._rules.sessions.open(token)
        if dots != SIGNED_DOTS:
            raise malformed()
        parts = parse_signed(token)
        candidates = self._keys.candidates(parts.header.kid, parts.header.algorithm)
        if not candidates:
            raise self._no_key(parts.header)
        if not any(key.verifies(parts.signed, parts.signature) for key in candidates):
            missing = self._no_key(parts.header)
            if parts.header.kid and isinstance(missing, KeyMissing):
                raise missing  # Only keys without a name were tried; the one that it names may be new.
            raise TokenRejected("bad_signature", "the token's signature is not by one of our keys")
        return parts.payload

    def _no_key(self, header: Header) -> TokenRejected:
        """Return why no key fits: it may come, it is not ours, or the algorithm is not."""
        is_named = header.kid in self._keys.names
        unknown = TokenRejected("unknown_key", "the key that signed the token is not known")
        if self._sources and header.algorithm in PUBLIC_KEY_ALGORITHMS and not is_named:
            may_come = any(source.may_find(header.kid) for source in self._sources)
            return KeyMissing(header.kid) if may_come else unknown
        if header.algorithm in self._keys.algorithms and not is_named:
            return unknown
        algorithms = ", ".join(sorted(self._keys.algorithms)) or "any that is known here"
        return TokenRejected("wrong_algorithm", f"the token is not signed with {algorithms}")

    def _renew_keys(self) -> None:
        """Let the keys of now count, and only those."""
        self._keys = KeySet([*self._rules.keys, *(key for source in self._sources for key in source.keys)])
        self._cache.clear()


def make_token(
    rules: TokenRules, *, user_id: str, roles: Sequence[str] = (), rooms: Sequence[str] = (), seconds: float
) -> str:
    """Sign a token for a user that is valid for `seconds` from now, with the first key that can.

    Raises:
        LookupError: no key can sign: of all of them only the public half is known.
    """
    key = next((key for key in rules.keys if key.signs), None)
    if key is None:
        raise LookupError("no key can sign")
    now = time.time()
    says = rules.claims
    claims: dict[str, Any] = {
        says.user_claims[0]: user_id,
        "iat": int(now),
        "exp": int(now + seconds),
        "jti": uuid4().hex,
    }
    if roles:
        claims[says.roles_claim] = list(roles)
    if rooms:
        claims[says.rooms_claim] = list(rooms)
    if says.audience:
        claims["aud"] = says.audience
    if says.issuer:
        claims["iss"] = says.issuer
    return key.sign(claims)
