"""`Retry-After` inside of errors: the breaker opens for so long, whichever way they come."""

import urllib.error
from collections.abc import Callable
from email.message import Message
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from starlette.exceptions import HTTPException
from yarl import URL

from asgi_guard import CircuitBreaker, Downstream
from tests.breaker.breakers import breaker, counted

Errors = Callable[..., Exception]


def of_httpx(status: int, **fields: str) -> Exception:
    """Return what `raise_for_status` of httpx raises."""
    request = httpx.Request("GET", "http://down.example")
    response = httpx.Response(status, headers=named(fields), request=request)
    return httpx.HTTPStatusError("no", request=request, response=response)


def of_aiohttp(status: int, **fields: str) -> Exception:
    """Return what `raise_for_status` of aiohttp raises."""
    request = aiohttp.RequestInfo(
        URL("http://down.example"), "GET", CIMultiDictProxy(CIMultiDict())
    )
    headers = CIMultiDict(named(fields))
    return aiohttp.ClientResponseError(request, (), status=status, headers=headers)


def of_urllib(status: int, **fields: str) -> Exception:
    """Return what `urlopen` raises."""
    message = Message()
    for name, value in named(fields).items():
        message[name] = value
    return urllib.error.HTTPError("http://down.example", status, "no", message, None)


def of_others(status: int, **fields: str) -> Exception:
    """Return an error whose response has fields in a plain mapping, and is its own status."""
    return carrying({key.lower(): value for key, value in named(fields).items()}, status)


def carrying(headers: object, status: object = 429) -> Exception:
    """Return an error whose response has anything for fields."""
    error = OSError("no")
    error.response = SimpleNamespace(status_code=status, headers=headers)  # type: ignore[attr-defined]
    error.status_code = status  # type: ignore[attr-defined]
    return error


def named(fields: dict[str, str]) -> dict[str, str]:
    """Return fields by their names."""
    return {name.replace("_", "-"): value for name, value in fields.items()}


CLIENTS = [of_httpx, of_aiohttp, of_urllib, of_others]


def raising(error: BaseException) -> Any:
    """Raise it."""
    raise error


async def araising(error: BaseException) -> Any:
    """Raise it."""
    raise error


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("status", [429, 503])
def test_it_is_obeyed(client: Errors, status: int) -> None:
    """Whatever the client, and whether the status is a failure."""
    it = breaker()
    with pytest.raises((OSError, httpx.HTTPError, aiohttp.ClientError)):
        it(raising)(client(status, Retry_After="20"))
    assert (it.state.value, it.retry_after) == ("open", 20.0)


async def test_it_is_obeyed_on_every_way() -> None:
    """Functions, blocks, attempts, generators, and the calls and slots of a downstream."""

    def items(error: Exception) -> Any:
        yield raising(error)

    async def aitems(error: Exception) -> Any:
        yield await araising(error)

    async def block(it: CircuitBreaker, error: Exception) -> None:
        async with it:
            raise error

    async def slot(it: CircuitBreaker, error: Exception) -> None:
        async with Downstream("d", breaker=it).slot():
            raise error

    async def plain_block(it: CircuitBreaker, error: Exception) -> None:
        with it:
            raise error

    async def iterate(it: CircuitBreaker, error: Exception) -> None:
        list(it(items)(error))

    async def attempt(it: CircuitBreaker, error: Exception) -> None:
        it.attempt().end(error)
        raise error

    ways: list[Any] = [
        lambda it, error: it(araising)(error),
        lambda it, error: it.acall(araising, error),
        lambda it, error: it(lambda: araising(error))(),
        lambda it, error: Downstream("d", breaker=it).call(araising, error),
        lambda it, error: Downstream("d", breaker=it)(araising)(error),
        lambda it, error: anext(it(aitems)(error)),
        *(block, slot, plain_block, iterate, attempt),
    ]
    for way in ways:
        it = breaker()
        with pytest.raises(httpx.HTTPStatusError):
            await way(it, of_httpx(429, Retry_After="20"))
        assert it.retry_after == 20.0


def test_a_date_is_held_against_that_of_the_server() -> None:
    """Its clock may be wrong."""
    it = breaker()
    date, until = "Sun, 01 Mar 2026 12:00:00 GMT", "Sun, 01 Mar 2026 12:00:30 GMT"
    with pytest.raises(httpx.HTTPStatusError):
        it.call(raising, of_httpx(503, Retry_After=until, Date=date))
    assert it.retry_after == 30.0


def test_nobody_asks_for_more_than_is_believed() -> None:
    """It is the breaker's bound."""
    it = breaker(retry_after_max=60.0)
    with pytest.raises(httpx.HTTPStatusError):
        it.call(raising, of_httpx(429, Retry_After="999999999999"))
    assert it.retry_after == 60.0


def test_it_is_obeyed_whatever_the_error_counts_as() -> None:
    """An ignored error is one as well; and a group asks for the longest."""
    errors = [of_httpx(429, Retry_After="5"), of_aiohttp(503, Retry_After="9"), KeyError()]
    for error in (of_httpx(429, Retry_After="9"), ExceptionGroup("", errors)):
        it = breaker(ignore=(httpx.HTTPError, aiohttp.ClientError, KeyError))
        with pytest.raises((httpx.HTTPError, ExceptionGroup)):
            it.call(raising, error)
        assert (it.retry_after, counted(it)) == (9.0, (0, 0, 1, 0))


@pytest.mark.parametrize(
    "error",
    [
        of_httpx(429),
        of_httpx(429, Retry_After="0"),
        of_httpx(429, Retry_After="soon"),
        of_httpx(500, Retry_After="20"),
        of_httpx(404, Retry_After="20"),
        HTTPException(429, headers={"Retry-After": "20"}),
        carrying(None),
        carrying("Retry-After: 20"),
        carrying([("Retry-After", "20")]),
        carrying({"Retry-After": 20}),
        carrying({"Retry-After": b"20"}),
        carrying({"Retry-After": "9" * 10_000 + "x"}),
        carrying(SimpleNamespace(get=20)),
        carrying(SimpleNamespace(get=lambda: "20")),
        carrying(SimpleNamespace(get=raising)),
        carrying({"Retry-After": "20"}, "429"),
    ],
)
def test_what_asks_for_nothing_opens_nothing(error: Exception) -> None:
    """Nor what cannot be understood, nor what an app says to its own client."""
    it = breaker()
    with pytest.raises(type(error)):
        it.call(raising, error)
    assert it.state.value == "closed"


def test_a_call_from_before_throttles_as_well() -> None:
    """What the server asks for holds, though how the call ended changes nothing any more."""
    it = breaker(recover_after=1)
    late, later = it.attempt(), it.attempt()
    it.throttle(5.0)
    late.end(of_httpx(429, Retry_After="30"))
    assert (it.retry_after, it.snapshot().late) == (30.0, 1)
    it.core.clock.advance(30.0)  # type: ignore[attr-defined]
    it.attempt().success()
    assert it.state.value == "closed"
    later.end(of_httpx(503, Retry_After="40"))
    assert (it.state.value, it.retry_after, it.snapshot().window_failures) == ("open", 40.0, 0)
