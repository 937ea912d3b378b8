"""Trusted proxies: who the client is, where not every request comes from it directly."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from asgi_guard._asgi import ASGIApp, Scope
from asgi_guard._checks import check_count
from asgi_guard.errors import ConfigurationError
from asgi_guard.exchange import Exchange
from asgi_guard.forwarded import (
    FORWARDED,
    MOST_ENTRIES,
    X_FORWARDED_FOR,
    entries_of,
    host_and_port,
)
from asgi_guard.keys import HeaderKey
from asgi_guard.networks import Network, knowing, network_of, parse_network
from asgi_guard.shell import Admission, Layer, Shell

_log = logging.getLogger("asgi_guard")

_UNIX = "unix"
_NETWORKS = (
    "the addresses and networks of your proxies, such as '127.0.0.1', '10.0.0.0/8' and 'fd00::/8', "
    "each as an argument of its own, and 'unix' for the peers of a Unix socket"
)
_HEADERS = (
    "'x-forwarded-for', 'forwarded', or a header field that holds one address and that your proxy "
    "always sets, such as 'x-real-ip'"
)


@dataclass(frozen=True, slots=True, init=False)
class TrustedProxies:
    """Puts the client's address in `scope["client"]`, where a trusted proxy tells it.

    The field is read only when the peer of the connection is trusted; everybody else can write
    anything. Of a list, each proxy adds its own peer on the right: from there on, trusted addresses
    are skipped, and the first other one is the client. The walk ends at what is no address, with
    the last one before it. If all are trusted, the left-most is the client.

    Everything inside sees the client: limits, `access=`, the app. Beside a server that rewrites the
    address as well it does no harm: the client that the server has found is no trusted peer.

    The scope is changed in place, as servers do it, and stays so: what an app leaves in it is seen
    outside, and an access log names the client.

    Args:
        networks: The proxies: addresses and networks in CIDR notation, such as `"10.0.0.0/8"`, and
            `"unix"` for peers without an address, as on a Unix socket. At least one, unless `hops`
            is given.
        header: Where the proxies tell the address: `"x-forwarded-for"` (the default),
            `"forwarded"` (RFC 7239), or the name of a field with a single address, such as
            `"x-real-ip"`. No other field is read.
        hops: Take the n-th address of the list from the right, whatever its network is; a whole
            number from 1 to 64; default None: walk as above. A list that is too short tells
            nothing. Networks that are given as well must hold the peer.

    Raises:
        ConfigurationError: A field is wrong; the message says which, and what is allowed.
    """

    networks: tuple[str, ...]
    header: str
    hops: int | None

    def __init__(
        self, *networks: str, header: str = X_FORWARDED_FOR, hops: int | None = None
    ) -> None:
        if not networks and hops is None:
            raise ConfigurationError("TrustedProxies.networks", networks, _NETWORKS)
        for network in networks:
            _parse(network)
        name = _field_name(header)
        if hops is not None:
            _check_hops(hops, name)
        object.__setattr__(self, "networks", networks)
        object.__setattr__(self, "header", name)
        object.__setattr__(self, "hops", hops)

    def __call__(self, app: ASGIApp) -> Shell:
        """Wrap an ASGI app."""
        return Shell(self, app, [ProxiesLayer(self)])


class ProxiesLayer(Layer):
    """A `TrustedProxies` round one app.

    Attributes:
        settings: Whom it trusts.
    """

    def __init__(self, settings: TrustedProxies) -> None:
        self.settings: TrustedProxies = settings
        self._header = settings.header
        self._wire_name = settings.header.encode("ascii")
        self._entries = entries_of(settings.header)
        self._hops = settings.hops
        self._trusts_all = not settings.networks
        self._trusts_unix = _UNIX in settings.networks
        parsed = (_parse(network) for network in settings.networks)
        self._known = knowing([network for network in parsed if network is not None])
        self._told = False

    def admit(self, exchange: Exchange) -> Admission:
        """Put the client's address in the scope; everybody is admitted."""
        scope = exchange.scope
        peer = scope.get("client")
        host = (peer and peer[0]) or ""
        if self._is_trusted(host):
            client = self._client(scope)
            if client is not None:
                scope["client"] = client
        elif not self._told:
            self._tell(scope, host)
        return None

    admit_socket = admit

    def _is_trusted(self, host: str) -> bool:
        if self._trusts_all:
            return True
        if not host:
            return self._trusts_unix
        known = self._known(host)
        return known is not None and known.is_trusted

    def _client(self, scope: Scope) -> tuple[str, int] | None:
        """Return address and port of the client, or None where nobody tells."""
        lines = self._lines(scope)
        if not lines:
            return None
        entries = self._entries(lines)
        if self._hops is not None:
            entries = islice(entries, self._hops - 1, self._hops)
        return self._walk(entries)

    def _lines(self, scope: Scope) -> list[bytes]:
        wire_name = self._wire_name
        return [value for name, value in scope["headers"] if name == wire_name]

    def _walk(self, entries: Iterator[str]) -> tuple[str, int] | None:
        client = None
        for entry in entries:
            host, port = host_and_port(entry)
            known = self._known(host)
            if known is None:
                break
            client = (known.address, port)
            if not known.is_trusted:
                break
        return client

    def _tell(self, scope: Scope, host: str) -> None:
        """Warn, once, that the field came from a peer that is not trusted."""
        lines = self._lines(scope)
        # A server that has rewritten the address has taken it from this very field.
        if not lines or (host and any(host.encode("utf-8", "replace") in line for line in lines)):
            return
        self._told = True
        _log.warning(
            "AG001: %s came from %s, which is no trusted proxy, and was ignored. If it is a proxy "
            "of yours, add %s to TrustedProxies; if it is not, there is nothing to do. This is "
            "said once. See docs/reference/trusted-proxies.md#ag001",
            self._header,
            *self._place(host),
        )

    def _place(self, host: str) -> tuple[str, str]:
        """Return what to call a peer, and what to trust if it is a proxy."""
        if not host:
            return "a peer without an address", repr(_UNIX)
        known = self._known(host)
        if known is None:
            return "a peer with no IP address", "its IP address"
        network = network_of(known.address)
        return network, f"'{network}'"


def _parse(network: object) -> Network | None:
    """Return a network, or None for the word for Unix sockets."""
    if network == _UNIX:
        return None
    parsed = parse_network("TrustedProxies.networks", network, _NETWORKS)
    if not parsed.prefixlen:
        raise ConfigurationError(
            "TrustedProxies.networks",
            network,
            f"not everybody, who could then choose an address; {_NETWORKS}, or hops= alone",
        )
    return parsed


def _field_name(header: object) -> str:
    try:
        return HeaderKey(header).name  # type: ignore[arg-type]
    except ConfigurationError as error:
        raise ConfigurationError("TrustedProxies.header", header, _HEADERS) from error


def _check_hops(hops: object, header: str) -> None:
    if header not in {X_FORWARDED_FOR, FORWARDED}:
        raise ConfigurationError(
            "TrustedProxies.hops", hops, f"None with {header!r}, which holds one address"
        )
    check_count("TrustedProxies.hops", hops)
    if isinstance(hops, int) and hops > MOST_ENTRIES:
        raise ConfigurationError(
            "TrustedProxies.hops", hops, f"{MOST_ENTRIES} at most: no more entries are read"
        )
