"""Where a client is: behind which proxies, and of which network. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

from websockets.datastructures import Headers

ForwardedHeader = Literal["x-forwarded-for", "forwarded"]

ADDRESSES_MAX = 4_096  # Whose parsing is remembered: each comes up several times in a handshake.

# RFC 7239 section 4: pairs of a name and a token or quoted string; `;` between pairs, `,` between hops.
_PAIR = re.compile(r'\s*(?:([A-Za-z0-9!#$%&\'*+.^_`|~-]+)=("(?:[^"\\]|\\.)*"|[^\s",;]*)\s*)?([,;]|$)')
_QUOTED = re.compile(r"\\(.)")
_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]+)\](:\w+)?|(?P<v4>[0-9.]+):\w+")


def plain_address(text: str) -> str:
    """Return an IP address in its usual form: without a zone, and IPv4 as such where IPv6 carries it.

    What is no address is returned as it is.
    """
    address = _address(text)
    return text if address is None else str(address)


def network_of(address: str, *, ipv6_prefix_bits: int) -> str:
    """Return what one client can be expected to have of its own: an IPv4 address, or an IPv6 network.

    A customer gets a /64 at least (RFC 6177), which is more addresses than anybody can count.
    """
    parsed = _address(address)
    if not isinstance(parsed, IPv6Address):
        return address
    own_bits = parsed.max_prefixlen - ipv6_prefix_bits
    return f"{IPv6Address(int(parsed) >> own_bits << own_bits)}/{ipv6_prefix_bits}"


class Proxies:
    """The proxies that are believed, and the header in which they say whom they speak for."""

    def __init__(self, networks: Iterable[str] = (), *, header: ForwardedHeader = "x-forwarded-for") -> None:
        """`networks` as in `10.0.0.0/8`. Raises ValueError."""
        self._networks = [ip_network(network, strict=False) for network in networks]
        self._header = header

    def __contains__(self, address: str) -> bool:
        """Tell whether a proxy of ours is at this address."""
        parsed = _address(address) if self._networks else None
        return parsed is not None and any(parsed in network for network in self._networks)

    def client_of(self, peer: str, headers: Headers) -> str:
        """Return the client's address: the peer's, or behind our proxies that of the last hop before them.

        The last entries were written by our own proxies; anything before the first that is not one of
        them could be the client's invention, and so could the other header, which they do not write.
        """
        address = peer
        if address not in self:
            return address
        read = _forwarded if self._header == "forwarded" else _x_forwarded_for
        hops = [hop for value in headers.get_all(self._header) for hop in read(value)]
        while hops and address in self:
            hop = _address(_without_port(hops.pop()))
            if hop is None:  # `unknown`, or a name that hides the address (RFC 7239 section 6).
                break
            address = str(hop)
        return address


@lru_cache(maxsize=ADDRESSES_MAX)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _without_port(hop: str) -> str:
    match = _WITH_PORT.fullmatch(hop)
    return hop if match is None else match["v6"] or match["v4"]


def _x_forwarded_for(value: str) -> Iterator[str]:
    return (hop.strip() for hop in value.split(","))


def _forwarded(value: str) -> Iterator[str]:
    """Yield the `for` of each hop, empty where it has none or the rest of the value cannot be read."""
    place, hop = 0, ""
    while match := _PAIR.match(value, place):
        name, content, end = match.groups()
        if name is not None and name.lower() == "for":
            hop = _QUOTED.sub(r"\1", content[1:-1]) if content.startswith('"') else content
        if end != ";":
            yield hop
            hop = ""
        place = match.end()
        if place == len(value) and end != ",":
            return
    yield ""
