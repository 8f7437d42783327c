"""From the settings to the ceilings of event storms."""

from __future__ import annotations

from bridge.core.catalogue import Catalogue
from bridge.core.policy import Policy
from bridge.core.storm import Ceilings
from bridge.settings import Settings, SettingsError


def ceilings_of(settings: Settings, catalogue: Catalogue) -> Ceilings:
    """Return how many events of each type a user may be sent.

    Raises:
        SettingsError: a ceiling is for a type that is not there, or has none.
    """
    policies = {event_type.name: event_type.overflow.policy for event_type in catalogue.event_types}
    problems = [
        f"storm.types.{name}: "
        + (
            "must be delivered and has no ceiling; remove it"
            if name in policies
            else "there is no such event type; remove it or correct its name"
        )
        for name in settings.storm.types
        if policies.get(name, Policy.MUST_DELIVER) is Policy.MUST_DELIVER
    ]
    if problems:
        raise SettingsError(problems)
    return Ceilings(settings.storm.events_per_second_max, settings.storm.types)
