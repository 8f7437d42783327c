"""The one catalogue of close codes (RFC 6455 section 7.4).

The code alone tells a client what to do: `reconnect` codes come back by themselves,
the others need a person or a new token first.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why the server closes a socket. `text` goes on the wire: at most 123 bytes of UTF-8."""

    code: int
    text: str
    reconnect: bool

    def because(self, text: str) -> CloseReason:
        """Return the same code with a more precise text, cut to what a close frame holds."""
        return CloseReason(self.code, text.encode()[:123].decode(errors="ignore"), self.reconnect)


GOODBYE = CloseReason(1000, "goodbye", reconnect=True)
INVALID_DATA = CloseReason(1007, "not UTF-8", reconnect=False)
TOO_BIG = CloseReason(1009, "message too big", reconnect=True)
FAULT = CloseReason(1011, "a fault of ours", reconnect=True)
DRAINING = CloseReason(1012, "draining", reconnect=True)
SLOW = CloseReason(4008, "slow consumer", reconnect=True)
LIMIT = CloseReason(4009, "limit reached", reconnect=True)
BAD_PROTOCOL = CloseReason(4400, "bad protocol", reconnect=False)
UNAUTHENTICATED = CloseReason(4401, "token missing, invalid or expired", reconnect=False)
FORBIDDEN = CloseReason(4403, "user blocked or revoked", reconnect=False)

CATALOGUE = (
    GOODBYE,
    INVALID_DATA,
    TOO_BIG,
    FAULT,
    DRAINING,
    SLOW,
    LIMIT,
    BAD_PROTOCOL,
    UNAUTHENTICATED,
    FORBIDDEN,
)
