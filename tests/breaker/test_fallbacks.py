"""What stands in for the results of functions that are refused, or fail."""

import asyncio
from typing import Any

import pytest

from asgi_guard import (
    CircuitBreaker,
    CircuitOpen,
    ConfigurationError,
    Outcome,
    QuotaExceeded,
)
from asgi_guard.testing import FakeClock
from tests.breaker.breakers import DownError, afail, breaker, fail, trip


def stand_in(*args: object, **kwargs: object) -> object:
    """Return the arguments of the call."""
    return args, kwargs


async def stand_in_async(*args: object, **kwargs: object) -> object:
    """Return them as well."""
    await asyncio.sleep(0)
    return args, kwargs


async def take(*args: object, **kwargs: object) -> object:
    """Take anything, and fail."""
    raise DownError


def opened(fallback: Any, **more: Any) -> CircuitBreaker:
    """Return a breaker that refuses, and has a fallback."""
    it = breaker(fallback=fallback, **more)
    it.throttle(5.0)
    return it


@pytest.mark.parametrize("value", [None, 0, "stale", [], {"a": 1}])
async def test_a_value_stands_in(value: object) -> None:
    """The very same; None is one like any other."""
    it = opened(value)
    served = [
        *(it.call(fail), it(fail)()),
        *(await it.acall(afail), await it(afail)()),
    ]
    assert all(each is value for each in served)
    now = it.snapshot()
    assert (now.fallbacks, now.not_permitted) == (4, 4)


@pytest.mark.parametrize("fallback", [stand_in, stand_in_async])
async def test_a_function_is_called_with_the_arguments(fallback: Any) -> None:
    """Plain or async, where the call is async."""
    it = opened(fallback)
    expected = ((1,), {"b": 2})
    assert await it.acall(take, 1, b=2) == expected
    assert await it(take)(1, b=2) == expected


def test_a_plain_function_stands_in_for_a_plain_one() -> None:
    """And an async one cannot: nobody would await it."""
    plain: Any = stand_in
    assert opened(plain).call(plain, 1) == ((1,), {})
    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.fallback"):
        breaker(fallback=stand_in_async)(fail)
    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.fallback"):
        breaker(fallback=stand_in_async).call(fail)


async def test_failures_are_served_only_when_that_is_asked_for() -> None:
    """An outage that nobody sees is worse than an error."""
    it = breaker(fallback="stale")
    with pytest.raises(DownError):
        it.call(fail)
    with pytest.raises(DownError):
        await it.acall(afail)
    both = breaker(fallback="stale", fallback_on="failure")
    assert both.call(fail) == "stale"
    assert await both.acall(afail) == "stale"
    assert await both(afail)() == "stale"
    assert both.snapshot().failure == 3
    assert both.call(fail) == "stale"
    assert both.snapshot().not_permitted == 1


def bad_is_failure(error: BaseException | None, result: object) -> Outcome | None:
    """Call a result a failure."""
    return Outcome.FAILURE if result == "bad" else None


async def abad() -> str:
    """Return what is a failure."""
    return "bad"


def bad_later() -> Any:
    """Return what is awaited for it."""
    return abad()


@pytest.mark.parametrize(("on", "served"), [("failure", "stale"), ("rejected", "bad")])
@pytest.mark.parametrize("more", [{}, {"call_timeout": 9.0}])
async def test_a_result_that_is_a_failure_is_one(on: str, served: str, more: Any) -> None:
    """It is served where failures are, by every way of calling; else it is passed on."""
    it = breaker(
        fallback="stale", fallback_on=on, classify=bad_is_failure, consecutive_failures=99, **more
    )
    child = it.for_key("a")
    assert it.call(lambda: "bad") == it(lambda: "bad")() == child.call(lambda: "bad") == served
    assert await it.acall(abad) == await it(abad)() == served
    assert await it.acall(bad_later) == await it(bad_later)() == served
    waits: Any = it.call(bad_later)
    assert await waits == served
    assert it.call(lambda: "good") == await it.acall(asyncio.sleep, 0, "good") == "good"
    assert it.snapshot().failure == 8
    assert it.snapshot().fallbacks == (8 if on == "failure" else 0)


async def test_a_late_result_is_still_a_result() -> None:
    """It counts as a failure, and is better than what would stand in for it."""
    clock = FakeClock()
    it = breaker(fallback="stale", fallback_on="failure", call_timeout=1.0, clock=clock)
    assert it.call(lambda: clock.advance(2.0)) is None
    assert (it.snapshot().failure, it.snapshot().fallbacks) == (1, 0)


@pytest.mark.parametrize("error", [KeyError(), QuotaExceeded("over"), CircuitOpen("", breaker="b")])
async def test_what_is_no_failure_is_not_served(error: Exception) -> None:
    """Nor what another breaker refuses."""
    it = breaker(fallback="stale", fallback_on="failure", ignore=KeyError)

    async def other() -> None:
        raise error

    with pytest.raises(type(error)):
        await it.acall(other)
    with pytest.raises(type(error)):
        await it(other)()


async def test_a_cancelled_call_is_not_served() -> None:
    """Nobody waits for it."""
    it = breaker(fallback="stale", fallback_on="failure")
    task = asyncio.create_task(it(asyncio.sleep)(60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_fallback_that_fails_is_counted() -> None:
    """Its error is the caller's, with the refusal behind it."""

    def broken() -> None:
        raise KeyError

    it = opened(broken)
    for use in (it.acall, lambda function: it(function)()):
        with pytest.raises(KeyError):
            await use(afail)
    with pytest.raises(KeyError):
        it.call(fail)
    now = it.snapshot()
    assert (now.fallbacks, now.fallbacks_failed) == (0, 3)


async def test_whoever_awaits_gets_something_to_await() -> None:
    """Of a plain function that returns what is awaited, as far as it has been seen to."""
    it = breaker(fallback="stale", fallback_on="failure")
    disguised = it(lambda *_: afail())
    assert [await disguised() for _ in range(5)] == ["stale"] * 5
    assert it.snapshot().not_permitted == 2


def test_items_that_were_yielded_cannot_be_taken_back() -> None:
    """A generator has no fallback."""

    def items() -> Any:
        yield 1

    async def aitems() -> Any:
        yield 1

    for function in (items, aitems):
        with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.fallback"):
            breaker(fallback=1)(function)


def test_blocks_and_attempts_have_none() -> None:
    """There is no result that something could stand in for."""
    it = opened("stale")
    with pytest.raises(CircuitOpen), it:
        pass
    assert it.try_acquire() is None


def test_children_serve_the_fallback_of_their_parent() -> None:
    """And it is counted once, also when they make room."""
    it = breaker(fallback="stale", max_keys=1)
    child = it.for_key("a")
    child.throttle(5.0)
    assert child.call(fail) == "stale"
    child.close()
    it.for_key("b")
    assert it.snapshot().fallbacks == 1


def test_a_trip_is_not_hidden() -> None:
    """It is logged and counted, whatever callers see."""
    it = breaker(fallback="stale")
    trip(it)
    assert it.call(fail) == "stale"
    assert it.snapshot().state.value == "open"
