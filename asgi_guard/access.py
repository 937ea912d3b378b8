"""Access: who may read an ops endpoint."""

import hmac
import ipaddress
from collections.abc import Callable, Sequence
from typing import TypeAlias

from asgi_guard._asgi import Scope, header_value
from asgi_guard.errors import ConfigurationError

Access: TypeAlias = str | Sequence[str] | Callable[[Scope], bool] | None
"""A bearer token, networks in CIDR notation, a function of the scope, or None for everybody."""

AccessTest: TypeAlias = Callable[[Scope], bool]

_ALLOWED = (
    "None for everybody, a bearer token of at least 16 characters, networks such as "
    "['127.0.0.0/8', '::1/128'], or a plain function of the scope"
)
_SHORTEST_TOKEN = 16


def compile_access(field: str, access: object) -> AccessTest | None:
    """Turn an access setting into a test of the scope; None lets everybody in.

    Raises:
        ConfigurationError: It is no access setting. The message does not show a token.
    """
    if access is None:
        return None
    if isinstance(access, str):
        return _bearer(field, access)
    if callable(access):
        return access
    if isinstance(access, Sequence) and access:
        return _networks(field, access)
    raise ConfigurationError(field, access, _ALLOWED)


def _bearer(field: str, token: str) -> AccessTest:
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise ConfigurationError(field, "a string that is no token", _ALLOWED)
    expected = f"Bearer {token}".encode()
    return lambda scope: hmac.compare_digest(header_value(scope, b"authorization") or b"", expected)


def _networks(field: str, networks: Sequence[object]) -> AccessTest:
    try:
        allowed = [ipaddress.ip_network(str(network)) for network in networks]
    except ValueError as error:
        raise ConfigurationError(field, networks, f"{_ALLOWED} ({error})") from error

    def is_inside(scope: Scope) -> bool:
        client = scope.get("client")
        try:
            address = ipaddress.ip_address(client[0] if client else "")
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in allowed)

    return is_inside
