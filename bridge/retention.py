"""From the settings to how much of the event log is kept."""

from __future__ import annotations

from bridge.amqp.stream import Retention
from bridge.settings import Settings, SettingsError


def retention_of(settings: Settings) -> Retention:
    """Return how much of the log is kept, if it is a stream.

    Raises:
        SettingsError: it is kept for less time than revocations are to be remembered.
    """
    log_settings, remember_seconds = settings.event_log, settings.access.remember_seconds
    if remember_seconds > log_settings.retention_seconds_max:
        problem = (
            f"access.remember_seconds: is {remember_seconds:g}, but the log is kept for "
            f"{log_settings.retention_seconds_max} s only; raise event_log.retention_seconds_max"
        )
        raise SettingsError([problem])
    return Retention(
        log_settings.retention_seconds_max,
        log_settings.retention_bytes_max,
        read_back_seconds=max(
            log_settings.window_seconds_max, settings.ingest.dedupe_seconds, remember_seconds
        ),
    )
