"""Functions of every kind under a breaker."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from asgi_guard import CallTimeout, CircuitBreaker, CircuitOpen, ConfigurationError, Outcome
from asgi_guard.testing import FakeClock
from tests.breaker.breakers import DownError, afail, breaker, counted, fail, trip

OTHER_PATHS: list[dict[str, Any]] = [{}, {"call_timeout": 9.0}, {"classify": lambda *_: None}]


class Callables:
    """Objects and methods that can be called."""

    def __call__(self, a: int, *, b: int = 1) -> int:
        """Add."""
        return a + b

    def method(self, a: int, *, b: int = 1) -> int:
        """Add."""
        return a + b

    @staticmethod
    def static(a: int, *, b: int = 1) -> int:
        """Add."""
        return a + b

    @classmethod
    def of_class(cls, a: int, *, b: int = 1) -> int:
        """Add."""
        return a + b


class AsyncCallable:
    """An object that is awaited when it is called."""

    async def __call__(self, a: int, *, b: int = 1) -> int:
        """Add."""
        return a + b


async def add(a: int, *, b: int = 1) -> int:
    """Add."""
    return a + b


PLAIN = [
    lambda a, *, b=1: a + b,
    functools.partial(lambda c, a, *, b=1: a + b, 0),
    Callables(),
    Callables().method,
    Callables.static,
    Callables.of_class,
]
ASYNC = [
    add,
    functools.partial(add),
    AsyncCallable(),
    lambda a, *, b=1: add(a, b=b),
    lambda a, *, b=1: asyncio.ensure_future(add(a, b=b)),
]


@pytest.mark.parametrize("more", OTHER_PATHS)
@pytest.mark.parametrize("function", PLAIN)
def test_plain_callables_are_called(function: Any, more: dict[str, Any]) -> None:
    """With all arguments, by decoration and by `call()`."""
    it = breaker(**more)
    assert (it(function)(1, b=2), it.call(function, 1, b=2)) == (3, 3)
    assert counted(it) == (2, 0, 0, 0)


@pytest.mark.parametrize("more", OTHER_PATHS)
@pytest.mark.parametrize("function", ASYNC)
async def test_async_callables_are_awaited(function: Any, more: dict[str, Any]) -> None:
    """By decoration, by `acall()`, and those that are only found out when they are called."""
    it = breaker(**more)
    assert (await it(function)(1, b=2), await it.acall(function, 1, b=2)) == (3, 3)
    assert counted(it) == (2, 0, 0, 0)


@pytest.mark.parametrize("more", OTHER_PATHS)
async def test_methods_are_decorated_where_they_stand(more: dict[str, Any]) -> None:
    """Each gets its object, its class, or nothing."""
    it = breaker(**more)

    class Client:
        number = 3

        @it
        def plain(self, a: int) -> int:
            return self.number + a

        @it
        async def waits(self, a: int) -> int:
            return self.number + a

        @it
        @staticmethod
        def above(a: int) -> int:
            return a

        @staticmethod
        @it
        def below(a: int) -> int:
            return a

        @it
        @classmethod
        def of_class(cls, a: int) -> int:
            return cls.number + a

    client: Any = Client()
    sums = client.plain(1), await client.waits(1), client.above(4), client.below(4)
    assert (*sums, client.of_class(1)) == (4,) * 5
    assert counted(it) == (5, 0, 0, 0)


@pytest.mark.parametrize("more", [*OTHER_PATHS, {"fallback": 1}])
def test_the_kind_of_a_function_stays(more: dict[str, Any]) -> None:
    """Frameworks ask for it."""
    it = breaker(**more)
    assert inspect.iscoroutinefunction(it(add))
    assert inspect.iscoroutinefunction(it(AsyncCallable()))
    assert not inspect.iscoroutinefunction(it(Callables()))
    assert it(add).__name__ == "add"


@pytest.mark.parametrize("function", [None, 1, int, CircuitBreaker, "x", object()])
def test_what_cannot_be_guarded_is_refused_when_it_is_decorated(function: Any) -> None:
    """And not at the first call."""
    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.__call__"):
        breaker()(function)


@pytest.mark.parametrize("result", [1, None, "", [], object(), Callables(), iter([])])
def test_results_are_the_very_same(result: object) -> None:
    """Whatever they are."""
    it = breaker()
    assert it(lambda: result)() is result
    assert counted(it) == (1, 0, 0, 0)


async def test_an_async_call_takes_no_longer_than_it_may() -> None:
    """Then it ends with an error of ours, which is a failure; the cause is the cancelled wait."""
    it = breaker(call_timeout=0.01)
    uses: list[Callable[[], Awaitable[object]]] = [
        lambda: it.acall(asyncio.sleep, 60),
        lambda: it(asyncio.sleep)(60),
        it(lambda *_: asyncio.sleep(60)),
    ]
    for use in uses:
        with pytest.raises(CallTimeout, match=r"payments gave no answer within 0.01 s"):
            await use()
    assert it.state.value == "open"
    assert it.snapshot().last_failure == "CallTimeout"


async def test_a_block_takes_no_longer_than_it_may() -> None:
    """The same for `async with`."""
    it = breaker(call_timeout=0.01)
    with pytest.raises(CallTimeout):
        async with it:
            await asyncio.sleep(60)
    assert counted(it) == (0, 1, 0, 0)


async def stubborn() -> str:
    """Catch the cancellation, and answer all the same."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    return "late"


