"""Transports for httpx2, sync and async, that put every request through a breaker."""

import sys
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Self, TypeAlias, cast

import httpx2

from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.downstream.decoding import async_decoding, decoding
from asgi_guard.downstream.http_calls import (
    HttpCall,
    HttpCalls,
    HttpErrors,
    Key,
    host_and_port,
    raised_in,
)
from asgi_guard.errors import CircuitOpen

_Call: TypeAlias = HttpCall[httpx2.Request]


class RequestRefused(httpx2.TransportError, CircuitOpen):
    """A breaker refused a request: an error of httpx2, and `CircuitOpen` as well.

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
        request: httpx2.Request | None = None,
    ) -> None:
        super().__init__(message, request=request)
        self.retry_after: float | None = retry_after
        self.breaker: str = breaker
        self.state: str = state


def _refused(refusal: CircuitOpen, request: httpx2.Request) -> RequestRefused:
    return RequestRefused(
        str(refusal), refusal.retry_after, refusal.breaker, refusal.state, request
    )


def _of_status(response: httpx2.Response) -> httpx2.HTTPStatusError:
    message = f"the server answered {response.status_code}"
    return httpx2.HTTPStatusError(message, request=response.request, response=response)


def _is_of_status(error: BaseException, response: object) -> bool:
    return isinstance(error, httpx2.HTTPStatusError) and error.response is response


_ERRORS: HttpErrors[httpx2.Request] = HttpErrors(
    # Transports of others may let through what the operating system says.
    telling=(httpx2.TransportError, ConnectionError, TimeoutError),
    local=(httpx2.LocalProtocolError, httpx2.UnsupportedProtocol, httpx2.PoolTimeout),
    refused=_refused,
    of_status=_of_status,
    is_of_status=_is_of_status,
)


class BreakerTransport(httpx2.BaseTransport):
    """Puts every request of an `httpx2.Client` through a breaker, each hop as one.

    Args:
        breaker: The breaker.
        inner: The transport that sends; default `httpx2.HTTPTransport()`. A client that is given a
            transport leaves `verify`, `proxy`, `limits` and the like to it.
        key: A plain function of the request to a string: requests of the same string share a child
            of the breaker (`for_key`); default `host:port`. None: all share the breaker.

    Raises:
        ConfigurationError: The breaker or the key is not what it must be.
    """

    def __init__(
        self,
        breaker: CircuitBreaker,
        inner: httpx2.BaseTransport | None = None,
        *,
        key: Key[httpx2.Request] | None = host_and_port,
    ) -> None:
        self._calls = HttpCalls("BreakerTransport", breaker, key, _ERRORS)
        self._inner = httpx2.HTTPTransport() if inner is None else inner

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, if the breaker admits it.

        Raises:
            RequestRefused: It did not.
        """
        call = self._calls.begin(request)
        try:
            response = self._inner.handle_request(request)
        except BaseException as error:
            call.failed(error)
            raise
        try:
            _take_head(call, request, response)
        except BaseException:  # of a classify function: the connection is not to be lost
            response.close()
            raise
        if not call.is_settled:
            stream = cast("httpx2.SyncByteStream", response.stream)
            response.stream = _Body(stream, call, vars(response))
            if "content-encoding" in response.headers:
                vars(response)["iter_bytes"] = decoding(
                    response.iter_bytes, call, httpx2.DecodingError
                )
        return response

    def close(self) -> None:
        """Close the transport inside."""
        self._inner.close()

    def __enter__(self) -> Self:
        """Enter the transport inside."""
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Leave the transport inside."""
        self._inner.__exit__(kind, error, traceback)


class AsyncBreakerTransport(httpx2.AsyncBaseTransport):
    """Puts every request of an `httpx2.AsyncClient` through a breaker, each hop as one.

    Args:
        breaker: The breaker.
        inner: The transport that sends; default `httpx2.AsyncHTTPTransport()`. A client that is
            given a transport leaves `verify`, `proxy`, `limits` and the like to it.
        key: A plain function of the request to a string: requests of the same string share a child
            of the breaker (`for_key`); default `host:port`. None: all share the breaker.

    Raises:
        ConfigurationError: The breaker or the key is not what it must be.
    """

    def __init__(
        self,
        breaker: CircuitBreaker,
        inner: httpx2.AsyncBaseTransport | None = None,
        *,
        key: Key[httpx2.Request] | None = host_and_port,
    ) -> None:
        self._calls = HttpCalls("AsyncBreakerTransport", breaker, key, _ERRORS)
        self._inner = httpx2.AsyncHTTPTransport() if inner is None else inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, if the breaker admits it.

        Raises:
            RequestRefused: It did not.
        """
        call = self._calls.begin(request)
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException as error:
            call.failed(error)
            raise
        try:
            _take_head(call, request, response)
        except BaseException:  # of a classify function: the connection is not to be lost
            await response.aclose()
            raise
        if not call.is_settled:
            stream = cast("httpx2.AsyncByteStream", response.stream)
            response.stream = _AsyncBody(stream, call, vars(response))
            if "content-encoding" in response.headers:
                vars(response)["aiter_bytes"] = async_decoding(
                    response.aiter_bytes, call, httpx2.DecodingError
                )
        return response

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        """Enter the transport inside."""
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Leave the transport inside."""
        await self._inner.__aexit__(kind, error, traceback)


def _take_head(call: _Call, request: httpx2.Request, response: httpx2.Response) -> None:
    response.request = request
    fields = response.headers
    call.answered(response, response.status_code, fields.get("retry-after"), fields.get("date"))
    if response.is_closed:  # a transport without a network has read the body already
        call.ended()


class _Body(httpx2.SyncByteStream):
    # It is read after the transport has returned; what happens meanwhile settles the call.
    def __init__(
        self, stream: httpx2.SyncByteStream, call: _Call, response: dict[str, object]
    ) -> None:
        self._stream = stream
        self._call = call
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except GeneratorExit:
            raise  # nobody reads on: `close` follows
        except BaseException as error:
            self._call.failed(error)
            raise
        self._call.ended()

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._response.pop("iter_bytes", None)  # the response is left as it was
            if _is_reader_left():
                self._response["close"] = self._close_again
            else:
                self._call.let_go()

    def _close_again(self) -> None:
        self._response.pop("close", None)
        self._call.let_go()


class _AsyncBody(httpx2.AsyncByteStream):
    def __init__(
        self, stream: httpx2.AsyncByteStream, call: _Call, response: dict[str, object]
    ) -> None:
        self._stream = stream
        self._call = call
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except GeneratorExit:
            raise  # nobody reads on: `aclose` follows
        except BaseException as error:
            self._call.failed(error)
            raise
        self._call.ended()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._response.pop("aiter_bytes", None)
            if _is_reader_left():
                self._response["aclose"] = self._close_again
            else:
                self._call.let_go()

    async def _close_again(self) -> None:
        self._response.pop("aclose", None)
        self._call.let_go()


def _is_reader_left() -> bool:
    # Some close the response with its iterator: why nobody reads on shows when the block is left.
    error = sys.exception()
    return isinstance(error, GeneratorExit) and raised_in(error, httpx2.__name__)
