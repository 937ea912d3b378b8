"""Bodies that cannot be decoded: the server is up, and they say nothing else about it."""

import gzip
import pickle
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import httpx
import httpx2
import pytest
from anyio.abc import SocketAttribute, SocketStream

from asgi_guard import CircuitBreaker
from asgi_guard.testing import FakeClock
from tests.downstream.callers import LIBRARIES, Caller, calling
from tests.downstream.conftest import COMBINED, LOOPS, breaker, counts
from tests.processes import HOST

BODY = gzip.compress(bytes(range(256)) * 500)
JUNK = b"this is no gzip at all"
ERRORS: dict[str, Any] = {
    "httpx": httpx.DecodingError,
    "httpx2": httpx2.DecodingError,
    "aiohttp": aiohttp.ClientError,
}
PAUSE = 0.05  # seconds: what is sent after it comes by itself


@pytest.fixture(params=COMBINED, ids="-".join)
def combined(request: pytest.FixtureRequest) -> Any:
    """Return a kind of client, and the loop it runs on."""
    return request.param


@pytest.fixture
def anyio_backend(combined: tuple[str, str]) -> Any:
    """Run on that loop."""
    return LOOPS[combined[1]]


@pytest.fixture
def error(combined: tuple[str, str]) -> Any:
    """Return what the client raises for such a body."""
    return ERRORS[combined[0].partition("-")[0]]


@pytest.fixture
def shop(clock: FakeClock) -> CircuitBreaker:
    """Return the breaker."""
    return breaker(clock)


@pytest.fixture
async def caller(combined: tuple[str, str], shop: CircuitBreaker) -> AsyncIterator[Caller]:
    """Return a client whose calls all go through that breaker."""
    async with calling(combined[0], shop, key=None) as caller:
        yield caller


BROKEN = {
    "with the head": [(b"gzip", JUNK)],
    "after the head": [(b"gzip", b""), JUNK],
    "in its last bytes": [(b"gzip", BODY[:-8]), bytes(8)],
    "of another kind": [(b"gzip", b""), zlib.compress(b"deflated")],
}


@pytest.mark.parametrize("pieces", BROKEN.values(), ids=BROKEN)
async def test_they_are_ignored(
    caller: Caller, shop: CircuitBreaker, error: Any, pieces: list[Any]
) -> None:
    """Read at once, or later and let go of afterwards."""
    async with _sending(pieces) as url:
        with pytest.raises(error):
            await caller.get(url)
        assert counts(shop) == (0, 0, 1, 0)
        try:
            begun = await caller.begin(url)
        except aiohttp.ClientError:
            pass  # it has seen the body already
        else:
            with pytest.raises(error):
                await begun.read()
            await begun.close()
    assert counts(shop) == (0, 0, 2, 0)


async def test_those_that_can_be_decoded_count(caller: Caller, shop: CircuitBreaker) -> None:
    """As others do: read to the end, or let go of."""
    pieces = [(b"gzip", BODY[:200]), BODY[200:]]
    async with _sending(pieces) as url:
        assert await caller.get(url) == 200
        begun = await caller.begin(url)
        await begun.close()
    assert counts(shop) == (2, 0, 0, 0)


async def test_those_that_break_off_fail(caller: Caller, shop: CircuitBreaker) -> None:
    """As others do, though they cannot be decoded to their end either."""
    async with _sending([(b"gzip", BODY[:200])], length=len(BODY)) as url:
        with pytest.raises(caller.errors):
            await caller.get(url)
    assert counts(shop) == (0, 1, 0, 0)


async def test_a_failure_stays_one(caller: Caller, shop: CircuitBreaker, error: Any) -> None:
    """The status has told."""
    async with _sending([(b"gzip", b""), JUNK], status=b"500 no") as url:
        with pytest.raises(error):
            await caller.get(url)
    assert counts(shop) == (0, 1, 0, 0)


@pytest.fixture(params=list(LIBRARIES))
def library(request: pytest.FixtureRequest) -> Any:
    """Return httpx or httpx2, and what is made for it."""
    return LIBRARIES[request.param]


@pytest.mark.parametrize("combined", [("httpx", "asyncio")])
async def test_what_shows_at_the_end(
    library: Any, shop: CircuitBreaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some codings tell only then, when the body has been read, that it is incomplete."""
    client, guarded = library

    class Incomplete(client._decoders.IdentityDecoder):  # type: ignore[misc, name-defined]
        def flush(self) -> Any:
            raise client.DecodingError("incomplete")

    monkeypatch.setitem(client._decoders.SUPPORTED_DECODERS, "x-late", Incomplete)
    async with (
        _sending([(b"x-late", b"all"), b" of it"]) as url,
        client.AsyncClient(transport=guarded.AsyncBreakerTransport(shop, key=None)) as asking,
    ):
        with pytest.raises(client.DecodingError):
            await asking.get(url)
        assert counts(shop) == (0, 0, 1, 0)

        def ask() -> None:
            transport = guarded.BreakerTransport(shop, key=None)
            with client.Client(transport=transport) as plain, pytest.raises(client.DecodingError):
                plain.get(url)

        await anyio.to_thread.run_sync(ask)
    assert counts(shop) == (0, 0, 2, 0)


@pytest.mark.parametrize("combined", [("httpx", "asyncio")])
async def test_a_response_is_left_as_it_was(library: Any, shop: CircuitBreaker) -> None:
    """What is put on it to follow it is taken away with its end, read or not, decoded or raw."""
    client, guarded = library
    transport = guarded.AsyncBreakerTransport(shop, key=None)
    async with (
        _sending([(b"gzip", BODY)]) as url,
        client.AsyncClient(transport=transport) as asking,
    ):
        response = await asking.get(url)
        assert "aiter_bytes" not in vars(response)
        assert pickle.loads(pickle.dumps(response)).content == response.content
        async with asking.stream("GET", url) as response:
            assert "aiter_bytes" in vars(response)
            raw = [chunk async for chunk in response.aiter_raw()]
        assert b"".join(raw) == BODY
        async with asking.stream("GET", url) as unread:
            pass
        assert "aiter_bytes" not in vars(response) | vars(unread)
        assert counts(shop) == (3, 0, 0, 0)


@asynccontextmanager
async def _sending(
    pieces: list[Any], *, status: bytes = b"200 OK", length: int | None = None
) -> AsyncIterator[str]:
    """Serve one response: the coding and what comes with the head, and what comes after it."""
    (coding, first), *later = pieces
    size = len(first) + sum(map(len, later)) if length is None else length
    head = b"HTTP/1.1 %s\r\ncontent-encoding: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"

    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(head % (status, coding, size) + first)
            for piece in later:
                await anyio.sleep(PAUSE)
                try:
                    await stream.send(piece)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return  # the client has seen enough

    listener = await anyio.create_tcp_listener(local_host=HOST)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        yield f"http://{HOST}:{listener.extra(SocketAttribute.local_port)}/"
        group.cancel_scope.cancel()
