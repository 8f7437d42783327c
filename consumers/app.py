"""Apps on cloud phones, from the app-service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import AliasChoices, Field

from bridge.core.catalogue import Domain
from bridge.core.event import Code, Identifier, Percent, RoomId, Text, UserEvent
from bridge.core.policy import DROP_OLDEST, MUST_DELIVER, conflate
from bridge.core.rooms import user_room

DOMAIN = Domain("app", publisher="app-service", topics=("app.#",))


class AppEvent(UserEvent):
    """What every app event says: which app, and on which device."""

    app_id: Identifier = Field(description="The app concerned.")
    device_id: RoomId = Field(description="The device that the app is on.")
    app_name: Text | None = Field(default=None, description="The app's name, for people.")
    version: Code | None = Field(default=None, description="The app's version.")

    def targets(self) -> Sequence[str]:
        """Return the device's room and its owner's."""
        return (f"device:{self.device_id}", user_room(self.user_id))


@DOMAIN.event("app.installed", overflow=DROP_OLDEST)
class AppInstalled(AppEvent):
    """An app was installed on a device."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "appId": "com.example.chat",
        "deviceId": "device-19",
        "appName": "Chat",
        "version": "4.2.0",
    }


@DOMAIN.event("app.uninstalled", overflow=DROP_OLDEST)
class AppUninstalled(AppEvent):
    """An app was removed from a device."""

    EXAMPLE: ClassVar[dict[str, object]] = {"appId": "com.example.chat", "deviceId": "device-19"}


@DOMAIN.event("app.updated", overflow=DROP_OLDEST)
class AppUpdated(AppEvent):
    """An app on a device was brought to another version."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "appId": "com.example.chat",
        "deviceId": "device-19",
        "version": "4.3.0",
        "previousVersion": "4.2.0",
    }

    previous_version: Code | None = Field(default=None, description="The version before.")


@DOMAIN.event("app.install_failed", overflow=MUST_DELIVER)
class AppInstallFailed(AppEvent):
    """An installation failed: the user waits for it and would wait for ever."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "appId": "com.example.chat",
        "deviceId": "device-19",
        "reason": "The device has no space left.",
        "errorCode": "INSTALL_FAILED_INSUFFICIENT_STORAGE",
    }

    reason: Text | None = Field(
        default=None,
        validation_alias=AliasChoices("reason", "failureReason"),
        serialization_alias="reason",
        description="Why it failed, in words; read from `failureReason` too.",
    )
    error_code: Code | None = Field(default=None, description="Why it failed, as a code.")


@DOMAIN.event(
    "app.install_progress",
    overflow=conflate("appId", "deviceId"),
    age_seconds_max=300,
)
class AppInstallProgress(AppEvent):
    """How far an installation is: a gauge, worthless once the installation must be over."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "appId": "com.example.chat",
        "deviceId": "device-19",
        "percent": 45,
        "stage": "downloading",
    }

    percent: Annotated[Percent, Field(le=100)] = Field(
        validation_alias=AliasChoices("percent", "progress", "progressPercent"),
        serialization_alias="percent",
        description="How much is done, 0 to 100; read from `progress` and `progressPercent` too.",
    )
    stage: Text | None = Field(default=None, description="What is being done, such as `downloading`.")
