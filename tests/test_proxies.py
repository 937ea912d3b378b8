"""Trusted proxies: who the client is, and who only says so."""

import logging
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asgi_guard import (
    ConfigurationError,
    Guard,
    Health,
    Metrics,
    RateLimit,
    TrustedProxies,
    client_ip,
)
from asgi_guard._asgi import ASGIApp, Scope
from tests.docs.pages import ROOT, anchors
from tests.driver import connect, get, hello, http_scope

PROXY = ("10.0.0.1", 4000)
CLIENT = "203.0.113.7"
TRUSTED = TrustedProxies("10.0.0.0/8", "fd00::/8")
LISTS = ("x-forwarded-for", "forwarded")


def scope_of(peer: Any, header: str, *lines: bytes) -> Scope:
    """Return the scope of a request with this field, in as many lines."""
    return http_scope(client=peer) | {"headers": [(header.encode(), line) for line in lines]}


def client_of(guard: TrustedProxies, scope: Scope) -> Any:
    """Return the client that an app inside sees: at once, since nothing has to be waited for."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"])

    exchange = get()
    with suppress(StopIteration):
        guard(app)(scope, exchange.receive, exchange.send).__await__().send(None)
    return seen[0]


def client_behind(value: str, peer: Any = PROXY, guard: TrustedProxies = TRUSTED) -> Any:
    """Return the client of a request that came from a peer with this value in the field."""
    return client_of(guard, scope_of(peer, guard.header, value.encode()))


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (CLIENT, (CLIENT, 0)),
        (f"{CLIENT}:4711", (CLIENT, 4711)),
        ("[2001:db8::1]:4711", ("2001:db8::1", 4711)),
        ("2001:DB8:0::1", ("2001:db8::1", 0)),
        ("fe80::1%eth0", ("fe80::1", 0)),
        (f"::ffff:{CLIENT}", (CLIENT, 0)),
        (f"192.0.2.66, {CLIENT}", (CLIENT, 0)),
        (f"192.0.2.66, {CLIENT}, 10.0.0.2, fd00::2", (CLIENT, 0)),
        (f"{CLIENT}, ::ffff:10.0.0.2", (CLIENT, 0)),
        ("10.0.0.3:33, 10.0.0.2", ("10.0.0.3", 33)),
        ("192.0.2.66, unknown, 10.0.0.2", ("10.0.0.2", 0)),
        ("192.0.2.66, , 10.0.0.2", ("10.0.0.2", 0)),
        (f"192.0.2.66, {CLIENT}:99999, 10.0.0.2:80", ("10.0.0.2", 80)),
        ("192.0.2.66, _hidden", PROXY),
        ("192.0.2.66, 10.0.0.1/8", PROXY),
        ("1" * 9000, PROXY),
        ("", PROXY),
    ],
)
def test_the_first_address_from_the_right_that_is_not_trusted_is_the_client(
    value: str, client: tuple[str, int]
) -> None:
    """Trusted ones are skipped, and the walk ends at what is no address."""
    assert client_behind(value) == client


def test_a_field_that_is_missing_changes_nothing() -> None:
    """As for the probe of a proxy itself; and other fields are not looked at."""
    assert client_of(TRUSTED, scope_of(PROXY, "forwarded", b"for=192.0.2.66")) == PROXY
    assert client_of(TRUSTED, scope_of(PROXY, "x-real-ip", b"192.0.2.66")) == PROXY


@pytest.mark.parametrize("guard", [TRUSTED, TrustedProxies("10.0.0.0/8", hops=1)])
@pytest.mark.parametrize(
    "peer", [("192.0.2.1", 1), ("2001:db8::1", 1), ("testclient", 1), ("1" * 999, 1), ("", 0), None]
)
def test_of_a_peer_that_is_not_trusted_nothing_is_believed(
    peer: tuple[str, int] | None, guard: TrustedProxies
) -> None:
    """Anybody can write a header field."""
    assert client_behind(CLIENT, peer, guard) == peer


@pytest.mark.parametrize("peer", [("::ffff:10.0.0.1", 1), ("fd00::1%eth0", 1), ["10.0.0.1", 1]])
def test_a_trusted_peer_is_one_in_any_spelling(peer: Any) -> None:
    """A socket for both families shows IPv4 peers in IPv6."""
    assert client_behind(CLIENT, peer) == (CLIENT, 0)


@pytest.mark.parametrize("peer", [None, ("", 0), (None, None)])
def test_the_peers_of_a_unix_socket_are_trusted_by_their_word(peer: Any) -> None:
    """They have no address."""
    assert client_behind(CLIENT, peer, TrustedProxies("unix")) == (CLIENT, 0)
    assert client_behind("_hidden", peer, TrustedProxies("unix")) == peer
    assert client_behind(CLIENT, PROXY, TrustedProxies("unix")) == PROXY


@pytest.mark.parametrize(
    ("hops", "value", "client"),
    [
        (1, f"192.0.2.66, {CLIENT}", (CLIENT, 0)),
        (2, f"192.0.2.66, {CLIENT}:80, 198.51.100.1", (CLIENT, 80)),
        (2, f"192.0.2.66, {CLIENT}, unknown", (CLIENT, 0)),
        (3, f"{CLIENT}, 198.51.100.1", PROXY),
        (2, "192.0.2.66, unknown, 198.51.100.1", PROXY),
        (64, ",".join([CLIENT] + ["10.0.0.1"] * 63), (CLIENT, 0)),
    ],
)
def test_hops_count_from_the_right(hops: int, value: str, client: tuple[str, int]) -> None:
    """What is further left does not count, and a list that is too short tells nothing."""
    assert client_behind(value, PROXY, TrustedProxies(hops=hops)) == client


def test_hops_do_not_ask_whose_address_it_is() -> None:
    """Networks beside them are for the peer alone."""
    guard = TrustedProxies("10.0.0.0/8", hops=1)
    assert client_behind(f"{CLIENT}, 10.0.0.2", PROXY, guard) == ("10.0.0.2", 0)


def test_with_hops_alone_every_peer_is_a_proxy() -> None:
    """Whoever sets it says that nobody else can connect."""
    for peer in (("192.0.2.1", 1), ("", 0), None):
        assert client_behind(CLIENT, peer, TrustedProxies(hops=1)) == (CLIENT, 0)


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=192.0.2.66, for=203.0.113.7;proto=https, FOR=10.0.0.2", (CLIENT, 0)),
        ('for=192.0.2.66, for="[2001:db8::1]:4711"', ("2001:db8::1", 4711)),
        ('for=192.0.2.66, for="203.0.113.7:80";host="a,b", for=10.0.0.2', (CLIENT, 80)),
        ("for=192.0.2.66, for=unknown, for=10.0.0.2", ("10.0.0.2", 0)),
        ("for=192.0.2.66, for=_hidden", PROXY),
        ("for=192.0.2.66, by=10.0.0.2", PROXY),
        (CLIENT, PROXY),
    ],
)
def test_forwarded_is_understood(value: str, client: tuple[str, int]) -> None:
    """The field of RFC 7239, walked like the other list."""
    guard = TrustedProxies("10.0.0.0/8", header="Forwarded")
    assert client_behind(value, PROXY, guard) == client


def test_a_field_with_one_address_is_read_by_its_name() -> None:
    """From a trusted peer, in one line that holds one address."""
    guard = TrustedProxies("10.0.0.0/8", header="CF-Connecting-IP")
    assert guard.header == "cf-connecting-ip"
    assert client_behind(CLIENT, PROXY, guard) == (CLIENT, 0)
    assert client_behind("[2001:db8::1]", PROXY, guard) == ("2001:db8::1", 0)
    assert client_behind(CLIENT, ("192.0.2.1", 1), guard) == ("192.0.2.1", 1)
    assert client_behind(f"192.0.2.66, {CLIENT}", PROXY, guard) == PROXY
    twice = scope_of(PROXY, guard.header, CLIENT.encode(), b"192.0.2.66")
    assert client_of(guard, twice) == PROXY


_HOSTILE = st.one_of(
    st.binary(),
    st.lists(
        st.sampled_from(
            [b'"', b"\\", b",", b";", b"for=", b"=", b" ", b"10.0.0.1", b"192.0.2.66", b"fd00::1"]
        )
    ).map(b"".join),
)


@given(st.lists(_HOSTILE, max_size=4), _HOSTILE, st.sampled_from(LISTS), st.booleans())
@example([], b'for=10.0.0.2;x="', "forwarded", True)
@example([b"10.0.0.9" + b", 10.0.0.2" * 2000], b"", "x-forwarded-for", False)
def test_nobody_can_write_himself_another_address(
    lines: list[bytes], claim: bytes, header: str, ported: bool
) -> None:
    """Whatever a client writes, the first proxy adds the truth on the right, and that counts."""
    node = f"{CLIENT}:80" if ported else CLIENT
    added = {"x-forwarded-for": f"{node}, 10.0.0.2", "forwarded": f'for="{node}", for=10.0.0.2'}
    last = (claim + b", " if claim else b"") + added[header].encode()
    scope = scope_of(PROXY, header, *lines, last)
    expected = (CLIENT, 80 if ported else 0)
    assert client_of(TrustedProxies(*TRUSTED.networks, header=header), dict(scope)) == expected
    assert client_of(TrustedProxies(header=header, hops=2), dict(scope)) == expected


@given(
    st.sampled_from([*LISTS, "x-real-ip"]),
    st.lists(st.one_of(_HOSTILE, st.text().map(str.encode)), max_size=4),
    st.one_of(st.none(), st.tuples(st.text(), st.integers()), st.just(PROXY)),
)
def test_nothing_that_is_sent_raises(header: str, lines: list[bytes], peer: Any) -> None:
    """The client that is found is the peer, or an address and a port."""
    scope = scope_of(peer, header, *lines)
    found = client_of(TrustedProxies("10.0.0.0/8", "unix", header=header), scope)
    if found != peer:
        assert client_of(TRUSTED, scope_of((found[0], 1), "x-none")) == (found[0], 1)
        assert client_ip(http_scope(client=found))
        assert 0 <= found[1] <= 65535


@pytest.mark.parametrize(
    ("networks", "settings", "field", "allowed"),
    [
        ((), {}, "networks", "the addresses and networks of your proxies"),
        (("*",), {}, "networks", "the addresses and networks of your proxies"),
        ((["10.0.0.0/8"],), {}, "networks", "each as an argument of its own"),
        (("10.0.0.0/8, 127.0.0.1",), {}, "networks", "each as an argument of its own"),
        (("localhost",), {}, "networks", "such as '127.0.0.1'"),
        (("127.0.0.1", None), {}, "networks", "such as '127.0.0.1'"),
        (("10.0.0.1/8",), {}, "networks", "'10.0.0.0/8', or '10.0.0.1' for one address"),
        (("0.0.0.0/0",), {}, "networks", "not everybody"),
        (("::/0",), {"hops": 1}, "networks", "not everybody"),
        (("::ffff:0:0/96",), {}, "networks", "not everybody"),
        (("127.0.0.1",), {"header": "x forwarded for"}, "header", "'x-forwarded-for', 'forwarded'"),
        (("127.0.0.1",), {"header": "x_real_ip"}, "header", "such as 'x-real-ip'"),
        (("127.0.0.1",), {"header": None}, "header", "such as 'x-real-ip'"),
        (("127.0.0.1",), {"hops": 0}, "hops", "a whole number from 1 up"),
        ((), {"hops": 1.0}, "hops", "a whole number from 1 up"),
        ((), {"hops": True}, "hops", "a whole number from 1 up"),
        ((), {"hops": 65}, "hops", "64 at most"),
        (("127.0.0.1",), {"hops": 1, "header": "x-real-ip"}, "hops", "None with 'x-real-ip'"),
    ],
)
def test_a_wrong_field_is_named(networks: Any, settings: Any, field: str, allowed: str) -> None:
    """The field, the value and what is allowed, when the guard is made."""
    with pytest.raises(ConfigurationError) as raised:
        TrustedProxies(*networks, **settings)
    assert raised.value.field == f"TrustedProxies.{field}"
    assert allowed in raised.value.allowed


def test_it_is_a_value() -> None:
    """Two of the same settings are alike, and say what they trust."""
    assert TrustedProxies("10.0.0.0/8", "fd00::/8", header="X-Forwarded-For") == TRUSTED
    assert hash(TRUSTED) == hash(TrustedProxies("10.0.0.0/8", "fd00::/8"))
    assert "10.0.0.0/8" in repr(TRUSTED)
    assert TrustedProxies("10.0.0.0/8", "fd00::/8", hops=2) != TRUSTED


async def test_a_websocket_has_a_client_as_well() -> None:
    """Its handshake carries the same field."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"])

    await connect(client=PROXY, headers={"x-forwarded-for": CLIENT}).run(TRUSTED(app))
    assert seen == [(CLIENT, 0)]