async def test_whoever_catches_the_cancellation_has_failed() -> None:
    """What is returned after the time is passed on, and counts as what it is: too late."""
    it = breaker(call_timeout=0.01, consecutive_failures=4)
    uses: list[Callable[[], Awaitable[object]]] = [
        lambda: it.acall(stubborn),
        it(stubborn),
        it(lambda *_: stubborn()),
    ]
    for use in uses:
        assert await use() == "late"
    async with it:
        await stubborn()
    assert counted(it) == (0, 4, 0, 0)
    assert it.state.value == "open"


async def test_a_timeout_of_the_calls_own_is_its_own() -> None:
    """It passes unchanged."""
    it = breaker(call_timeout=60.0)

    async def late() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine") as raised:
        await it.acall(late)
    assert type(raised.value) is TimeoutError
    assert counted(it) == (0, 1, 0, 0)


async def test_a_cancelled_call_is_no_timeout() -> None:
    """Somebody else's limit says nothing."""
    it = breaker(call_timeout=60.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await it.acall(asyncio.sleep, 60)
    assert counted(it) == (0, 0, 1, 0)


def test_a_plain_call_that_took_too_long_failed() -> None:
    """It cannot be interrupted; its result is passed on."""
    clock = FakeClock()
    it = breaker(clock=clock, call_timeout=2.0)

    def takes(seconds: float) -> str:
        clock.advance(seconds)
        return "done"

    for use in (it.call, lambda function, *args: it(function)(*args)):
        assert use(takes, 2.5) == "done"
    assert it.call(takes, 2.0) == "done"
    assert counted(it) == (1, 2, 0, 0)


async def test_results_are_judged() -> None:
    """Wherever they come from."""
    it = breaker(classify=lambda error, result: Outcome.FAILURE if result == "bad" else None)

    async def bad() -> str:
        return "bad"

    assert it.call(lambda: "bad") == it(lambda: "bad")() == await it(bad)() == "bad"
    assert it.state.value == "open"


async def test_what_is_refused_is_not_called() -> None:
    """Nor is its coroutine made, which nobody would await."""
    it = breaker()
    called: list[int] = []

    async def waits() -> None:
        called.append(1)

    trip(it)
    with pytest.raises(CircuitOpen):
        await it.acall(waits)
    with pytest.raises(CircuitOpen):
        await it(waits)()
    with pytest.raises(CircuitOpen):
        it(called.append)(1)
    assert called == []


def test_wrong_arguments_are_the_calls_own_error() -> None:
    """And leave no trial behind."""
    it = breaker(recover_after=1)
    trip(it)
    it.core.clock.advance(5.0)  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        it(fail)("too many")  # type: ignore[call-arg]
    assert it.state.value == "open"


async def test_errors_keep_their_trace() -> None:
    """The tripping call gets its own error, raised where it was."""
    it = breaker(consecutive_failures=1)
    with pytest.raises(DownError) as raised:
        await it(afail)()
    assert raised.traceback[-1].name == "afail"
    assert raised.value.__cause__ is None
