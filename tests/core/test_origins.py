"""Which pages may open a socket, and whose cookies count."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from bridge.core.origins import ORIGIN_CHARACTERS_MAX, Origin, OriginRules

OURS = (
    "https://app.example.com",
    "https://*.example.org",
    "https://*.example.net:8443",
    "http://localhost:3000",
    "https://shop.example.io:443",
    "https://*.bücher.example",
    "https://[2001:DB8::7]",
)
ORIGINS = [
    # origin                            host               allowed
    ("https://app.example.com", "bridge.example.com", True),
    ("HTTPS://App.Example.Com", "bridge.example.com", True),  # Hosts and schemes have no case.
    ("https://app.example.com:443", "bridge.example.com", True),  # The port that https has anyhow.
    ("https://shop.example.io", "bridge.example.com", True),
    ("http://localhost:3000", "bridge.example.com", True),
    ("https://[2001:db8::7]", "bridge.example.com", True),
    ("https://app.example.com:444", "bridge.example.com", False),
    ("https://app.example.com:80", "bridge.example.com", False),
    ("http://app.example.com", "bridge.example.com", False),
    ("http://app.example.com:443", "bridge.example.com", False),
    ("http://localhost", "bridge.example.com", False),
    ("http://localhost:03000", "bridge.example.com", False),
    ("https://app.example.com.evil.io", "bridge.example.com", False),
    ("https://evil-app.example.com", "bridge.example.com", False),
    ("https://app.example.com.", "bridge.example.com", False),  # Another host, as browsers see it.
    # Sub-domains: at any depth, not the apex, not what only ends like it.
    ("https://shop.example.org", "bridge.example.com", True),
    ("https://a.b.example.org", "bridge.example.com", True),
    ("https://example.org", "bridge.example.com", False),
    ("https://evilexample.org", "bridge.example.com", False),
    ("https://evil-example.org", "bridge.example.com", False),
    ("https://.example.org", "bridge.example.com", False),
    ("http://shop.example.org", "bridge.example.com", False),
    ("https://shop.example.org:8443", "bridge.example.com", False),
    ("https://a.example.net:8443", "bridge.example.com", True),
    ("https://a.example.net", "bridge.example.com", False),
    ("https://*.example.org", "bridge.example.com", False),
    # Punycode, which is what browsers send.
    ("https://www.xn--bcher-kva.example", "bridge.example.com", True),
    ("https://www.bücher.example", "bridge.example.com", True),
    ("https://www.xn--bcher-kvb.example", "bridge.example.com", False),
    ("https://www.bucher.example", "bridge.example.com", False),
    # The bridge's own host.
    ("https://bridge.example.com", "bridge.example.com", True),
    ("http://bridge.example.com:8080", "Bridge.Example.Com:8080", True),
    ("https://bridge.example.com", "bridge.example.com:443", True),
    ("https://bridge.example.com:8080", "bridge.example.com", False),
    ("https://bridge.example.com.evil.io", "bridge.example.com", False),
    ("chrome-extension://bridge.example.com", "bridge.example.com", False),
    # What is no origin.
    ("https://evil.io/.example.org", "bridge.example.com", False),
    ("https://evil.io?.example.org", "bridge.example.com", False),
    ("https://evil.io#.example.org", "bridge.example.com", False),
    ("https://evil.io\\.example.org", "bridge.example.com", False),
    ("https://evil.io@a.example.org", "bridge.example.com", False),
    ("https://a.example.org/", "bridge.example.com", False),
    ("https://a.example.org ", "bridge.example.com", False),
    ("https://app.example.com, https://evil.io", "bridge.example.com", False),  # Two headers.
    ("https://a..example.org", "bridge.example.com", False),
    ("https://" + "a" * 64 + ".example.org", "bridge.example.com", False),
    ("https://" + "a." * ORIGIN_CHARACTERS_MAX + "example.org", "bridge.example.com", False),
    ("null", "bridge.example.com", False),
    ("null", "null", False),
    ("null", "", False),
    ("", "", False),
    ("", None, False),
    ("http://[", "[", False),
    ("*", "bridge.example.com", False),
]


@pytest.mark.parametrize(("origin", "host", "allowed"), ORIGINS)
def test_origin(origin: str, host: str | None, *, allowed: bool) -> None:
    """A page may open a socket if its origin is listed, under a listed domain, or the bridge's own."""
    rules = OriginRules(OURS)

    assert rules.admit(origin, host) is allowed
    assert rules.vouched(origin, host) is allowed


@pytest.mark.parametrize("allow_missing", [True, False])
def test_missing_origin(*, allow_missing: bool) -> None:
    """Without an origin it may be a program: let in if so set, but no cookie speaks for it."""
    rules = OriginRules(OURS, allow_missing=allow_missing)

    assert rules.admit(None, "bridge.example.com") is allow_missing
    assert not rules.vouched(None, "bridge.example.com")


@pytest.mark.parametrize("origin", ["https://evil.io", "null", "", "anything"])
def test_any_origin(origin: str) -> None:
    """`*` lets every page in, but makes none of them one of ours: their cookies do not count."""
    rules = OriginRules(("*", "https://app.example.com"))

    assert rules.admit(origin, "bridge.example.com")
    assert not rules.vouched(origin, "bridge.example.com")
    assert rules.vouched("https://app.example.com", "bridge.example.com")


@pytest.mark.parametrize(
    "pattern",
    ["example.com", "https://", "https://*", "https://*.", "https://a.*.io", "https://a.io/", "null", "**"],
)
def test_pattern_that_is_none(pattern: str) -> None:
    """What cannot be an origin or a wildcard is refused where it is set, and matches nothing by accident."""
    with pytest.raises(ValueError, match="is not an origin"):
        OriginRules((pattern,))


labels = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)


@settings(deadline=None)
@given(st.lists(labels, min_size=1, max_size=4), st.lists(labels, min_size=1, max_size=3))
def test_wildcards(domain: list[str], before: list[str]) -> None:
    """A wildcard covers what has labels before its domain, and nothing that merely ends in its letters."""
    host = ".".join(domain)
    pattern = Origin.parse(f"https://*.{host}")

    assert pattern.covers(Origin.parse(f"https://{'.'.join(before)}.{host}"))
    assert not pattern.covers(Origin.parse(f"https://{host}"))
    assert not pattern.covers(Origin.parse(f"https://{before[-1]}{host}")) or len(domain) > 1


@settings(deadline=None)
@given(st.text(max_size=60), st.none() | st.text(max_size=30))
def test_any_text(origin: str, host: str | None) -> None:
    """Whatever the headers hold, the answer is yes or no."""
    assert OriginRules(OURS).admit(origin, host) in (True, False)
