"""Where a client is: what proxies say, what clients invent, and what counts as one client."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from websockets.datastructures import Headers

from bridge.ws.address import ForwardedHeader, Proxies, network_of, plain_address
from tests.ws.clients import UPGRADE, RawClient, refusal_of, request
from tests.ws.node import HOST, running

TRUSTED = ("10.0.0.0/8", "fd00::/8", "192.0.2.1")
X_FORWARDED_FOR = [
    # peer              X-Forwarded-For                          the client
    ("203.0.113.9", [], "203.0.113.9"),
    ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # Not from a proxy of ours: an invention.
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
    ("192.0.2.1", ["198.51.100.1"], "198.51.100.1"),
    ("192.0.2.2", ["198.51.100.1"], "192.0.2.2"),
    ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # The client wrote 1.1.1.1 itself.
    ("10.0.0.1", ["10.9.9.9, 198.51.100.1"], "198.51.100.1"),  # Even if that is one of our proxies.
    ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
    ("10.0.0.1", ["198.51.100.1,10.0.0.3", " 10.0.0.2 "], "198.51.100.1"),
    ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("10.0.0.1", ["unknown"], "10.0.0.1"),
    ("10.0.0.1", ["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
    ("10.0.0.1", ["198.51.100.1:5678"], "198.51.100.1"),  # Some write the port as well.
    ("10.0.0.1", ["[2001:db8::7]:5678"], "2001:db8::7"),
    ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
    ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
    ("10.0.0.1", [""], "10.0.0.1"),
    ("10.0.0.1", [",,,"], "10.0.0.1"),
    ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
    ("", ["198.51.100.1"], ""),
]


@pytest.mark.parametrize(("peer", "values", "address"), X_FORWARDED_FOR)
def test_x_forwarded_for(peer: str, values: list[str], address: str) -> None:
    """A client is who is before the first of our proxies; what it wrote itself does not count."""
    headers = Headers([("X-Forwarded-For", value) for value in values])

    assert Proxies(TRUSTED).client_of(peer, headers) == address


FORWARDED = [
    # peer          Forwarded                                              the client
    ("203.0.113.9", ["for=198.51.100.1"], "203.0.113.9"),
    ("10.0.0.1", ["for=198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["For=198.51.100.1;proto=https;by=10.0.0.1"], "198.51.100.1"),
    ("10.0.0.1", ["proto=https; for=198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ['for="[2001:db8::7]:4711"'], "2001:db8::7"),
    ("10.0.0.1", ['for="198.51.100.1:4711"'], "198.51.100.1"),
    ("10.0.0.1", ['for="\\1\\98.51.100.1"'], "198.51.100.1"),
    ("10.0.0.1", ["for=1.1.1.1, for=198.51.100.1"], "198.51.100.1"),
    ("10.0.0.1", ["for=1.1.1.1", "for=198.51.100.1, for=10.0.0.2"], "198.51.100.1"),
    ("10.0.0.1", ["for=198.51.100.1, for=_hidden"], "10.0.0.1"),
    ("10.0.0.1", ["for=198.51.100.1, for=unknown, for=10.0.0.2"], "10.0.0.2"),
    ("10.0.0.1", ["for=198.51.100.1, proto=https"], "10.0.0.1"),  # This hop does not say.
    ("10.0.0.1", ["for=198.51.100.1,"], "10.0.0.1"),
    ("10.0.0.1", [""], "10.0.0.1"),
    # A client that opens a quotation, so that what the proxy adds would be inside it.
    ("10.0.0.1", ['for=1.1.1.1, for=", for=198.51.100.1'], "10.0.0.1"),
    ("10.0.0.1", ['for=1.1.1.1;x=", for="[2001:db8::7]:4711"'], "10.0.0.1"),
    ("10.0.0.1", ["nonsense for=198.51.100.1"], "10.0.0.1"),
]


@pytest.mark.parametrize(("peer", "values", "address"), FORWARDED)
def test_forwarded(peer: str, values: list[str], address: str) -> None:
    """The standard header says the same; where it cannot be read the last proxy is the client."""
    headers = Headers([("Forwarded", value) for value in values])

    assert Proxies(TRUSTED, header="forwarded").client_of(peer, headers) == address


@pytest.mark.parametrize(
    ("header", "address"), [("x-forwarded-for", "198.51.100.1"), ("forwarded", "10.0.0.1")]
)
def test_other_header(header: ForwardedHeader, address: str) -> None:
    """Only the header that our proxies write is read: the other one comes from the client as it is."""
    headers = Headers([("X-Forwarded-For", "198.51.100.1"), ("Forwarded", "for=unknown")])

    assert Proxies(TRUSTED, header=header).client_of("10.0.0.1", headers) == address


def test_no_proxies() -> None:
    """Without trusted proxies neither header means anything."""
    headers = Headers([("X-Forwarded-For", "1.1.1.1"), ("Forwarded", "for=1.1.1.1")])

    assert Proxies().client_of("10.0.0.1", headers) == "10.0.0.1"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),  # IPv4, as a socket for both shows it.
        ("::FFFF:C633:6401", "198.51.100.1"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("", ""),
        ("somewhere", "somewhere"),
    ],
)
def test_plain_address(text: str, plain: str) -> None:
    """An address is written in one way, however it came."""
    assert plain_address(text) == plain


def test_proxy_behind_a_socket_for_both() -> None:
    """An IPv4 proxy is known when its address comes inside IPv6."""
    assert plain_address("::ffff:10.0.0.1") in Proxies(TRUSTED)
    assert "::ffff:10.0.0.1" in Proxies(TRUSTED)


@pytest.mark.parametrize(
    ("address", "bits", "network"),
    [
        ("198.51.100.1", 64, "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", 64, "2001:db8:1:3::/64"),
        ("2001:db8:1:2::", 48, "2001:db8:1::/48"),
        ("2001:db8::7", 128, "2001:db8::7/128"),
        ("", 64, ""),
    ],
)
def test_network(address: str, bits: int, network: str) -> None:
    """All addresses of an IPv6 network are one client: anybody has a /64 to change addresses in."""
    assert network_of(address, ipv6_prefix_bits=bits) == network


async def test_attempts_behind_a_proxy() -> None:
    """Behind a proxy of ours the limit is on each client; all addresses of a /64 are one."""
    async with running(attempts_per_minute_max=1, trusted_proxies=(HOST,)) as node:

        async def status_of(address: str) -> str:
            async with RawClient.connected(node) as raw:
                await raw.send(request(headers=f"{UPGRADE}X-Forwarded-For: {address}\r\n"))
                return (await raw.head()).split(" ")[1]

        addresses = ("198.51.100.1", "198.51.100.2", "198.51.100.1", "2001:db8::1", "2001:db8::2")
        found = [await status_of(address) for address in addresses]

        assert found == ["101", "101", "429", "101", "429"]


async def test_attempts_without_a_proxy() -> None:
    """A client that is no proxy of ours cannot give itself another address."""
    async with running(attempts_per_minute_max=1) as node:
        for number, status in ((1, 101), (2, 429)):
            async with RawClient.connected(node) as raw:
                await raw.send(request(headers=f"{UPGRADE}X-Forwarded-For: 198.51.100.{number}\r\n"))
                assert f" {status} " in await raw.head()
        assert (await refusal_of(node)).status_code == 429


@settings(deadline=None)
@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=50), max_size=4))
def test_any_header(values: list[str]) -> None:
    """Whatever stands in the header, the client is somewhere."""
    for header in ("x-forwarded-for", "forwarded"):
        assert Proxies(TRUSTED, header=header).client_of(
            "10.0.0.1", Headers([(header, value) for value in values])
        )
