"""Keys: whom a quota is charged to.

A key is a function from scope to string. Nothing that a client chooses gets into one unbounded:
an address is normalised, a header value is hashed, a long string is cut to its hash.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import TypeAlias

from asgi_guard._asgi import Scope, header_value
from asgi_guard.errors import ConfigurationError

Key: TypeAlias = Callable[[Scope], str | None]
"""A function from scope to the key of a request; None exempts the request from the rule."""

UNKNOWN_CLIENT = "unknown"
"""The key of all clients without an address, such as those behind a Unix socket."""

_FIELD_NAME = re.compile(r"[a-z0-9!#$%&'*+.^`|~-]+")  # RFC 9110, section 5.1, less the underscore
_LONGEST_KEY = 128
_DIGEST_BYTES = 16
_IPV6_PREFIX = 64
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last bits
_LONGEST_HOST = 64


def client_ip(scope: Scope) -> str:
    """Key a request by its client's address: the peer of the connection, no header believed.

    An IPv6 client is its /64 network, since one subscriber owns at least that much; an IPv4 address
    within IPv6 (mapped, or by NAT64) is the IPv4 address. Clients without an address share one key.
    """
    client = scope.get("client")
    host: str = client[0] if client else ""
    if ":" in host or len(host) > _LONGEST_HOST:
        return _normalised(host) if len(host) <= _LONGEST_HOST else bounded(host)
    return host or UNKNOWN_CLIENT


@lru_cache(maxsize=4096)
def _normalised(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return bounded(host)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address in _NAT64:
        return str(ipaddress.IPv4Address(address.packed[-4:]))
    return str(ipaddress.IPv6Network((address, _IPV6_PREFIX), strict=False))


def digest(value: bytes) -> str:
    """Return a short hash of a value that should be neither kept nor shown."""
    return blake2b(value, digest_size=_DIGEST_BYTES).hexdigest()


def bounded(key: str) -> str:
    """Return the key, or its hash when it is long.

    Raises:
        TypeError: It is no string, so a key function is wrong.
    """
    if not isinstance(key, str):
        raise TypeError(f"a key function returned {key!r}; allowed: a string, or None to exempt")
    if len(key) <= _LONGEST_KEY:
        return key
    return digest(key.encode("utf-8", "surrogatepass"))


def compile_key(key: Key) -> Key:
    """Return the key function, with a bound on what it returns where it has none of its own."""
    if key is client_ip or isinstance(key, HeaderKey):
        return key

    def bounded_key(scope: Scope) -> str | None:
        found = key(scope)
        return None if found is None else bounded(found)

    return bounded_key


@dataclass(frozen=True, slots=True)
class HeaderKey:
    """Keys a request by the hash of a header field's value; made by `header()`."""

    name: str
    _wire_name: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be a field name."""
        name = self.name
        if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name.lower()):
            raise ConfigurationError(
                "header.name",
                name,
                "a field name of RFC 9110 such as 'x-api-key': letters, digits and hyphens, no "
                "spaces, no colon, and hyphens where a WSGI name would have underscores",
            )
        object.__setattr__(self, "name", name.lower())
        object.__setattr__(self, "_wire_name", name.lower().encode("ascii"))

    def __call__(self, scope: Scope) -> str:
        """Return the hash of the value, or the client's address where the field is missing."""
        value = header_value(scope, self._wire_name)
        return client_ip(scope) if value is None else digest(value)


def header(name: str) -> HeaderKey:
    """Key requests by a header field, such as an API key.

    The value is kept as a hash only. A request without the field is keyed by its client's
    address, so that leaving it out is no way round the limit. Whoever invents a new value gets a
    new quota: keep a rule for all clients beside this one, unless something outside checks the
    values.

    Args:
        name: The field's name, in any case, such as `"x-api-key"`.

    Raises:
        ConfigurationError: The name cannot be that of a header field.
    """
    return HeaderKey(name)
