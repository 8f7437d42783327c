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
    """Return the built-in domains, one from each file.

    Raises:
        ValueError: there is no such file, or it declares no domain.
    """
    return [_domain(name) for name in NAMES]


def _domain(name: str) -> Domain:
    """Return the domain of a file."""
    path = f"consumers.{name}"
    try:
        module = import_module(path)
    except ModuleNotFoundError as exc:
        if exc.name != path:
            raise  # It is there, and imports something that is not.
        raise ValueError(f"NAMES in consumers/__init__.py lists {name!r}, and there is no {name}.py") from exc
    domain: Domain | None = getattr(module, "DOMAIN", None)
    if domain is None:
        raise ValueError(f"{name}.py in consumers declares no DOMAIN")
    return domain
