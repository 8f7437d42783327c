"""What a verified token says: whom it names, for whom it is, from when and until when (RFC 7519)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.core.access import Principal
from bridge.core.errors import TokenRejected
from bridge.core.rooms import parse_room, role_room, user_room

ROLES_MAX = 50
ROOM_PATTERNS_MAX = 200
ROOM_PATTERN_CHARACTERS_MAX = 200
TOKEN_ID_CHARACTERS_MAX = 200
TIME_MAX = 253_402_300_799 - 3_600  # The year 9999, less the largest leeway.

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What a token must say. `audience` and `issuer` are asked for only where they are set."""

    audience: str | None = None
    issuer: str | None = None
    leeway_seconds: float = 5.0
    user_claims: Sequence[str] = ("sub", "userId", "id")
    roles_claim: str = "roles"
    rooms_claim: str = "rooms"


def principal_of(claims: Claims, rules: ClaimRules, now: float) -> Principal:
    """Return whom the claims of a verified token name. `now` is in seconds since the Unix epoch.

    Raises:
        TokenRejected: the token has ended or not begun, is for or from somebody else, or names nobody.
    """
    expires_at, issued_at = _times(claims, rules.leeway_seconds, now)
    _check_parties(claims, rules)
    return Principal(
        user_id=_user_id(claims, rules.user_claims),
        roles=_roles(claims, rules.roles_claim),
        rooms=_rooms(claims, rules.rooms_claim),
        expires_at=expires_at,
        token_id=_token_id(claims),
        issued_at=issued_at,
    )


def _times(claims: Claims, leeway_seconds: float, now: float) -> tuple[float, float | None]:
    """Return when the token ends, with the leeway, and when it was issued."""
    end = _time(claims, "exp")
    if end is None:
        raise TokenRejected("missing_claim", "the token has no claim exp")
    expires_at = end + leeway_seconds
    if now >= expires_at:
        raise TokenRejected("expired", "the token has expired")
    issued_at = _time(claims, "iat")
    # A token from the future would outlive the revocation of all that were issued before a time.
    for start in (_time(claims, "nbf"), issued_at):
        if start is not None and start > now + leeway_seconds:
            raise TokenRejected("not_yet_valid", "the token is not valid yet")
    return expires_at, issued_at


def _time(claims: Claims, name: str) -> float | None:
    """Return a NumericDate (RFC 7519 section 2): a JSON number of seconds since the Unix epoch."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRejected("bad_claim", f"the claim {name} is not a number of seconds")
    if not -TIME_MAX <= value <= TIME_MAX:
        raise TokenRejected("bad_claim", f"the claim {name} is not a time in seconds; is it in milliseconds?")
    return float(value)


def _check_parties(claims: Claims, rules: ClaimRules) -> None:
    if rules.issuer is not None:
        if not claims.get("iss"):
            raise TokenRejected("missing_claim", "the token has no claim iss")
        if claims["iss"] != rules.issuer:
            raise TokenRejected("wrong_issuer", "the token is from another issuer")
    if rules.audience is not None:
        audience = claims.get("aud")
        if not audience:
            raise TokenRejected("missing_claim", "the token has no claim aud")
        if audience != rules.audience and not (isinstance(audience, list) and rules.audience in audience):
            raise TokenRejected("wrong_audience", "the token is for another audience")


def _user_id(claims: Claims, names: Sequence[str]) -> str:
    user_id = next((claims[name] for name in names if claims.get(name)), None)
    if not isinstance(user_id, str) or parse_room(user_room(user_id)) is None:
        raise TokenRejected("no_user", f"none of the claims {', '.join(names)} names a user as text")
    return user_id


def _roles(claims: Claims, name: str) -> frozenset[str]:
    value: Any = next((claims[key] for key in (name, "role") if claims.get(key) is not None), [])
    roles = [value] if isinstance(value, str) else value
    if not isinstance(roles, list) or len(roles) > ROLES_MAX:
        raise TokenRejected("bad_claim", f"the claim {name} is not a list of roles")
    if not all(isinstance(role, str) and parse_room(role_room(role)) for role in roles):
        raise TokenRejected("bad_claim", f"the claim {name} holds what is no role name")
    return frozenset(roles)


def _rooms(claims: Claims, name: str) -> tuple[str, ...]:
    rooms = [] if claims.get(name) is None else claims[name]
    if not isinstance(rooms, list) or len(rooms) > ROOM_PATTERNS_MAX:
        raise TokenRejected("bad_claim", f"the claim {name} is not a list of rooms")
    if not all(isinstance(room, str) and len(room) <= ROOM_PATTERN_CHARACTERS_MAX for room in rooms):
        raise TokenRejected("bad_claim", f"the claim {name} holds what is no room pattern")
    return tuple(rooms)


def _token_id(claims: Claims) -> str:
    """Return the `jti`. It should be text; issuers that number their tokens mean the digits."""
    value = claims.get("jti")
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if -TIME_MAX <= value <= 2**64 else None
    if not isinstance(value, str) or len(value) > TOKEN_ID_CHARACTERS_MAX:
        raise TokenRejected(
            "bad_claim", f"the claim jti is no text of at most {TOKEN_ID_CHARACTERS_MAX} characters"
        )
    return value
