"""What the status of an HTTP response says about the health of the server that sent it."""

from asgi_guard.breaker.states import Outcome

_LEAST_FAILURE = 500
_SAYS_NOTHING = frozenset({501, 505})  # of the request, rather than of the server
_STATUSES = range(100, 600)
# Of aiohttp, by name: what its parser makes of bytes that are no HTTP, and the answer of a proxy.
_NO_HTTP = ("aiohttp.http_exceptions", "HttpProcessingError")
_OF_PROXY = ("aiohttp.client_exceptions", "ClientHttpProxyError")

ASKS_FOR_PEACE: frozenset[int] = frozenset({429, 503})
"""Statuses with which `Retry-After` says how long a server wants to be left alone."""


def outcome_of_status(status: int) -> Outcome:
    """Return what a response comes to: an error of the client is an answer of the server.

    500, 502, 503 and 504 are failures, and so is every other status from 506 up. 501 and 505 say
    nothing. All below 500 are successes, 429 among them: a server that throttles is alive.
    """
    if status < _LEAST_FAILURE:
        return Outcome.SUCCESS
    return Outcome.IGNORED if status in _SAYS_NOTHING else Outcome.FAILURE


def status_of(error: BaseException) -> int | None:
    """Return the status that an error carries, as those of HTTP clients do; None without one.

    A status that the client made up, since the server spoke no HTTP, is none; nor is a proxy's.
    """
    if _is_a(error, _OF_PROXY) or _is_a(error.__cause__, _NO_HTTP):
        return None
    for holder in (error, _read(error, "response")):
        for name in ("status_code", "status"):
            status = _read(holder, name)
            if isinstance(status, int) and status in _STATUSES:
                return int(status)
    return None


def fields_of(error: BaseException) -> tuple[str | None, str | None]:
    """Return the `Retry-After` and `Date` fields of the response that an error carries.

    They are those of its `response`, or its own where it has a `status`, as errors of aiohttp and
    urllib have. What has a `status_code` itself is what an app raises to answer its own client: how
    long that has to wait is no word of a downstream.
    """
    for holder in (_read(error, "response"), error):
        fields = _read(holder, "headers")
        if fields is None or (holder is error and _read(error, "status_code") is not None):
            continue
        asked = _field(fields, "Retry-After")
        if asked is not None:
            return asked, _field(fields, "Date")
    return None, None


def _field(fields: object, name: str) -> str | None:
    """Return a field, of whatever holds fields; a plain mapping may have it in small letters."""
    get = _read(fields, "get")
    try:
        values = [get(each) for each in (name, name.lower())] if callable(get) else []
    except Exception:  # noqa: BLE001 - it is anybody's code
        return None
    return next((each for each in values if isinstance(each, str)), None)


def _is_a(error: object, name: tuple[str, str]) -> bool:
    return any((kind.__module__, kind.__name__) == name for kind in type(error).__mro__)


def _read(holder: object, name: str) -> object:
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - a property is anybody's code, and may have nothing to tell
        return None
