"""Callers who raise, give up or stop while they read a body: what that says of the server."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import anyio
import pytest
from anyio import to_thread

from asgi_guard import CircuitBreaker
from asgi_guard.downstream.aiohttp import breaker_middleware
from asgi_guard.testing import FakeClock
from tests.downstream.callers import LIBRARIES, calling
from tests.downstream.conftest import COMBINED, LOOPS, breaker, counts
from tests.downstream.moody import Moody
from tests.faults.proxy import FaultProxy


class MistakeError(Exception):
    """What a caller's own code raises."""


@pytest.fixture(params=COMBINED, ids="-".join)
def combined(request: pytest.FixtureRequest) -> Any:
    """Return a kind of client, and the loop it runs on."""
    return request.param


@pytest.fixture
def anyio_backend(combined: tuple[str, str]) -> Any:
    """Run on that loop."""
    return LOOPS[combined[1]]


@pytest.fixture
def shop(clock: FakeClock) -> CircuitBreaker:
    """Return the breaker."""
    return breaker(clock)


class Reader:
    """A client of a kind that reads a body in pieces, inside of the block of its response."""

    def __init__(self, kind: str, shop: CircuitBreaker) -> None:
        self._kind, _, self._sync = kind.partition("-")
        self._shop = shop

    async def read(self, url: str, act: Callable[[Any], None] | None) -> None:
        """Read a body, and do something with the response after the first piece of it."""
        if self._kind == "aiohttp":
            async with self._session() as session, session.get(url) as response:
                async for _ in response.content.iter_any():
                    if act is None:
                        break
                    act(response)
        elif self._sync:
            await to_thread.run_sync(self._read, url, act)
        else:
            library, guarded = LIBRARIES[self._kind]
            transport = guarded.AsyncBreakerTransport(self._shop, key=None)
            async with (
                library.AsyncClient(transport=transport) as client,
                client.stream("GET", url) as response,
                aclosing(response.aiter_bytes()) as pieces,
            ):
                async for _ in pieces:
                    if act is None:
                        break
                    act(response)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(middlewares=[breaker_middleware(self._shop, key=None)])

    def _read(self, url: str, act: Callable[[Any], None] | None) -> None:
        library, guarded = LIBRARIES[self._kind]
        transport = guarded.BreakerTransport(self._shop, key=None)
        with (
            library.Client(transport=transport) as client,
            client.stream("GET", url) as response,
        ):
            for _ in response.iter_bytes():
                if act is None:
                    break
                act(response)


@pytest.fixture
def reader(combined: tuple[str, str], shop: CircuitBreaker) -> Reader:
    """Return a client whose calls all go through that breaker."""
    return Reader(combined[0], shop)


def mistake(_: object) -> None:
    """Raise an error of the caller's own."""
    raise MistakeError


def late(_: object) -> None:
    """Raise one that the server could have caused, and has not."""
    raise TimeoutError


@pytest.fixture(params=["plain", "gzip"])
def long(request: pytest.FixtureRequest, moody: Moody) -> str:
    """Return where a body goes on and on, as it is or to be decoded."""
    fields = {"content-encoding": "gzip"} if request.param == "gzip" else {}
    return moody.work(pieces=100, pause=0.05, fields=fields).url


@pytest.mark.parametrize("act", [mistake, late])
async def test_an_error_of_the_callers(
    reader: Reader, shop: CircuitBreaker, long: str, act: Callable[[Any], None]
) -> None:
    """It says nothing of the server, whatever it is."""
    with pytest.raises((MistakeError, TimeoutError)):
        await reader.read(long, act)
    assert counts(shop) == (0, 0, 1, 0)


async def test_a_caller_who_has_read_enough(
    reader: Reader, shop: CircuitBreaker, long: str
) -> None:
    """The head has said that the server is well."""
    await reader.read(long, None)
    assert counts(shop) == (1, 0, 0, 0)


async def test_a_caller_who_is_handling_another_error(
    reader: Reader, shop: CircuitBreaker, long: str
) -> None:
    """What was there before the call has nothing to do with it."""
    try:
        mistake(long)
    except MistakeError:
        await reader.read(long, None)
    assert counts(shop) == (1, 0, 0, 0)


async def test_a_caller_who_raises_for_the_status(
    reader: Reader, shop: CircuitBreaker, moody: Moody
) -> None:
    """A 404 is an answer, and the error that tells it is as well."""
    url = moody.work(status=404, pieces=100, pause=0.05).url
    with pytest.raises(Exception, match="404"):
        await reader.read(url, lambda response: response.raise_for_status())
    assert counts(shop) == (1, 0, 0, 0)


async def test_a_caller_who_raises_for_another_status(
    reader: Reader, shop: CircuitBreaker, moody: Moody, long: str
) -> None:
    """What another server has answered does not speak for this one."""
    other: list[Any] = []
    url = moody.work(status=404, pieces=100, pause=0.05).url

    def keep(response: Any) -> None:
        other.append(response)
        raise MistakeError

    with pytest.raises(MistakeError):
        await reader.read(url, keep)
    with pytest.raises(Exception, match="404"):
        await reader.read(long, lambda _: other[0].raise_for_status())
    assert counts(shop) == (0, 0, 2, 0)


async def test_a_caller_who_gives_up(
    combined: tuple[str, str], reader: Reader, shop: CircuitBreaker, long: str
) -> None:
    """While it does something else with a piece it has read, too."""
    if "-" in combined[0]:
        return  # a thread cannot be cancelled
    with anyio.CancelScope() as scope:
        await reader.read(long, lambda _: scope.cancel())
    assert scope.cancelled_caught
    assert counts(shop) == (0, 0, 1, 0)


async def test_a_caller_who_passes_the_body_on(
    combined: tuple[str, str], shop: CircuitBreaker, long: str
) -> None:
    """When its own caller wants no more, it is closed, which is a way of giving up."""
    if combined[0] == "aiohttp":
        middlewares = [breaker_middleware(shop, key=None)]

        @asynccontextmanager
        async def begun() -> AsyncIterator[Any]:
            async with (
                aiohttp.ClientSession(middlewares=middlewares) as session,
                session.get(long) as response,
            ):
                yield response.content.iter_any()
    elif "-" in combined[0]:
        return  # it does the same
    else:
        library, guarded = LIBRARIES[combined[0]]

        @asynccontextmanager
        async def begun() -> AsyncIterator[Any]:
            transport = guarded.AsyncBreakerTransport(shop, key=None)
            async with (
                library.AsyncClient(transport=transport) as client,
                client.stream("GET", long) as response,
            ):
                yield response.aiter_raw()

    async def passed_on() -> AsyncIterator[bytes]:
        async with begun() as pieces:
            async for piece in pieces:
                yield piece

    async with aclosing(passed_on()) as pieces:  # type: ignore[type-var]
        async for _ in pieces:
            break
    assert counts(shop) == (0, 0, 1, 0)


async def test_a_body_that_breaks_off_before(
    combined: tuple[str, str], shop: CircuitBreaker, moody: Moody, proxy: FaultProxy
) -> None:
    """That was seen first: it stays a failure, whatever the caller makes of it."""
    async with calling(combined[0], shop, key=None) as caller:
        begun = await caller.begin(moody.work(pieces=100, pause=0.1).through(proxy.port))
        await proxy.reset()
        with pytest.raises(caller.errors):
            await begun.read()
        try:
            mistake(begun)
        except MistakeError:
            await begun.close()
    assert counts(shop) == (0, 1, 0, 0)
