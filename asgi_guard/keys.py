"""Keys: whom a quota is charged to.

A key is a function from scope to string. Nothing that a client chooses gets into one unbounded:
an address is normalised, a header value is hashed, a long string is cut to its hash.
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from os import getpid
from secrets import token_hex
from typing import TypeAlias

from asgi_guard._asgi import Scope, header_value
from asgi_guard._checks import check_function, is_async
from asgi_guard.callback import Callback, wrong_answer
from asgi_guard.errors import ConfigurationError
from asgi_guard.matching import app_path

Key: TypeAlias = Callable[[Scope], str | Awaitable[str | None] | None]
"""A function, plain or async, from scope to the key of a request; None exempts the request."""

KEYS = (
    "client_ip, header('x-api-key'), user, path, combine(...) of such, or a function, plain or "
    "async, from scope to string"
)

UNKNOWN_CLIENT = "unknown"
"""The key of all clients without an address, such as those behind a Unix socket."""

_FIELD_NAME = re.compile(r"[a-z0-9!#$%&'*+.^`|~-]+")  # RFC 9110, section 5.1, less the underscore
_LONGEST_KEY = 128
_DIGEST_BYTES = 16
_IPV6_PREFIX = 64
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last bits
_LONGEST_HOST = 64
_CONNECTION = "asgi_guard.connection"
_PROCESS = token_hex(8)
_NUMBERS = count()


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
    """Return the key, or its hash when it is long."""
    if len(key) <= _LONGEST_KEY:
        return key
    return digest(key.encode("utf-8", "surrogatepass"))


def key_callback(key: Key) -> Callback[str | None]:
    """Return the key function, with a check of what it returns, and a bound on its length."""
    is_ours = type(key) in {HeaderKey, CombinedKey} or key in (client_ip, user, path, connection)
    return Callback("key function", key, _bounded_key, is_ours=is_ours)


def _bounded_key(asked: str, answer: object) -> str | None:
    if answer is None:
        return None
    if not isinstance(answer, str):
        raise wrong_answer(asked, answer, "a string, or None to exempt")
    return bounded(answer)


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


def user(scope: Scope) -> str:
    """Key requests by the authenticated user, and those of nobody by their client's address.

    It reads `scope["user"]` as Starlette's `AuthenticationMiddleware` sets it: of a user who
    `is_authenticated`, the `identity`, or the `display_name` where there is none. That middleware
    must be outside of the guard: what authenticates further in is not there yet. Nothing else is
    believed, `scope["state"]` neither, where no name means the same in two apps.

    A user cannot be taken for an address, nor an address for a user, whatever the user is called.
    """
    found = scope.get("user")
    if found is not None and getattr(found, "is_authenticated", False):
        name = _name(found)
        if name:
            return bounded(f"user:{name}")
    return f"address:{client_ip(scope)}"


def _name(found: object) -> str:
    for attribute in ("identity", "display_name"):
        try:
            name = getattr(found, attribute, None)
        except NotImplementedError:  # as Starlette's own users say that they have none
            continue
        if name is not None and name != "":
            return str(name)
    return ""


def connection(scope: Scope) -> str:
    """Key the messages of websockets by their connection: a quota for each.

    It is for `RateLimit(messages=...)`, whose guard numbers the connections that it admits, in
    their scope; no two processes give one number. Anything else, a handshake as well, is keyed by
    its client's address: each would be new. Who opens many connections has as many quotas, so
    limit the handshakes too.
    """
    number = scope.get(_CONNECTION)
    return f"address:{client_ip(scope)}" if number is None else f"connection:{number}"


def open_connection(scope: Scope) -> None:
    """Number a websocket, if it has no number."""
    if _CONNECTION not in scope:
        # Processes that were forked have the random part in common, and are told apart by theirs.
        scope[_CONNECTION] = f"{_PROCESS}-{getpid()}-{next(_NUMBERS)}"


def path(scope: Scope) -> str:
    """Key requests by their path: below `root_path`, and in one spelling; a quota for each.

    Who invents paths gets a new quota with each: combine it with another key, and keep a rule for
    all clients beside it.
    """
    return bounded(app_path(scope))


@dataclass(frozen=True, slots=True)
class CombinedKey:
    """Keys a request by several keys at once; made by `combine()`."""

    keys: tuple[Key, ...]
    _parts: tuple[Callback[str | None], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what is no key."""
        if not self.keys:
            raise ConfigurationError("combine.keys", self.keys, f"at least one of {KEYS}")
        for key in self.keys:
            check_function("combine.keys", key, KEYS, may_wait=True)
        parts = tuple(Callback("key function", key, _whole_key) for key in self.keys)
        object.__setattr__(self, "_parts", parts)

    def __call__(self, scope: Scope) -> str | None:
        """Return the key of all parts, or None where a part is None."""
        whole = ""
        for part in self._parts:
            found = part.plain(scope)
            if found is None:
                return None
            whole += f"{len(found)}:{found}"
        return bounded(whole)


class AwaitedKey(CombinedKey):
    """Keys a request by several keys, some of which must be awaited; made by `combine()`."""

    __slots__ = ()

    async def __call__(self, scope: Scope) -> str | None:  # type: ignore[override]
        """Return the key of all parts, or None where a part is None."""
        whole = ""
        for part in self._parts:
            found = await part.ask(scope)
            if found is None:
                return None
            whole += f"{len(found)}:{found}"
        return bounded(whole)


def _whole_key(asked: str, answer: object) -> str | None:
    # Without a bound: the hash of a long part could be written as a short one.
    if answer is None or isinstance(answer, str):
        return answer
    raise wrong_answer(asked, answer, "a string, or None to exempt")


def combine(*keys: Key) -> Key:
    """Key requests by several keys at once: `combine(user, path)` is a quota per user and path.

    No two combinations share a key: each part is written with its length. Where a part is None,
    the request is exempt. Combinations may be combined, and be awaited where a part must be.

    Args:
        keys: The keys, at least one.

    Raises:
        ConfigurationError: One of them is no key.
    """
    return (AwaitedKey if any(map(is_async, keys)) else CombinedKey)(keys)
