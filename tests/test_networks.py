"""Addresses and networks, in the spelling that they are compared in."""

import sys
from ipaddress import ip_network

import pytest

from asgi_guard import ConfigurationError
from asgi_guard.networks import knowing, network_of, parse_network


def parse(network: str) -> str:
    """Return the network in its one spelling."""
    return str(parse_network("Thing.networks", network, "networks"))


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("127.0.0.1", "127.0.0.1/32"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("::1", "::1/128"),
        ("FD00::/8", "fd00::/8"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.1", "10.0.0.1/32"),
    ],
)
def test_a_network_has_one_spelling(network: str, expected: str) -> None:
    """IPv4 in IPv6 is IPv4, as the addresses are that are looked for in it."""
    assert parse(network) == expected


@pytest.mark.parametrize(
    "network", ["", "10", "10.0.0.0/33", "10.0.0.0/8,::1", "fe80::1%eth0", "*", "localhost", 10]
)
def test_what_is_no_network_is_refused(network: object) -> None:
    """The field, the value and what is allowed."""
    with pytest.raises(ConfigurationError, match=r"Thing\.networks is .*; allowed: networks"):
        parse_network("Thing.networks", network, "networks")


@pytest.mark.parametrize(
    ("network", "meant"),
    [
        ("10.0.0.1/8", "allowed: '10.0.0.0/8', or '10.0.0.1' for one address"),
        ("fd00::1/8", "allowed: 'fd00::/8', or 'fd00::1' for one address"),
    ],
)
def test_bits_beyond_the_prefix_are_told_apart(network: str, meant: str) -> None:
    """A network and an address are two things, and the message names both."""
    with pytest.raises(ConfigurationError, match="; ") as raised:
        parse(network)
    assert str(raised.value).endswith(meant)


@pytest.mark.parametrize(
    ("host", "address", "trusted"),
    [
        ("10.1.2.3", "10.1.2.3", True),
        ("11.1.2.3", "11.1.2.3", False),
        ("::ffff:10.1.2.3", "10.1.2.3", True),
        ("FD00:0::1", "fd00::1", True),
        ("fd00::1%eth0", "fd00::1", True),
        ("64:ff9b::10.1.2.3", "64:ff9b::a01:203", False),
    ],
)
def test_a_host_is_known_by_its_address(host: str, address: str, trusted: bool) -> None:
    """Whatever its spelling."""
    known = knowing([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    assert known(host) == known(host) == (address, trusted)


@pytest.mark.parametrize(
    "host", ["", "unknown", "010.0.0.1", "10.0.0.1/32", "1.2.3.4%x", "fe80::1%", "10.0.0.1" * 99]
)
def test_what_is_no_address_is_not_known(host: str) -> None:
    """However long it is."""
    assert knowing([ip_network("10.0.0.0/8")])(host) is None


def test_what_is_too_long_for_an_address_is_not_remembered() -> None:
    """Whoever makes hosts up fills no memory with them."""
    known = knowing([])
    for length, is_kept in ((64, True), (65, False)):
        host = "f" * length
        before = sys.getrefcount(host)
        known(host)
        assert (sys.getrefcount(host) > before) is is_kept


def test_the_network_of_an_address_hides_the_address() -> None:
    """A log names where something came from, and not who."""
    assert network_of("192.0.2.77") == "192.0.2.0/24"
    assert network_of("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"
