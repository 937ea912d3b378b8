"""A middleware for clients of aiohttp that puts every request through a breaker."""

import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import TypeAlias

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.downstream.http_calls import (
    HttpCall,
    HttpCalls,
    HttpErrors,
    Key,
    host_and_port,
    raised_in,
)
from asgi_guard.errors import CircuitOpen

Send: TypeAlias = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
"""What sends a request and returns the response."""

Middleware: TypeAlias = Callable[[aiohttp.ClientRequest, Send], Awaitable[aiohttp.ClientResponse]]
"""What aiohttp takes as a middleware of a client."""

_WAITS_FOR_POOL = "_wait_for_available_connection"  # of aiohttp, in the traceback of a timeout


class RequestRefused(aiohttp.ClientConnectionError, CircuitOpen):
    """A breaker refused a request: an error of aiohttp, and `CircuitOpen` as well.

    Args:
        message: What was refused, and why.
        retry_after: Seconds until the breaker admits a trial; default None: nobody knows.
        breaker: The breaker's name.
        state: The state it was in; default `"open"`.
        request: The request; default None.
    """

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        breaker: str = "",
        state: str = "open",
        request: aiohttp.ClientRequest | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after: float | None = retry_after
        self.breaker: str = breaker
        self.state: str = state
        self.request: aiohttp.ClientRequest | None = request


def breaker_middleware(
    breaker: CircuitBreaker, *, key: Key[aiohttp.ClientRequest] | None = host_and_port
) -> Middleware:
    """Return a middleware that puts every request through a breaker, each hop as one.

    It goes into `ClientSession(middlewares=...)`, as the innermost, which is the last one.

    Args:
        breaker: The breaker.
        key: A plain function of the request to a string: requests of the same string share a child
            of the breaker (`for_key`); default `host:port`. None: all share the breaker.

    Raises:
        ConfigurationError: The breaker or the key is not what it must be.
    """
    calls = HttpCalls("breaker_middleware", breaker, key, _ERRORS)

    async def guarded(request: aiohttp.ClientRequest, send: Send) -> aiohttp.ClientResponse:
        call = calls.begin(request)
        try:
            response = await send(request)
        except BaseException as error:
            _take_error(call, error)
            raise
        fields = response.headers
        try:
            call.answered(response, response.status, fields.get("retry-after"), fields.get("date"))
        except BaseException:  # of a classify function: the connection is not to be lost
            response.close()
            raise
        if not call.is_settled:
            _follow(response, call)
        return response

    return guarded


def _refused(refusal: CircuitOpen, request: aiohttp.ClientRequest) -> RequestRefused:
    return RequestRefused(
        str(refusal), refusal.retry_after, refusal.breaker, refusal.state, request
    )


def _of_status(response: aiohttp.ClientResponse) -> aiohttp.ClientResponseError:
    return aiohttp.ClientResponseError(
        response.request_info,
        response.history,
        status=response.status,
        message=response.reason or "",
        headers=response.headers,
    )


def _is_of_status(error: BaseException, response: aiohttp.ClientResponse) -> bool:
    if not isinstance(error, aiohttp.ClientResponseError):
        return False
    return error.request_info is response.request_info


_ERRORS: HttpErrors[aiohttp.ClientRequest] = HttpErrors(
    telling=(aiohttp.ClientError, ConnectionError, TimeoutError),
    local=(aiohttp.InvalidURL, aiohttp.TooManyRedirects, aiohttp.UploadAbortedError),
    refused=_refused,
    of_status=_of_status,
    is_of_status=_is_of_status,
)


def _take_error(call: HttpCall[aiohttp.ClientRequest], error: BaseException) -> None:
    if _is_undecodable(error) or (isinstance(error, TimeoutError) and _waited_for_pool(error)):
        call.told_nothing()
    else:
        call.failed(error)


def _is_undecodable(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, ContentEncodingError):
        seen = seen.__cause__
    return seen is not None


def _waited_for_pool(error: BaseException) -> bool:
    # aiohttp has one error for a pool that is full and for a server that does not answer.
    seen: BaseException | None = error
    while seen is not None:
        if any(frame.f_code.co_name == _WAITS_FOR_POOL for frame in _frames(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _follow(response: aiohttp.ClientResponse, call: HttpCall[aiohttp.ClientRequest]) -> None:
    # A body ends in one of two ways: it is read to the end, or the response is let go.
    close, release = response.close, response.release

    def settle(*, at_end: bool) -> None:
        if not call.is_settled:
            broken = None if at_end else _what_broke(response)
            if at_end:
                call.ended()
            elif broken is None:
                call.let_go()
            else:
                _take_error(call, broken)
        vars(response).pop("close", None)  # nothing is left behind, nor a cycle to collect
        vars(response).pop("release", None)

    def closed() -> None:
        settle(at_end=False)
        close()

    def released() -> object:
        settle(at_end=False)
        return release()

    response.close = closed  # type: ignore[method-assign]
    response.release = released  # type: ignore[method-assign]
    response.content.on_eof(lambda: settle(at_end=True))


def _what_broke(response: aiohttp.ClientResponse) -> BaseException | None:
    broken = response.content.exception()
    if broken is not None:
        return broken
    # A timeout of the whole request goes through the reader of the body while the response is let
    # go; the body itself does not know of it.
    error = sys.exception()
    return error if isinstance(error, TimeoutError) and raised_in(error, "aiohttp") else None


def _frames(error: BaseException) -> list[FrameType]:
    frames = []
    part = error.__traceback__
    while part is not None:
        frames.append(part.tb_frame)
        part = part.tb_next
    return frames
