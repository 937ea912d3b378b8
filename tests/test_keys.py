"""Keys: whom a quota is charged to."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.authentication import BaseUser, SimpleUser, UnauthenticatedUser

from asgi_guard import ConfigurationError, client_ip, combine, connection, header, path, user
from asgi_guard.keys import UNKNOWN_CLIENT, bounded, open_connection
from tests.driver import http_scope, websocket_scope


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


class Numbered(BaseUser):
    """A user with an identity, which need not be a string."""

    is_authenticated = True
    identity = 7  # type: ignore[assignment]


class Nameless(BaseUser):
    """A user who is somebody, but does not say who."""

    is_authenticated = True


@pytest.mark.parametrize(
    ("found", "key"),
    [
        (SimpleUser("ann"), "user:ann"),
        (SimpleUser("192.0.2.1"), "user:192.0.2.1"),
        (SimpleUser("address:192.0.2.1"), "user:address:192.0.2.1"),
        (Numbered(), "user:7"),
        (Nameless(), "address:192.0.2.1"),
        (SimpleUser(""), "address:192.0.2.1"),
        (UnauthenticatedUser(), "address:192.0.2.1"),
        ("ann", "address:192.0.2.1"),
        (None, "address:192.0.2.1"),
    ],
)
def test_a_user_is_who_is_authenticated(found: object, key: str) -> None:
    """Everybody else is an address, and nobody can be taken for the other."""
    assert user(http_scope(user=found)) == key
    assert user(http_scope(state={"user": found})) == "address:192.0.2.1"


def test_a_user_of_any_length_is_a_short_key() -> None:
    """And still two."""
    long = [user(http_scope(user=SimpleUser("x" * length))) for length in (1000, 1001)]
    assert len(set(long)) == 2
    assert {len(key) for key in long} == {32}


def test_a_path_is_one_key_however_it_is_written() -> None:
    """Below the root path, and short."""
    for written in ("/a/b", "/a/b/", "//a//b", "/a/b\n"):
        assert path(http_scope(written)) == "/a/b"
    assert path(http_scope("/v1/a", root_path="/v1")) == "/a"
    assert path(http_scope("/a")) != path(http_scope("/b"))
    assert len(path(http_scope("/" + "x" * 5000))) == 32


def fixed(answer: Any) -> Callable[[Any], Any]:
    """Return a key function that always returns this."""
    return lambda scope: answer


PARTS = st.lists(st.text(max_size=200) | st.from_regex(r"[0-9:]{0,6}", fullmatch=True), min_size=1)


@given(PARTS, PARTS)
def test_no_two_combinations_share_a_key(one: list[str], other: list[str]) -> None:
    """However the parts are cut, and however long they are."""
    keys = [combine(*map(fixed, parts))(http_scope()) for parts in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)
    assert all(isinstance(key, str) and len(key) <= 128 for key in keys)


def test_the_hash_of_a_part_is_not_the_part() -> None:
    """Who knows the hash of somebody's long name cannot write it as his own."""
    long = "x" * 1000
    posing = bounded(long)
    assert combine(fixed(long), path)(http_scope()) != combine(fixed(posing), path)(http_scope())


def test_combinations_may_be_combined() -> None:
    """And are other keys than all parts in a row."""
    a, b, c = fixed("a"), fixed("b"), fixed("c")
    scope = http_scope()
    keys = {
        combine(combine(a, b), c)(scope),
        combine(a, combine(b, c))(scope),
        combine(a, b, c)(scope),
    }
    assert len(keys) == 3


def test_what_is_secret_stays_hashed_in_a_combination() -> None:
    """As it is alone."""
    scope = http_scope(headers={"x-api-key": "secret-of-ann"})
    assert "secret" not in str(combine(header("x-api-key"), path)(scope))


def test_a_part_of_none_exempts() -> None:
    """Whichever it is."""
    assert combine(path, fixed(None))(http_scope()) is None
    assert combine(fixed(None), path)(http_scope()) is None


def test_a_combination_waits_for_its_parts() -> None:
    """And is the same key as one that need not."""

    async def slow(scope: Any) -> str:
        await asyncio.sleep(0)
        return "ann"

    async def nobody(scope: Any) -> None:
        return None

    async def ask(key: Any) -> Any:
        return await key(http_scope())

    ready = combine(combine(fixed("ann"), path), client_ip)(http_scope())
    assert asyncio.run(ask(combine(combine(slow, path), client_ip))) == ready
    assert asyncio.run(ask(combine(path, nobody))) is None


def test_a_connection_keeps_its_number() -> None:
    """Also where a second guard meets it; no two have one, and without there is the address."""
    one, other = websocket_scope(), websocket_scope()
    assert connection(one) == connection(other) == "address:192.0.2.1"
    open_connection(one)
    open_connection(other)
    number = connection(one)
    assert number.startswith("connection:")
    open_connection(one)
    assert connection(one) == number != connection(other)


def test_processes_that_were_forked_number_apart() -> None:
    """Workers have all in common that was there before the fork, and may share a store."""
    code = (
        "import os, asgi_guard.keys as keys\n"
        "child, scope = os.fork(), {}\n"
        "keys.open_connection(scope)\n"
        "os.write(1, f'{keys.connection(scope)}\\n'.encode())\n"  # in one piece, from both
        "child and os.waitpid(child, 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    numbers = run.stdout.split()
    assert len(numbers) == len(set(numbers)) == 2


@pytest.mark.parametrize("keys", [(), ("path",), ([path],), (path, str), (path, lambda: "x")])
def test_a_combination_of_no_keys_is_refused(keys: Any) -> None:
    """When it is made."""
    with pytest.raises(ConfigurationError, match=r"^combine\.keys is "):
        combine(*keys)


def test_a_part_that_is_no_string_is_named() -> None:
    """The function, what it returned, and what it may return."""

    def tenant(scope: Any) -> Any:
        return 7

    with pytest.raises(TypeError, match=r"tests\.test_keys\..*tenant returned 7; allowed: a str"):
        combine(path, tenant)(http_scope())


def test_equal_combinations_are_equal() -> None:
    """They are values, as rules are."""
    assert combine(user, path) == combine(user, path)
    assert hash(combine(user, path)) == hash(combine(user, path))
    assert combine(user, path) != combine(path, user)
