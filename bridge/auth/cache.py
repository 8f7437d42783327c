"""What tokens have proved before, found by their SHA-256: a token itself is never kept."""

from __future__ import annotations

from bridge.core.access import Principal
from bridge.core.errors import TokenRejected

REJECTED_MAX = 10_000
REJECTED_SECONDS = 10.0
# These may turn out otherwise the next moment.
PASSING_REASONS = frozenset({"not_yet_valid", "unknown_key"})


class TokenCache:
    """Principals until their tokens end, and rejections for a short time. The oldest go first."""

    def __init__(self, *, verified_max: int) -> None:
        """Remember nothing yet."""
        self._verified_max = verified_max
        self._verified: dict[bytes, Principal] = {}
        self._rejected: dict[bytes, tuple[float, str, str]] = {}  # Until when, reason, message.

    def __len__(self) -> int:
        """How many tokens are remembered."""
        return len(self._verified) + len(self._rejected)

    def find(self, digest: bytes, now: float) -> Principal | None:
        """Return whom the token named, None when it is not remembered.

        Raises:
            TokenRejected: as before.
        """
        principal = self._verified.get(digest)
        if principal is not None:
            if now < principal.expires_at:
                return principal
            del self._verified[digest]
        elif digest in self._rejected:
            until, reason, message = self._rejected[digest]
            if now < until:
                raise TokenRejected(reason, message)
            del self._rejected[digest]
        return None

    def keep(self, digest: bytes, principal: Principal) -> None:
        """Remember whom a token names until it ends."""
        if len(self._verified) >= self._verified_max:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = principal

    def keep_rejected(self, digest: bytes, rejected: TokenRejected, now: float) -> None:
        """Remember for a moment why a token was rejected."""
        if rejected.reason in PASSING_REASONS:
            return
        if len(self._rejected) >= REJECTED_MAX:
            del self._rejected[next(iter(self._rejected))]
        self._rejected[digest] = (now + REJECTED_SECONDS, rejected.reason, rejected.message)

    def clear(self) -> None:
        """Forget everything, because other keys count now."""
        self._verified.clear()
        self._rejected.clear()
