"""Generators under a breaker: they stay what they are, and are settled when they end."""

import gc
import inspect
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import Any

import pytest

from asgi_guard import CircuitOpen
from asgi_guard.testing import FakeClock
from tests.breaker.breakers import DownError, breaker, counted, trip

Items = Generator[Any, Any, str]
AsyncItems = AsyncGenerator[Any, Any]
SUCCEEDED, FAILED, IGNORED = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)


def echo(log: list[object]) -> Items:
    """Yield what is sent, swallow a `KeyError`, and note how it ends."""
    got: object = "first"
    try:
        while got != "stop":
            try:
                got = yield got
            except KeyError as error:
                got = error
        return "returned"
    finally:
        log.append("cleaned up")


async def aecho(log: list[object]) -> AsyncItems:
    """Do the same."""
    got: object = "first"
    try:
        while got != "stop":
            try:
                got = yield got
            except KeyError as error:
                got = error
    finally:
        log.append("cleaned up")


def failing() -> Items:
    """Fail after an item."""
    yield 1
    raise DownError


def disguised(log: list[object]) -> Items:
    """Return a generator, and be none."""
    return echo(log)


def adisguised(log: list[object]) -> AsyncItems:
    """Return an async generator, and be none."""
    return aecho(log)


async def afailing() -> AsyncItems:
    """Fail after an item."""
    yield 1
    raise DownError


def test_generators_stay_generators() -> None:
    """Of their kind."""
    it = breaker()
    assert inspect.isgeneratorfunction(it(echo))
    assert inspect.isasyncgenfunction(it(aecho))


@pytest.mark.parametrize("disguise", [False, True])
def test_what_is_sent_and_thrown_arrives(*, disguise: bool) -> None:
    """And what it returns comes back; also where a plain function returns a generator."""
    it, log, error = breaker(), list[object](), KeyError("thrown")
    items = it(disguised if disguise else echo)(log)
    assert (next(items), items.send("second"), items.throw(error)) == ("first", "second", error)
    assert counted(it) == (0, 0, 0, 0)
    with pytest.raises(StopIteration) as stopped:
        items.send("stop")
    assert (stopped.value.value, log) == ("returned", ["cleaned up"])
    assert counted(it) == SUCCEEDED


@pytest.mark.parametrize("disguise", [False, True])
async def test_what_is_sent_and_thrown_arrives_async(*, disguise: bool) -> None:
    """The same for async generators."""
    it, log, error = breaker(), list[object](), KeyError("thrown")
    items = it(adisguised if disguise else aecho)(log)
    assert [await anext(items), await items.asend("second")] == ["first", "second"]
    assert await items.athrow(error) is error
    with pytest.raises(StopAsyncIteration):
        await items.asend("stop")
    assert (counted(it), log) == (SUCCEEDED, ["cleaned up"])


def test_a_generator_that_is_closed_says_nothing() -> None:
    """Nor one that is dropped half-way."""
    it, log = breaker(), list[object]()
    with closing(it(echo)(log)) as items:
        next(items)
    for _ in it(echo)(log):
        break
    gc.collect()
    assert (counted(it), log) == ((0, 0, 2, 0), ["cleaned up"] * 2)


async def test_an_async_generator_that_is_closed_says_nothing() -> None:
    """And is cleaned up at once."""
    it, log = breaker(), list[object]()
    async with aclosing(it(aecho)(log)) as items:
        await anext(items)
    assert (counted(it), log) == (IGNORED, ["cleaned up"])


async def test_generators_that_fail_trip() -> None:
    """In the midst of it; as the caller sees, too."""
    it = breaker()
    for _ in range(2):
        with pytest.raises(DownError):
            list(it(failing)())
    with pytest.raises(DownError):
        async for _ in it(afailing)():
            pass
    assert it.state.value == "open"
    with pytest.raises(CircuitOpen):
        next(it(failing)())
    with pytest.raises(CircuitOpen):
        await anext(it(afailing)())


@pytest.mark.parametrize(("error", "counts"), [(DownError, FAILED), (KeyError, IGNORED)])
async def test_an_error_while_it_is_closed_is_that_of_the_call(
    error: type[Exception], counts: tuple[int, ...]
) -> None:
    """It is raised, and counts as it does anywhere; plain and async."""

    def items() -> Items:
        try:
            yield 1
        finally:
            raise error

    async def aitems() -> AsyncItems:
        try:
            yield 1
        finally:
            raise error

    it, ait = breaker(ignore=KeyError), breaker(ignore=KeyError)
    begun, abegun = it(items)(), ait(aitems)()
    assert next(begun) == await anext(abegun) == 1
    with pytest.raises(error):
        begun.close()
    with pytest.raises(error):
        await abegun.aclose()
    assert counted(it) == counted(ait) == counts


async def test_what_is_thrown_and_not_caught_is_a_failure() -> None:
    """It left the generator."""
    it, log = breaker(), list[object]()
    items, aitems = it(echo)(log), it(aecho)(log)
    next(items)
    await anext(aitems)
    with pytest.raises(DownError):
        items.throw(DownError())
    with pytest.raises(DownError):
        await aitems.athrow(DownError())
    assert (counted(it), log) == ((0, 2, 0, 0), ["cleaned up"] * 2)


async def test_nobody_is_asked_before_the_first_item() -> None:
    """A generator that nobody iterates takes no trial."""
    it = breaker(recover_after=1)
    trip(it)
    it.core.clock.advance(5.0)  # type: ignore[attr-defined]
    it(echo)([])
    it(aecho)([])
    assert list(it(lambda: (yield 1))()) == [1]
    assert it.state.value == "closed"


async def test_wrong_arguments_leave_no_trial_behind() -> None:
    """They are found when the first item is asked for."""
    it = breaker(max_trials=2)
    trip(it)
    it.core.clock.advance(5.0)  # type: ignore[attr-defined]
    some: Any = it(echo)
    others: Any = it(aecho)
    with pytest.raises(TypeError):
        next(some(1, 2, 3))
    it.core.clock.advance(10.0)  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        await anext(others(1, 2, 3))
    assert counted(it) == (0, 5, 0, 0)


async def test_a_stream_is_slow_by_its_first_item() -> None:
    """And not by its length."""
    clock = FakeClock()
    it = breaker(clock=clock, slow_call=1.0, slow_rate=1.0, min_calls=2)

    async def stream(first: float) -> AsyncItems:
        clock.advance(first)
        yield 1
        clock.advance(100.0)

    assert [each async for each in it(stream)(0.5)] == [1]
    assert it.snapshot().slow == 0
    assert [each async for each in it(stream)(1.5)] == [1]
    assert it.snapshot().slow == 1
