"""The ends of HTTP calls that are nobody's failure, and those that differ from client to client."""

import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import anyio.lowlevel
import httpx2
import pytest
from websockets.asyncio.server import ServerConnection, serve

from asgi_guard import BreakerState, CircuitBreaker, CircuitOpen
from asgi_guard.downstream import aiohttp as guarded_aiohttp
from asgi_guard.downstream import httpx as guarded_httpx
from asgi_guard.downstream import httpx2 as guarded_httpx2
from asgi_guard.downstream.aiohttp import breaker_middleware
from asgi_guard.testing import FakeClock
from tests.downstream.callers import LIBRARIES, calling
from tests.downstream.conftest import LOOPS, breaker, counts
from tests.downstream.moody import Moody
from tests.faults.proxy import FaultProxy
from tests.processes import HOST

ASYNC = ("httpx", "httpx2", "aiohttp")


@pytest.fixture(params=list(LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run on both loops."""
    return LOOPS[request.param]


@pytest.fixture
def shop(clock: FakeClock) -> CircuitBreaker:
    """Return the breaker."""
    return breaker(clock)


@pytest.fixture(params=list(LIBRARIES))
def library(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Return httpx or httpx2, and what is made for it."""
    return LIBRARIES[request.param]


@pytest.mark.parametrize("kind", ASYNC)
async def test_cancelled_before_the_head(kind: str, shop: CircuitBreaker, moody: Moody) -> None:
    """Whoever gives up says nothing about the server."""
    async with calling(kind, shop, key=None) as caller:
        with anyio.move_on_after(0.1):
            await caller.get(moody.work(delay=5.0).url)
    assert counts(shop) == (0, 0, 1, 0)


@pytest.mark.parametrize("kind", ASYNC)
async def test_cancelled_in_the_body(kind: str, shop: CircuitBreaker, moody: Moody) -> None:
    """Neither does whoever gives up later."""
    async with calling(kind, shop, key=None) as caller:
        begun = await caller.begin(moody.work(pieces=100, pause=0.05).url)
        with anyio.move_on_after(0.1):
            await begun.read()
        await begun.close()
    assert counts(shop) == (0, 0, 1, 0)


@pytest.mark.parametrize("kind", ASYNC)
async def test_a_cancelled_trial_makes_room(
    kind: str, shop: CircuitBreaker, clock: FakeClock, moody: Moody
) -> None:
    """The next call may be the trial at once."""
    for _ in range(3):
        shop.attempt().failure()
    clock.advance(5.0)
    async with calling(kind, shop, key=None) as caller:
        with anyio.move_on_after(0.1):
            await caller.get(moody.work(delay=5.0).url)
        for _ in range(2):
            assert await caller.get(moody.work().url) == 200
    assert shop.state is BreakerState.CLOSED


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://127.0.0.1:1/"])
async def test_mistakes_of_the_caller(
    library: tuple[Any, Any], shop: CircuitBreaker, url: str
) -> None:
    """A scheme that nobody speaks, and a field that nobody may send, are ignored."""
    client, guarded = library
    transport = guarded.AsyncBreakerTransport(shop, key=None)
    async with client.AsyncClient(transport=transport, trust_env=False) as asking:
        if url.startswith("ftp"):
            with pytest.raises(client.UnsupportedProtocol):
                await asking.get(url)
            assert counts(shop) == (0, 0, 1, 0)
        else:
            with pytest.raises(client.ConnectError):
                await asking.get(url)
            assert counts(shop) == (0, 1, 0, 0)


async def test_a_field_that_nobody_may_send(
    library: tuple[Any, Any], shop: CircuitBreaker, moody: Moody
) -> None:
    """It is a mistake of the caller, too."""
    client, guarded = library
    transport = guarded.AsyncBreakerTransport(shop, key=None)
    async with client.AsyncClient(transport=transport, trust_env=False) as asking:
        with pytest.raises(client.LocalProtocolError):
            await asking.get(moody.work().url, headers={"x-wrong": "two\r\nlines"})
    assert counts(shop) == (0, 0, 1, 0)


async def test_a_body_of_the_callers_that_fails(
    library: tuple[Any, Any], shop: CircuitBreaker, moody: Moody
) -> None:
    """What the caller's own generator raises is not laid to the server's charge."""
    client, guarded = library

    async def pieces() -> Any:
        yield b"one"
        raise FileNotFoundError

    transport = guarded.AsyncBreakerTransport(shop, key=None)
    async with client.AsyncClient(transport=transport, trust_env=False) as asking:
        with pytest.raises(FileNotFoundError):
            await asking.post(moody.work().url, content=pieces())
    assert counts(shop) == (0, 0, 1, 0)


async def test_a_breaker_in_a_breaker(
    library: tuple[Any, Any], shop: CircuitBreaker, clock: FakeClock, moody: Moody
) -> None:
    """The refusal of the inner one says nothing to the outer one."""
    client, guarded = library
    outer = breaker(clock)
    shop.force_open()
    inner = guarded.AsyncBreakerTransport(shop, key=None)
    transport = guarded.AsyncBreakerTransport(outer, inner, key=None)
    async with client.AsyncClient(transport=transport, trust_env=False) as asking:
        with pytest.raises(CircuitOpen) as refused:
            await asking.get(moody.work().url)
    assert (refused.value.breaker, refused.value.retry_after) == ("shop", None)
    assert counts(outer) == (0, 0, 1, 0)


async def test_a_transport_without_a_network(
    library: tuple[Any, Any], shop: CircuitBreaker
) -> None:
    """Its responses have been read when they come, and count."""
    client, guarded = library
    inner = client.MockTransport(lambda request: client.Response(200, content=b"read"))
    transport = guarded.AsyncBreakerTransport(shop, inner, key=None)
    async with client.AsyncClient(transport=transport) as asking:
        assert (await asking.get("http://shop.example/")).content == b"read"
    with client.Client(transport=guarded.BreakerTransport(shop, inner, key=None)) as asking:
        assert asking.get("http://shop.example/").content == b"read"
    assert counts(shop) == (2, 0, 0, 0)


async def test_addresses_are_keys(library: tuple[Any, Any], shop: CircuitBreaker) -> None:
    """With the usual port where none is said, and brackets where there are colons."""
    client, guarded = library
    inner = client.MockTransport(lambda request: client.Response(200))
    async with client.AsyncClient(transport=guarded.AsyncBreakerTransport(shop, inner)) as asking:
        for url in ("http://shop.example/", "https://shop.example/", "http://[::1]/"):
            await asking.get(url)
    for key in ("shop.example:80", "shop.example:443", "[::1]:80"):
        assert counts(shop.for_key(key)) == (1, 0, 0, 0)


async def test_a_timeout_of_the_whole_request(shop: CircuitBreaker, moody: Moody) -> None:
    """Of aiohttp: the body does not hear of it, and it is a failure, read in either way."""
    url = moody.work(pieces=100, pause=0.05).url
    async with aiohttp.ClientSession(
        middlewares=[breaker_middleware(shop, key=None)],
        timeout=aiohttp.ClientTimeout(total=0.2),
    ) as session:
        with pytest.raises(TimeoutError):
            await (await session.get(url)).read()
        assert counts(shop) == (0, 1, 0, 0)
        with pytest.raises(TimeoutError):
            await iterate(session, url)
        assert counts(shop) == (0, 2, 0, 0)


async def test_a_response_is_left_as_it_was(shop: CircuitBreaker, moody: Moody) -> None:
    """Of aiohttp: what is put on it to follow it is taken away with its end."""
    async with aiohttp.ClientSession(middlewares=[breaker_middleware(shop, key=None)]) as session:
        response = await session.get(moody.work(pieces=5, pause=0.02).url)
        assert {"close", "release"} <= set(vars(response))
        await response.read()
        assert {"close", "release"}.isdisjoint(vars(response))
    assert counts(shop) == (1, 0, 0, 0)


async def test_a_reset_while_the_body_is_iterated(
    shop: CircuitBreaker, moody: Moody, proxy: FaultProxy
) -> None:
    """Of aiohttp: the block lets the response go, and the failure counts."""
    url = moody.work(pieces=100, pause=0.05).through(proxy.port)
    async with aiohttp.ClientSession(middlewares=[breaker_middleware(shop, key=None)]) as session:
        with pytest.raises(aiohttp.ClientError):
            await iterate(session, url, proxy.reset)
    assert counts(shop) == (0, 1, 0, 0)


@pytest.mark.parametrize("guarded", [guarded_httpx, guarded_httpx2, guarded_aiohttp])
def test_refusals_survive_pickling(guarded: Any) -> None:
    """They come back from another process as what they were."""
    refusal = guarded.RequestRefused("circuit 'shop' is open", 2.5, "shop", "half-open")
    copy = pickle.loads(pickle.dumps(refusal))
    assert (str(copy), copy.retry_after, copy.breaker, copy.state) == (
        *("circuit 'shop' is open", 2.5),
        *("shop", "half-open"),
    )


def test_both_generations_of_httpx_are_alike() -> None:
    """What is mended for one is mended for the other."""

    def source(guarded: ModuleType) -> str:
        return Path(str(guarded.__file__)).read_text()

    assert source(guarded_httpx).replace("httpx", "httpx2") == source(guarded_httpx2)


async def iterate(
    session: aiohttp.ClientSession, url: str, after: Any = anyio.lowlevel.checkpoint
) -> None:
    """Read a body chunk by chunk, and do something after each."""
    async with session.get(url) as response:
        async for _ in response.content.iter_any():
            await after()


@pytest.mark.parametrize("kind", ["httpx2", "aiohttp"])
async def test_websockets(kind: str, shop: CircuitBreaker) -> None:
    """The handshake is the call; how long the connection lasts after it does not matter."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, HOST, 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        if kind == "aiohttp":
            middlewares = [breaker_middleware(shop, key=None)]
            async with (
                aiohttp.ClientSession(middlewares=middlewares) as session,
                session.ws_connect(f"ws://{HOST}:{port}/") as socket,
            ):
                assert counts(shop) == (1, 0, 0, 0)
                await socket.send_str("still there?")
                assert await socket.receive_str() == "still there?"
        else:
            transport = guarded_httpx2.AsyncBreakerTransport(shop, key=None)
            async with (
                httpx2.AsyncClient(transport=transport, trust_env=False) as client,
                client.websocket(f"ws://{HOST}:{port}/") as socket2,
            ):
                assert counts(shop) == (1, 0, 0, 0)
                await socket2.send_text("still there?")
                assert await socket2.receive_text() == "still there?"
    assert counts(shop) == (1, 0, 0, 0)
