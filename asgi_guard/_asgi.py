"""The ASGI vocabulary that every guard speaks."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

# At the edge `Any`: frameworks describe scope and messages with types of their own
# (plain mappings, typed dictionaries), and none of those accepts the other's.
ASGIApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]


class ASGIGuard(Protocol):
    """A guard: calling it with an ASGI app returns an ASGI app."""

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """Wrap the app."""
        ...


def header_value(scope: Scope, name: bytes) -> bytes | None:
    """Return the first value of a request header field, or None; the name in lower case."""
    for field, value in scope["headers"]:
        if field == name:
            return bytes(value)
    return None


def is_preflight(scope: Scope) -> bool:
    """Tell whether this is a CORS preflight, which a browser sends without being asked to."""
    return (
        scope.get("method") == "OPTIONS"
        and header_value(scope, b"origin") is not None
        and header_value(scope, b"access-control-request-method") is not None
    )
