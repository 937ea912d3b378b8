"""Keys: whom a quota is charged to."""

import pytest

from asgi_guard import client_ip, header
from asgi_guard.keys import UNKNOWN_CLIENT, bounded
from tests.driver import http_scope


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("64:ff9b::c000:201", "192.0.2.1"),
        ("testclient", "testclient"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_address_is_normalised(host: str, key: str) -> None:
    """IPv6 by its network, IPv4 in IPv6 as IPv4, everything else as it is."""
    assert client_ip(http_scope(client=(host, 1))) == key


@pytest.mark.parametrize("host", ["x" * 100_000, ":" * 100_000, "::1%" + "x" * 100_000])
def test_an_address_of_any_length_is_a_short_key(host: str) -> None:
    """A trusted proxy may pass on what a client wrote."""
    assert len(client_ip(http_scope(client=(host, 1)))) <= 64


@pytest.mark.parametrize("client", [None, ("", 0)])
def test_clients_without_an_address_share_a_key(client: tuple[str, int] | None) -> None:
    """As behind a Unix socket."""
    assert client_ip(http_scope(client=client)) == UNKNOWN_CLIENT


def test_a_header_value_cannot_be_taken_for_an_address() -> None:
    """Values are hashed, so nobody can write himself another client's key."""
    scope = http_scope(headers={"x-api-key": "192.0.2.1"})
    assert header("x-api-key")(scope) != client_ip(scope)
    assert len(header("x-api-key")(http_scope(headers={"x-api-key": "x" * 9000}))) == 32


def test_a_long_key_is_cut_to_its_hash() -> None:
    """What a user's own function returns may hold what a client sent."""
    assert bounded("short") == "short"
    assert len(bounded("x" * 10_000)) == 32
    assert bounded("x" * 10_000) != bounded("x" * 10_001)
    assert len(bounded("\udcff" * 1000)) == 32
