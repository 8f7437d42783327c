"""Cloud phones of the device-service, and the one derived stream of their status.

Every event goes to its owner and to whoever watches the device. An event that changes the
device's status is followed by `device.status.changed`:

| event                      | status     |
|----------------------------|------------|
| `device.created`           | `created`  |
| `device.started`           | `running`  |
| `device.stopped`           | `stopped`  |
| `device.deleted`           | `deleted`  |
| `device.error`             | `error`    |
| `device.recovered`         | `running`  |
| `device.recovery_success`  | `running`  |
| `device.recovery_failed`   | `error`    |
| `device.permanent_failure` | `failed`   |
| `device.cleaned`           | `cleaned`  |

A status that the event itself reports goes before the one in the table. A finished backup and
the warning of an expiration leave the status as it is.

The single events are a trail of which the oldest may give way, because the derived stream
conflates: the newest status of every device always arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from bridge.core.catalogue import Domain
from bridge.core.event import BaseEvent, Code, Count, Identifier, RoomId, Text, UserEvent, UtcTime
from bridge.core.policy import DROP_OLDEST, MUST_DELIVER, conflate
from bridge.core.rooms import user_room

DOMAIN = Domain("device", publisher="device-service", topics=("device.#",))


class DeviceEvent(UserEvent):
    """What every device event may say.

    `STATUS` is the status that the event brings the device into, empty if it changes none.
    """

    STATUS: ClassVar[str] = ""

    device_id: RoomId = Field(description="The device concerned.")
    device_name: Text | None = Field(default=None, description="The device's name, for people.")
    status: Text | None = Field(default=None, description="The device's status after the event.")
    previous_status: Text | None = Field(default=None, description="The device's status before the event.")
    reason: Text | None = Field(default=None, description="Why it happened.")
    error_code: Code | None = Field(default=None, description="The error's code, if there was one.")
    message: Text | None = Field(default=None, description="What happened, in words.")
    expires_at: UtcTime | None = Field(default=None, description="When the device expires.")

    def targets(self) -> Sequence[str]:
        """Return the device's room and its owner's."""
        return (f"device:{self.device_id}", user_room(self.user_id))

    def derived(self) -> Sequence[BaseEvent]:
        """Return the change of status, if the event changes it."""
        if not self.STATUS:
            return ()
        details = {name: getattr(self, name) for name in DeviceEvent.model_fields}
        details["status"] = self.status or self.STATUS
        return (DeviceStatusChanged.model_construct(**details, cause=_NAMES[type(self)]),)


@DOMAIN.event("device.status.changed", overflow=conflate("deviceId"))
class DeviceStatusChanged(DeviceEvent):
    """A device's status changed; derived from the events of the table above, or published as it is."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "deviceId": "device-19",
        "status": "running",
        "previousStatus": "stopped",
        "cause": "device.started",
    }

    status: Text = Field(min_length=1, description="The device's status now.")
    cause: Text | None = Field(default=None, description="The event type that changed the status.")


@DOMAIN.event("device.created", overflow=DROP_OLDEST)
class DeviceCreated(DeviceEvent):
    """A device was created."""

    STATUS: ClassVar[str] = "created"
    EXAMPLE: ClassVar[dict[str, object]] = {
        "deviceId": "device-19",
        "deviceName": "Shop phone",
        "status": "created",
        "expiresAt": "2027-11-21T00:00:00.000Z",
    }


@DOMAIN.event("device.started", overflow=DROP_OLDEST)
class DeviceStarted(DeviceEvent):
    """A device was started."""

    STATUS: ClassVar[str] = "running"
    EXAMPLE: ClassVar[dict[str, object]] = {
        "deviceId": "device-19",
        "status": "running",
        "previousStatus": "stopped",
    }


@DOMAIN.event("device.stopped", overflow=DROP_OLDEST)
class DeviceStopped(DeviceEvent):
    """A device was stopped."""

    STATUS: ClassVar[str] = "stopped"
    EXAMPLE: ClassVar[dict[str, object]] = {
        "deviceId": "device-19",
        "status": "stopped",
        "previousStatus": "running",
        "reason": "stopped by its user",
    }


