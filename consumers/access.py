"""Changes of who may what. They reach no browser: every node obeys them, at their place in the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field, Strict, StringConstraints

from bridge.core.catalogue import Domain
from bridge.core.event import Identifier, Text, UserEvent, UtcTime
from bridge.core.policy import MUST_DELIVER
from bridge.core.revocation import ChangeKind

# The names and no pattern: other events about users are not for this domain.
DOMAIN = Domain("access", publisher="whoever manages users", topics=tuple(kind.value for kind in ChangeKind))

RoomName = Annotated[
    str, Strict(), StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}:[^\s,*\x00-\x1f\x7f]{1,128}$")
]


class AccessEvent(UserEvent):
    """What every change says: whose it is."""

    def targets(self) -> Sequence[str]:
        """Return no room."""
        return ()


class ReasonedEvent(AccessEvent):
    """A change that closes sockets."""

    reason: Text | None = Field(default=None, description="Why, in words that the user may read.")


@DOMAIN.event(ChangeKind.USER_DISABLED.value, overflow=MUST_DELIVER)
class UserDisabled(ReasonedEvent):
    """A user may do nothing any more: sockets are closed, tokens refused."""

    EXAMPLE: ClassVar[dict[str, object]] = {"reason": "the account was closed"}


@DOMAIN.event(ChangeKind.USER_ENABLED.value, overflow=MUST_DELIVER)
class UserEnabled(AccessEvent):
    """A user that was disabled is welcome again."""

    EXAMPLE: ClassVar[dict[str, object]] = {}


@DOMAIN.event(ChangeKind.SESSION_REVOKED.value, overflow=MUST_DELIVER)
class SessionRevoked(ReasonedEvent):
    """A token, or all of a user's from before, opens nothing any more; sockets with it are closed."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "tokenId": "7c0a4f9e-55d1-4a57-9f0e-2f4f7f6f1c11",
        "reason": "logged out everywhere",
    }

    token_id: Identifier | None = Field(
        default=None, description="The `jti` of the one token; without it, all of the user's are meant."
    )
    issued_before: UtcTime | None = Field(
        default=None, description="All tokens issued before (`iat`); without it, before `timestamp`."
    )


@DOMAIN.event(ChangeKind.GRANT_REVOKED.value, overflow=MUST_DELIVER)
class GrantRevoked(AccessEvent):
    """A user may not be in a room any more: sockets are taken out of it and told."""

    EXAMPLE: ClassVar[dict[str, object]] = {"room": "device:device-19"}

    room: RoomName = Field(description="The room's whole name.")


@DOMAIN.event(ChangeKind.GRANT_ADDED.value, overflow=MUST_DELIVER)
class GrantAdded(AccessEvent):
    """A user may join a room from now on; what was known to the contrary is forgotten."""

    EXAMPLE: ClassVar[dict[str, object]] = {"room": "device:device-19"}

    room: RoomName = Field(description="The room's whole name.")
