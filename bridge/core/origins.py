"""Which web pages may open a socket, by the origin that their browser states (RFC 6454)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

ANY = "*"
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<wildcard>\*\.)?(?P<host>\[[0-9a-f:.]+\]|[^\s/\\*?#@:,\[\]]+)"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE,
)
ORIGIN_CHARACTERS_MAX = 512  # More than any host name has.


class Origin(NamedTuple):
    """A scheme, a host and a port as browsers write them: lower case, punycode, no default port.

    With `wildcard` it stands for every sub-domain of the host, at any depth, and not for the host itself.
    """

    scheme: str
    host: str
    port: str
    wildcard: bool = False

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Read an origin or a pattern. Raises ValueError for anything else, such as `null`."""
        match = _ORIGIN.fullmatch(text) if len(text) <= ORIGIN_CHARACTERS_MAX else None
        if match is None:
            raise ValueError("is not an origin")
        scheme, host, port = match["scheme"].lower(), match["host"], match["port"] or ""
        if not host.startswith("["):
            try:
                host = host.encode("idna").decode()
            except UnicodeError as exc:
                raise ValueError("is not an origin") from exc
        if port == _DEFAULT_PORTS.get(scheme):
            port = ""
        return cls(scheme, host.lower(), port, wildcard=match["wildcard"] is not None)

    def covers(self, other: Origin) -> bool:
        """Tell whether a page of the other origin is meant by this one."""
        if (self.scheme, self.port) != (other.scheme, other.port):
            return False
        return other.host.endswith(f".{self.host}") if self.wildcard else self.host == other.host


class OriginRules:
    """The origins that may open a socket."""

    def __init__(self, allowed: Iterable[str] = (), *, allow_missing: bool = True) -> None:
        """`allowed` holds `https://app.example.com`, `https://*.example.com` or `*`. Raises ValueError."""
        allowed = set(allowed)
        self._any = ANY in allowed
        self._allowed = [Origin.parse(text) for text in sorted(allowed - {ANY})]
        self._allow_missing = allow_missing

    def admit(self, origin: str | None, host: str | None) -> bool:
        """Tell whether a request with these Origin and Host headers may go on."""
        if origin is None:
            return self._allow_missing
        return self._any or self.vouched(origin, host)

    def vouched(self, origin: str | None, host: str | None) -> bool:
        """Tell whether there is an origin and it is one of ours, not merely let through by `*`.

        Ours are those that are allowed by name, and the pages of the bridge's own host. Only then may a
        cookie speak for the user: browsers attach it to what foreign pages ask for, too.
        """
        try:
            stated = Origin.parse(origin or "")
        except ValueError:
            return False
        if stated.wildcard:  # Which is no browser's.
            return False
        return any(one.covers(stated) for one in self._allowed) or self._is_own(stated, host)

    def _is_own(self, stated: Origin, host: str | None) -> bool:
        """Tell whether the page is of the host that the request is for; a proxy may have ended its TLS."""
        try:
            own = Origin.parse(f"{stated.scheme}://{host or ''}")
        except ValueError:
            return False
        return own == stated and stated.scheme in _DEFAULT_PORTS
