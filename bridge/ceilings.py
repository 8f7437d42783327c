"""From the settings to the ceilings of event storms."""

from __future__ import annotations

from bridge.core.catalogue import Catalogue, EventType
from bridge.core.policy import Policy
from bridge.core.storm import Ceilings
from bridge.settings import Settings, SettingsError


def ceilings_of(settings: Settings, catalogue: Catalogue) -> Ceilings:
    """Return how many events of each type a user may be sent.

    Raises:
        SettingsError: a ceiling is for a type that is not there, or has none.
    """
    found = {event_type.name: _problem(event_type) for event_type in catalogue.event_types}
    unknown = "there is no such event type; remove it or correct its name"
    problems = [
        f"storm.types.{name}: {problem}"
        for name in settings.storm.types
        if (problem := found.get(name, unknown))
    ]
    if problems:
        raise SettingsError(problems)
    return Ceilings(
        settings.storm.events_per_second_max, settings.storm.types, exempt=catalogue.durable_names
    )


def _problem(event_type: EventType) -> str:
    """Say why an event type cannot have a ceiling, empty if it can."""
    if event_type.overflow.policy is Policy.MUST_DELIVER:
        return "must be delivered and has no ceiling; remove it"
    return "is durable and has no ceiling; remove it" if event_type.durable else ""