@DOMAIN.event("device.deleted", overflow=DROP_OLDEST)
class DeviceDeleted(DeviceEvent):
    """A device was deleted."""

    STATUS: ClassVar[str] = "deleted"
    EXAMPLE: ClassVar[dict[str, object]] = {"deviceId": "device-19", "previousStatus": "stopped"}


@DOMAIN.event("device.error", overflow=DROP_OLDEST)
class DeviceFailed(DeviceEvent):
    """A device has an error that it may recover from; a flapping device must not close its user's socket."""

    STATUS: ClassVar[str] = "error"
    EXAMPLE: ClassVar[dict[str, object]] = {
        "deviceId": "device-19",
        "status": "error",
        "errorCode": "ADB_TIMEOUT",
        "message": "The device does not answer.",
    }


@DOMAIN.event("device.recovered", overflow=DROP_OLDEST)
class DeviceRecovered(DeviceEvent):
    """A device runs again after an error."""

    STATUS: ClassVar[str] = "running"
    EXAMPLE: ClassVar[dict[str, object]] = {
        "deviceId": "device-19",
        "status": "running",
        "previousStatus": "error",
    }


@DOMAIN.event("device.cleaned", overflow=DROP_OLDEST)
class DeviceCleaned(DeviceEvent):
    """A device's resources were cleaned up: what the page shows of it is no longer true."""

    STATUS: ClassVar[str] = "cleaned"
    EXAMPLE: ClassVar[dict[str, object]] = {"deviceId": "device-19", "reason": "idle for 30 days"}


@DOMAIN.event("device.recovery_success", overflow=DROP_OLDEST)
class DeviceRecoverySucceeded(DeviceEvent):
    """An attempt to recover a device succeeded."""

    STATUS: ClassVar[str] = "running"
    EXAMPLE: ClassVar[dict[str, object]] = {
        "deviceId": "device-19",
        "status": "running",
        "message": "The device was restarted.",
    }


@DOMAIN.event("device.recovery_failed", overflow=DROP_OLDEST)
class DeviceRecoveryFailed(DeviceEvent):
    """An attempt to recover a device failed; another may follow."""

    STATUS: ClassVar[str] = "error"
    EXAMPLE: ClassVar[dict[str, object]] = {
        "deviceId": "device-19",
        "status": "error",
        "errorCode": "ADB_TIMEOUT",
        "reason": "The device does not answer after a restart.",
    }


@DOMAIN.event("device.permanent_failure", overflow=MUST_DELIVER)
class DeviceFailedForGood(DeviceEvent):
    """A device is lost and its user has to act; it comes once per device."""

    STATUS: ClassVar[str] = "failed"
    EXAMPLE: ClassVar[dict[str, object]] = {
        "deviceId": "device-19",
        "status": "failed",
        "errorCode": "STORAGE_LOST",
        "message": "The device cannot be recovered.",
    }


@DOMAIN.event("device.backup_completed", overflow=DROP_OLDEST)
class DeviceBackedUp(DeviceEvent):
    """A backup of a device was completed."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "deviceId": "device-19",
        "backupId": "backup-311",
        "sizeBytes": 73400320,
    }

    backup_id: Identifier | None = Field(default=None, description="The backup.")
    size_bytes: Count | None = Field(default=None, description="The backup's size in bytes.")


@DOMAIN.event("device.expiration_warning", overflow=conflate("deviceId"))
class DeviceExpiring(DeviceEvent):
    """A device is about to expire; a newer warning replaces the older one."""

    EXAMPLE: ClassVar[dict[str, object]] = {
        "deviceId": "device-19",
        "expiresAt": "2026-11-24T00:00:00.000Z",
        "daysRemaining": 3,
    }

    days_remaining: Count | None = Field(default=None, description="Whole days until then.")


_NAMES = {event_type.model: event_type.name for event_type in DOMAIN.event_types}
