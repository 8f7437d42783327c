"""What the microservices publish, one file per domain: event classes and where they go.

Adding an event is adding a class to one of these files; adding a domain is adding a file
and its name to the list below.
"""

from __future__ import annotations

from importlib import import_module

from bridge.core.catalogue import Domain

NAMES = (
    "quota",
    "device",
    "billing",
    "app",
    "proxy",
    "sms",
    "media",
    "wallet",
    "content",
    "whatsapp",
    "access",
)


def domains() -> list[Domain]:
    """Return the built-in domains, one from each file."""
    return [import_module(f"consumers.{name}").DOMAIN for name in NAMES]
