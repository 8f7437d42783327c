"""Recordings and transcodings of a user's media, as the media-service plans to publish them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bridge.core.catalogue import Domain
from bridge.core.event import Identifier, Percent, Text, UserEvent
from bridge.core.policy import conflate

DOMAIN = Domain("media", publisher="media-service", topics=("media.#",))


class MediaEvent(UserEvent):
    """What every media event says; the newest state of a medium replaces the older ones."""

    media_id: Identifier = Field(description="The recording or film concerned.")
    reason: Text | None = Field(default=None, description="Why it came to this state, such as an error.")


@DOMAIN.event("media.recording_changed", overflow=conflate("mediaId"))
class MediaRecordingChanged(MediaEvent):
    """A recording came to another state."""

    EXAMPLE: ClassVar[dict[str, object]] = {"mediaId": "media-52", "state": "recording"}

    state: Literal[
        "pending", "starting", "recording", "paused", "stopped", "completed", "failed", "cancelled"
    ] = Field(description="The recording's state now.")


@DOMAIN.event("media.transcoding_changed", overflow=conflate("mediaId"))
class MediaTranscodingChanged(MediaEvent):
    """A transcoding came to another state."""

    EXAMPLE: ClassVar[dict[str, object]] = {"mediaId": "media-52", "state": "processing", "percent": 30}

    state: Literal["pending", "queued", "processing", "completed", "failed", "cancelled"] = Field(
        description="The transcoding's state now."
    )
    percent: Annotated[Percent, Field(le=100)] | None = Field(
        default=None, description="How much is done, 0 to 100."
    )