async def test_the_scope_is_the_servers_and_names_the_client_from_then_on() -> None:
    """An access log outside shall name him, and a second look finds nothing else."""
    exchange = get(client=PROXY, headers={"x-forwarded-for": f"192.0.2.66, {CLIENT}"})
    guarded = TRUSTED(hello)
    for _ in range(2):
        await guarded(exchange.scope, exchange.receive, exchange.send)
        assert exchange.scope["client"] == (CLIENT, 0)


async def status_of(app: ASGIApp, path: str, client: str, claim: str = "192.0.2.66") -> int:
    """Return the status that a client gets through the proxy, whatever he claims to be."""
    headers = {"x-forwarded-for": f"{claim}, {client}"}
    return (await get(path, client=PROXY, headers=headers).run(app)).status


async def test_a_quota_is_the_clients_and_not_the_proxys() -> None:
    """Seen from outside: another client has another quota, and another claim has not."""
    app = Guard(proxies=TRUSTED, rate_limit=RateLimit("2/hour"))(hello)
    claims = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert [await status_of(app, "/", CLIENT, claim) for claim in claims] == [200, 200, 429]
    assert await status_of(app, "/", "203.0.113.8") == 200


async def test_access_is_given_to_the_client_and_not_to_the_proxy() -> None:
    """The proxy may stand in a network that is let in, and its clients may not."""
    metrics = Metrics(access=["10.0.0.0/8", "198.51.100.0/24"])
    app = Guard(proxies=TRUSTED, health=Health(), metrics=metrics)(hello)
    assert await status_of(app, "/metrics", CLIENT) == 403
    assert await status_of(app, "/metrics", "198.51.100.1") == 200


