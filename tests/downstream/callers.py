"""HTTP clients behind breakers, all of them asked in the same way."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import aiohttp
import httpx
import httpx2
from anyio import to_thread

from asgi_guard import CircuitBreaker
from asgi_guard.downstream import aiohttp as guarded_aiohttp
from asgi_guard.downstream import httpx as guarded_httpx
from asgi_guard.downstream import httpx2 as guarded_httpx2

LIBRARIES = {"httpx": (httpx, guarded_httpx), "httpx2": (httpx2, guarded_httpx2)}
KINDS = ("httpx", "httpx2", "aiohttp", "httpx-sync", "httpx2-sync")


class Begun(ABC):
    """A response whose head has come, and whose body is still to be read."""

    status: int

    @abstractmethod
    async def read(self) -> None:
        """Read the body to its end."""

    @abstractmethod
    async def close(self) -> None:
        """Let the response go."""


class Caller(ABC):
    """A client.

    Attributes:
        refused: What a refused call raises.
        errors: What all errors of the client are.
        seconds: How long a call may take, and how long it may wait for the pool.
    """

    refused: type[Exception]
    errors: type[Exception]

    @abstractmethod
    async def begin(self, url: str, **options: Any) -> Begun:
        """Send a GET and wait for the head."""

    @abstractmethod
    async def get(self, url: str, **options: Any) -> int:
        """Send a GET, read everything, and return the status."""

    @abstractmethod
    async def close(self) -> None:
        """Close the client."""


class _HttpxBegun(Begun):
    def __init__(self, response: Any) -> None:
        self.status = response.status_code
        self._response = response

    async def read(self) -> None:
        await self._response.aread()

    async def close(self) -> None:
        await self._response.aclose()


class _Httpx(Caller):
    def __init__(
        self, library: ModuleType, guarded: ModuleType, breaker: CircuitBreaker, **options: Any
    ) -> None:
        self.refused = guarded.RequestRefused
        self.errors = library.TransportError
        key = {"key": options.pop("key")} if "key" in options else {}
        limits = library.Limits(max_connections=options["pool"])
        inner = library.AsyncHTTPTransport(limits=limits, proxy=options["proxy"])
        self._client = library.AsyncClient(
            transport=guarded.AsyncBreakerTransport(breaker, inner, **key),
            timeout=library.Timeout(options["seconds"], pool=options["pool_seconds"]),
            trust_env=False,
        )

    async def begin(self, url: str, **options: Any) -> Begun:
        request = self._client.build_request("GET", url, **options)
        return _HttpxBegun(await self._client.send(request, stream=True, follow_redirects=True))

    async def get(self, url: str, **options: Any) -> int:
        response = await self._client.get(url, follow_redirects=True, **options)
        return int(response.status_code)

    async def close(self) -> None:
        await self._client.aclose()


class _SyncBegun(Begun):
    def __init__(self, response: Any) -> None:
        self.status = response.status_code
        self._response = response

    async def read(self) -> None:
        await to_thread.run_sync(self._response.read)

    async def close(self) -> None:
        await to_thread.run_sync(self._response.close)


class _SyncHttpx(Caller):
    def __init__(
        self, library: ModuleType, guarded: ModuleType, breaker: CircuitBreaker, **options: Any
    ) -> None:
        self.refused = guarded.RequestRefused
        self.errors = library.TransportError
        key = {"key": options.pop("key")} if "key" in options else {}
        limits = library.Limits(max_connections=options["pool"])
        inner = library.HTTPTransport(limits=limits, proxy=options["proxy"])
        self._client = library.Client(
            transport=guarded.BreakerTransport(breaker, inner, **key),
            timeout=library.Timeout(options["seconds"], pool=options["pool_seconds"]),
            trust_env=False,
        )

    async def begin(self, url: str, **options: Any) -> Begun:
        request = self._client.build_request("GET", url, **options)
        response = await to_thread.run_sync(
            lambda: self._client.send(request, stream=True, follow_redirects=True)
        )
        return _SyncBegun(response)

    async def get(self, url: str, **options: Any) -> int:
        response = await to_thread.run_sync(
            lambda: self._client.get(url, follow_redirects=True, **options)
        )
        return int(response.status_code)

    async def close(self) -> None:
        self._client.close()


class _AiohttpBegun(Begun):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self._response = response

    async def read(self) -> None:
        await self._response.read()

    async def close(self) -> None:
        self._response.close()


class _Aiohttp(Caller):
    def __init__(self, breaker: CircuitBreaker, **options: Any) -> None:
        self.refused = guarded_aiohttp.RequestRefused
        self.errors = aiohttp.ClientError
        key = {"key": options.pop("key")} if "key" in options else {}
        self._session = aiohttp.ClientSession(
            proxy=options["proxy"],
            middlewares=[guarded_aiohttp.breaker_middleware(breaker, **key)],
            connector=aiohttp.TCPConnector(limit=options["pool"]),
            timeout=aiohttp.ClientTimeout(
                sock_connect=options["seconds"],
                sock_read=options["seconds"],
                connect=options["pool_seconds"],
            ),
        )

    async def begin(self, url: str, **options: Any) -> Begun:
        return _AiohttpBegun(await self._session.get(url, **options))

    async def get(self, url: str, **options: Any) -> int:
        async with self._session.get(url, **options) as response:
            await response.read()
            return response.status

    async def close(self) -> None:
        await self._session.close()


@asynccontextmanager
async def calling(kind: str, breaker: CircuitBreaker, **options: Any) -> AsyncIterator[Caller]:
    """Lend a client of a kind, whose calls go through the breaker.

    Args:
        kind: One of `KINDS`.
        breaker: The breaker.
        options: `seconds` that a connection may be silent, `pool` connections, `pool_seconds` that
            a call may wait for one, `proxy`, and `key`, as they are.
    """
    options = {"seconds": 5.0, "pool": 100, "pool_seconds": 5.0, "proxy": None, **options}
    name, _, sync = kind.partition("-")
    caller: Caller
    if name == "aiohttp":
        caller = _Aiohttp(breaker, **options)
    else:
        caller = (_SyncHttpx if sync else _Httpx)(*LIBRARIES[name], breaker, **options)
    try:
        yield caller
    finally:
        await caller.close()
