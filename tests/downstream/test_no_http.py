"""Servers that speak no HTTP, asked by aiohttp, whose error for it carries a status of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import aiohttp
import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from asgi_guard import CircuitBreaker, Downstream, reconnecting
from asgi_guard.downstream.aiohttp import breaker_middleware
from asgi_guard.errors import ReconnectStopped
from asgi_guard.testing import FakeClock
from tests.downstream.conftest import breaker, counts
from tests.processes import HOST

GARBAGE = b"who are you?\r\n\r\n"
FORBIDDEN = b"HTTP/1.1 403 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

Ask: TypeAlias = Callable[..., Awaitable[object]]
Way: TypeAlias = Callable[[CircuitBreaker, Ask], Awaitable[object]]


async def decorated(shop: CircuitBreaker, ask: Ask) -> object:
    """Ask by a decorated function."""
    return await shop(ask)()


async def called(shop: CircuitBreaker, ask: Ask) -> object:
    """Ask by `acall()`."""
    return await shop.acall(ask)


async def in_a_block(shop: CircuitBreaker, ask: Ask) -> object:
    """Ask in an `async with` block."""
    async with shop:
        return await ask()


async def in_line(shop: CircuitBreaker, ask: Ask) -> object:
    """Ask by a downstream."""
    return await Downstream("stock", breaker=shop, min_interval=0.0).call(ask)


async def by_the_client(shop: CircuitBreaker, ask: Ask) -> object:
    """Ask by a client that has the breaker in it."""
    return await ask(middlewares=[breaker_middleware(shop, key=None)])


WAYS = [decorated, called, in_a_block, in_line, by_the_client]


@pytest.fixture
def shop(clock: FakeClock) -> CircuitBreaker:
    """Return the breaker."""
    return breaker(clock)


@pytest.mark.parametrize("way", WAYS)
async def test_garbage(shop: CircuitBreaker, way: Way) -> None:
    """It is a failure, and no answer 400, whichever way it goes."""
    async with _saying(GARBAGE) as url:
        with pytest.raises(aiohttp.ClientResponseError) as failed:
            await way(shop, _asking(url))
        assert failed.value.status == 400
    assert counts(shop) == (0, 1, 0, 0)


@pytest.mark.parametrize("way", WAYS)
async def test_a_proxy_that_refuses(shop: CircuitBreaker, way: Way) -> None:
    """Its status is not one of the server."""
    async with _saying(FORBIDDEN) as url:
        with pytest.raises(aiohttp.ClientHttpProxyError):
            await way(shop, _asking("https://shop.example/", proxy=url))
    assert counts(shop) == (0, 1, 0, 0)


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer(shop: CircuitBreaker, way: Way) -> None:
    """What a server has answered is one, in whatever words."""
    async with _saying(FORBIDDEN) as url:
        with pytest.raises(aiohttp.ClientResponseError):
            await way(shop, _asking(url))
    assert counts(shop) == (1, 0, 0, 0)


async def test_a_websocket_that_is_dialled(shop: CircuitBreaker) -> None:
    """The dial has failed, and so has the server."""
    async with _saying(GARBAGE) as url, aiohttp.ClientSession() as session:
        with pytest.raises(ReconnectStopped):
            async for _ in reconnecting(lambda: session.ws_connect(url), shop, max_attempts=1):
                pass
    assert counts(shop) == (0, 1, 0, 0)


def _asking(url: str, **options: Any) -> Ask:
    async def ask(**settings: Any) -> None:
        async with aiohttp.ClientSession(raise_for_status=True, **settings) as session:
            await (await session.get(url, **options)).read()

    return ask


@asynccontextmanager
async def _saying(said: bytes) -> AsyncIterator[str]:
    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(said)

    listener = await anyio.create_tcp_listener(local_host=HOST)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        yield f"http://{HOST}:{listener.extra(SocketAttribute.local_port)}/"
        group.cancel_scope.cancel()