async def warnings(
    caplog: pytest.LogCaptureFixture, app: ASGIApp, peer: Any, value: str = CLIENT, times: int = 3
) -> list[str]:
    """Return what is logged when these requests come."""
    caplog.clear()
    for _ in range(times):
        exchange = get(client=peer, headers={"x-forwarded-for": value})
        await exchange.run(app)
    assert all(record.name == "asgi_guard" for record in caplog.records)
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("peer", "place", "remedy"),
    [
        (("172.18.0.5", 1), "172.18.0.0/24", "add '172.18.0.0/24' to TrustedProxies"),
        (("2001:db8::5", 1), "2001:db8::/64", "add '2001:db8::/64' to TrustedProxies"),
        (None, "a peer without an address", "add 'unix' to TrustedProxies"),
        (("testclient", 1), "a peer with no IP address", "add its IP address to TrustedProxies"),
    ],
)
async def test_a_field_from_elsewhere_is_told_once(
    caplog: pytest.LogCaptureFixture, peer: Any, place: str, remedy: str
) -> None:
    """What was seen, the remedy, and where to read on; neither the value nor the very address."""
    app = TRUSTED(hello)
    (told,) = await warnings(caplog, app, peer, "198.51.100.99")
    assert told.startswith(f"AG001: x-forwarded-for came from {place}, ")
    assert remedy in told
    assert "198.51.100.99" not in told
    assert "172.18.0.5" not in told
    page, _, anchor = told.rpartition(" ")[2].partition("#")
    assert anchor in anchors(ROOT / page)
    assert await warnings(caplog, app, ("192.0.2.9", 1)) == []
    assert len(await warnings(caplog, TRUSTED(hello), peer)) == 1  # another app, another warning


async def test_what_needs_no_remedy_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """A trusted peer, no field at all, and a server that has rewritten the address already."""
    app = TRUSTED(hello)
    assert await warnings(caplog, app, PROXY) == []
    assert await warnings(caplog, app, (CLIENT, 0), f"192.0.2.66, {CLIENT}") == []
    await get(client=("192.0.2.1", 1)).run(app)
    assert caplog.records == []
    assert len(await warnings(caplog, app, ("192.0.2.1", 1))) == 1  # it was not used up by them
