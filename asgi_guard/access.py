"""Access: who may read an ops endpoint."""

import hmac
import inspect
import ipaddress
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from asgi_guard._asgi import Scope, header_value
from asgi_guard._checks import check_function
from asgi_guard.errors import ConfigurationError, Withheld

Access: TypeAlias = str | Sequence[str] | Callable[[Scope], bool] | None
"""A bearer token, networks in CIDR notation, a function that returns True for who may, or None."""

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
        check_function(field, access, _ALLOWED, shown=Withheld(access))
        return _strictly(access)
    if isinstance(access, list | tuple | set | frozenset) and access:
        return _networks(field, access)
    raise ConfigurationError(field, Withheld(access), _ALLOWED)


def _strictly(allows: Callable[[Scope], bool]) -> AccessTest:
    def is_allowed(scope: Scope) -> bool:
        answer: object = allows(scope)
        if inspect.iscoroutine(answer):
            answer.close()  # an async function in disguise: what it returns is no answer, but true
        return answer is True

    return is_allowed


def _bearer(field: str, token: str) -> AccessTest:
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise ConfigurationError(field, Withheld(token), _ALLOWED)
    if _is_network(token):
        raise ConfigurationError(field, Withheld(token), f"networks in a list; {_ALLOWED}")
    expected = f"Bearer {token}".encode()
    return lambda scope: hmac.compare_digest(header_value(scope, b"authorization") or b"", expected)


def _is_network(text: object) -> bool:
    try:
        ipaddress.ip_network(str(text))
    except ValueError:
        return False
    return True


def _networks(field: str, networks: Collection[object]) -> AccessTest:
    if not all(isinstance(network, str) and _is_network(network) for network in networks):
        raise ConfigurationError(field, Withheld(networks), _ALLOWED)
    allowed = [ipaddress.ip_network(str(network)) for network in networks]

    def is_inside(scope: Scope) -> bool:
        client = scope.get("client")
        try:
            address = ipaddress.ip_address(client[0] if client else "")
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in allowed)

    return is_inside
