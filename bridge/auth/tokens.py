"""JSON Web Tokens (RFC 7519): verified on the way in, made by hand for development and operators."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt

from bridge.core.access import Principal
from bridge.core.errors import TokenRejected
from bridge.core.rooms import parse_room, role_room, user_room

ALGORITHM = "HS256"  # Fixed by the key, never taken from the token (RFC 8725 section 3.1).
TOKEN_CHARACTERS_MAX = 8_192
ROLES_MAX = 50
ROOM_PATTERNS_MAX = 200
ROOM_PATTERN_CHARACTERS_MAX = 200
EXPIRES_AT_MAX = 253_402_300_799 - 3_600  # The year 9999, less the largest leeway.


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must be signed with and say. `secret` is never logged."""

    secret: str = field(repr=False)
    audience: str | None
    issuer: str | None
    leeway_seconds: float
    user_claims: Sequence[str]
    roles_claim: str
    rooms_claim: str


class TokenVerifier:
    """Turns tokens into principals."""

    def __init__(self, rules: TokenRules) -> None:
        """Verify by these rules."""
        self._rules = rules

    def verify(self, token: str) -> Principal:
        """Return whom the token names.

        Raises:
            TokenRejected: it is missing, malformed, expired, not yet valid, for or from somebody else,
                not signed by the key, or names nobody.
        """
        if not token:
            raise TokenRejected("missing", "no token was sent")
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise TokenRejected("malformed", f"the token is longer than {TOKEN_CHARACTERS_MAX} characters")
        claims = self._claims(token)
        user_id = next((claims[name] for name in self._rules.user_claims if claims.get(name)), None)
        if not isinstance(user_id, str) or parse_room(user_room(user_id)) is None:
            names = ", ".join(self._rules.user_claims)
            raise TokenRejected("no_user", f"none of the claims {names} names a user as text")
        return Principal(
            user_id=user_id,
            roles=self._roles(claims),
            rooms=self._rooms(claims),
            expires_at=self._expires_at(claims),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        rules = self._rules
        try:
            return jwt.decode(
                token,
                rules.secret,
                algorithms=[ALGORITHM],
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=rules.leeway_seconds,
                options={
                    "require": ["exp"],
                    "verify_aud": rules.audience is not None,
                    "verify_sub": False,  # Ours may be in another claim; it is checked there.
                },
            )
        except jwt.ExpiredSignatureError as exc:
            raise TokenRejected("expired", "the token has expired") from exc
        except jwt.ImmatureSignatureError as exc:
            raise TokenRejected("not_yet_valid", "the token is not valid yet") from exc
        except jwt.InvalidAudienceError as exc:
            raise TokenRejected("wrong_audience", "the token is for another audience") from exc
        except jwt.InvalidIssuerError as exc:
            raise TokenRejected("wrong_issuer", "the token is from another issuer") from exc
        except jwt.MissingRequiredClaimError as exc:
            raise TokenRejected("missing_claim", f"the token has no claim {exc.claim}") from exc
        except jwt.InvalidAlgorithmError as exc:
            raise TokenRejected("wrong_algorithm", f"the token is not signed with {ALGORITHM}") from exc
        except jwt.InvalidSignatureError as exc:
            raise TokenRejected("bad_signature", "the token's signature is not by our key") from exc
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError) as exc:
            raise TokenRejected("malformed", "the token is not a JSON Web Token") from exc

    def _expires_at(self, claims: Mapping[str, Any]) -> float:
        expires_at = int(claims["exp"])  # As the verification did, and it did not fail.
        if expires_at > EXPIRES_AT_MAX:
            raise TokenRejected("bad_claim", "the claim exp is not a time in seconds; is it in milliseconds?")
        return expires_at + self._rules.leeway_seconds

    def _roles(self, claims: Mapping[str, Any]) -> frozenset[str]:
        name = self._rules.roles_claim
        value: Any = next((claims[key] for key in (name, "role") if claims.get(key) is not None), [])
        roles = [value] if isinstance(value, str) else value
        if not isinstance(roles, list) or len(roles) > ROLES_MAX:
            raise TokenRejected("bad_claim", f"the claim {name} is not a list of roles")
        if not all(isinstance(role, str) and parse_room(role_room(role)) for role in roles):
            raise TokenRejected("bad_claim", f"the claim {name} holds what is no role name")
        return frozenset(roles)

    def _rooms(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        name = self._rules.rooms_claim
        rooms = [] if claims.get(name) is None else claims[name]
        if not isinstance(rooms, list) or len(rooms) > ROOM_PATTERNS_MAX:
            raise TokenRejected("bad_claim", f"the claim {name} is not a list of rooms")
        if not all(isinstance(room, str) and len(room) <= ROOM_PATTERN_CHARACTERS_MAX for room in rooms):
            raise TokenRejected("bad_claim", f"the claim {name} holds what is no room pattern")
        return tuple(rooms)


def make_token(
    rules: TokenRules, *, user_id: str, roles: Sequence[str] = (), rooms: Sequence[str] = (), seconds: float
) -> str:
    """Sign a token for a user that is valid for `seconds` from now."""
    now = time.time()
    claims: dict[str, Any] = {rules.user_claims[0]: user_id, "iat": int(now), "exp": int(now + seconds)}
    if roles:
        claims[rules.roles_claim] = list(roles)
    if rooms:
        claims[rules.rooms_claim] = list(rooms)
    if rules.audience:
        claims["aud"] = rules.audience
    if rules.issuer:
        claims["iss"] = rules.issuer
    return jwt.encode(claims, rules.secret, algorithm=ALGORITHM)
