"""What the microservices publish, one file per domain: event classes and where they go.

Adding an event is adding a class to one of these files; adding a domain is adding a file
and its name to the list below.
"""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from traceback import extract_tb

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


class NoDomainError(Exception):
    """A name in NAMES stands for no domain; the text says why, for whoever writes the file."""


def domains() -> list[Domain]:
    """Return the built-in domains, one from each file.

    Raises:
        NoDomainError: a name is of no file, or a file cannot be read or declares no domain.
    """
    for name, times in Counter(NAMES).items():
        if times > 1:
            raise NoDomainError(
                f"NAMES in consumers/__init__.py lists {name!r} {times} times; once is enough"
            )
    return [_domain(name) for name in NAMES]


def unlisted() -> list[str]:
    """Return the files of this folder that NAMES does not list. Those that begin with _ need not be."""
    found = (module.name for module in iter_modules(__path__))
    return sorted(name for name in found if name not in NAMES and not name.startswith("_"))


def _domain(name: str) -> Domain:
    """Return the domain of a file."""
    path = f"consumers.{name}"
    try:
        module = import_module(path)
    except Exception as exc:
        if isinstance(exc, ModuleNotFoundError) and exc.name == path:
            message = f"NAMES in consumers/__init__.py lists {name!r}, and there is no {name}.py"
        else:
            message = f"consumers/{name}.py{_line_of(exc, f'{name}.py')}: {_said(exc)}"
        raise NoDomainError(message) from exc
    domain = getattr(module, "DOMAIN", None)
    if not isinstance(domain, Domain):
        raise NoDomainError(f"consumers/{name}.py has no DOMAIN = Domain(…)")
    return domain


def _said(exc: Exception) -> str:
    """Return what a ValueError of a declaration says, which names things itself, else its kind as well."""
    return str(exc) if type(exc) is ValueError else f"{type(exc).__name__}: {exc}"


def _line_of(exc: Exception, file: str) -> str:
    """Return the line of a file that an exception came through last, as `:12`; empty if it did not."""
    if isinstance(exc, SyntaxError):
        return f":{exc.lineno}"
    lines = [frame.lineno for frame in extract_tb(exc.__traceback__) if Path(frame.filename).name == file]
    return f":{lines[-1]}" if lines else ""
