"""Functions under a breaker: plain and async ones, and generators of both kinds."""

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import NoneType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from asgi_guard._checks import is_async
from asgi_guard.breaker.awaiting import to_await
from asgi_guard.breaker.fallback import Fallback
from asgi_guard.breaker.machine import Stamp
from asgi_guard.breaker.states import Outcome
from asgi_guard.errors import CallTimeout, ConfigurationError

if TYPE_CHECKING:
    from asgi_guard.breaker.breaker import CircuitBreaker

P = ParamSpec("P")
R = TypeVar("R")

_FUNCTIONS = "a function or a callable object: plain, async, or a generator of either kind"
# What is certainly neither awaited nor iterated to its end by whoever called.
_VALUES = frozenset({NoneType, bool, int, float, str, bytes, dict, list, tuple, set})


def guarded(breaker: "CircuitBreaker", function: Callable[P, R]) -> Callable[P, R]:
    """Return a function of the same kind, of which every call goes through the breaker.

    Raises:
        ConfigurationError: It is no function, or a generator with a fallback.
    """
    if isinstance(function, staticmethod | classmethod):
        return cast("Callable[P, R]", type(function)(guarded(breaker, function.__func__)))
    if not callable(function) or isinstance(function, type):
        raise ConfigurationError("CircuitBreaker.__call__", function, _FUNCTIONS)
    any_function: Callable[..., Any] = function
    call = getattr(function, "__call__", function)  # noqa: B004 - an object's own
    kinds: tuple[tuple[Callable[[object], bool], Any], ...] = (
        (inspect.isasyncgenfunction, _async_generator),
        (inspect.isgeneratorfunction, _generator),
        (is_async, _coroutine),
    )
    make = next((make for is_kind, make in kinds if is_kind(function) or is_kind(call)), _plain)
    made = make(breaker, any_function)
    if breaker.fallback is not None:
        if make in {_async_generator, _generator}:
            raise ConfigurationError(
                "CircuitBreaker.fallback",
                function,
                "a function that returns one value: items that were yielded cannot be taken back",
            )
        made = _with_fallback(breaker, breaker.fallback, made, waits=make is _coroutine)
    return cast("Callable[P, R]", functools.wraps(function)(made))


def _plain(breaker: "CircuitBreaker", function: Callable[..., Any]) -> Callable[..., Any]:
    if breaker.judges_results or breaker.call_timeout is not None:
        return lambda *args, **kwargs: call_plainly(breaker, function, *args, **kwargs)
    core = breaker.core
    machine, lock, clock, admit = core.machine, core.lock, core.clock, core.admit

    def guarded(*args: Any, **kwargs: Any) -> Any:
        stamp: Stamp = machine.generation
        if not machine.admits_unasked:
            stamp = admit()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            breaker.end(stamp, error)
            raise
        if type(stamp) is not int or type(result) not in _VALUES:
            return finish(breaker, stamp, result)
        with lock:  # as `settle` does, without further calls
            core.success += 1
            machine.succeed(stamp, clock())
        if machine.news:
            core.tell()
        return result

    return guarded


def call_plainly(
    breaker: "CircuitBreaker", function: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """Call a plain function; it cannot be interrupted, but that it took too long is a failure."""
    limit = breaker.call_timeout
    stamp = breaker.core.admit()
    began = 0.0 if limit is None else breaker.core.clock()
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        breaker.end(stamp, error)
        raise
    if limit is not None and breaker.core.clock() - began > limit:
        breaker.settle(stamp, Outcome.FAILURE)
        return result
    return finish(breaker, stamp, result)


def finish(breaker: "CircuitBreaker", stamp: Stamp, result: Any) -> Any:
    """Settle a call that has returned; one that is not over yet is settled when it is."""
    if type(result) not in _VALUES:
        if inspect.isawaitable(result):
            return _awaited(breaker, stamp, result)
        if inspect.isgenerator(result):
            return _generator(breaker, lambda: result, lambda: stamp)()
        if inspect.isasyncgen(result):
            return _async_generator(breaker, lambda: result, lambda: stamp)()
    breaker.end(stamp, None, result)
    return result


async def _awaited(breaker: "CircuitBreaker", stamp: Stamp, result: Awaitable[R]) -> R:
    return await call_in_time(breaker, stamp, lambda: result)


async def call_in_time(
    breaker: "CircuitBreaker",
    stamp: Stamp,
    function: Callable[P, Awaitable[R]],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Await what must come within the breaker's own time, if it has one, and settle the call.

    What comes all the same after it was cancelled for that time is passed on: the call has failed.
    """
    seconds, in_time = breaker.call_timeout, True
    try:
        if seconds is None:
            result = await to_await(function, function(*args, **kwargs))
        else:
            made = to_await(function, function(*args, **kwargs))
            result, in_time = await _within(breaker, seconds, made)
    except BaseException as error:
        breaker.end(stamp, error)
        raise
    if in_time:
        breaker.end(stamp, None, result)
    else:
        breaker.settle(stamp, Outcome.FAILURE)
    return result


async def _within(
    breaker: "CircuitBreaker", seconds: float, result: Awaitable[R]
) -> tuple[R, bool]:
    """Return the result, and whether it came in time."""
    try:
        async with asyncio.timeout(seconds) as limit:
            finished = await result
    except TimeoutError as error:
        if limit.expired():
            raise CallTimeout(f"{breaker.name} gave no answer within {seconds:g} s") from error
        raise
    return finished, not limit.expired()


def _coroutine(breaker: "CircuitBreaker", function: Callable[..., Any]) -> Callable[..., Any]:
    core = breaker.core
    machine, lock, clock, admit = core.machine, core.lock, core.clock, core.admit
    simple = breaker.call_timeout is None and not breaker.judges_results

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        stamp: Stamp = machine.generation
        if not machine.admits_unasked:
            stamp = admit()
        if not simple:
            return await call_in_time(breaker, stamp, function, *args, **kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            breaker.end(stamp, error)
            raise
        if type(stamp) is not int:
            breaker.end(stamp, None, result)
            return result
        with lock:  # as `settle` does, without further calls
            core.success += 1
            machine.succeed(stamp, clock())
        if machine.news:
            core.tell()
        return result

    return guarded


def _generator(
    breaker: "CircuitBreaker",
    function: Callable[..., Generator[Any, Any, Any]],
    admit: Callable[[], Stamp] | None = None,
) -> Callable[..., Generator[Any, Any, Any]]:
    """Return a generator function that passes everything on, and settles when that ends."""
    begin = admit or breaker.core.admit

    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        stamp = begin()  # with the first item: what nobody iterates takes nothing
        try:
            items = function(*args, **kwargs)
            item = next(items)
            breaker.core.answered(stamp)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    items.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - it is the generator's
                    item = items.throw(error)
                else:
                    item = items.send(sent)
        except StopIteration as stop:
            breaker.end(stamp, None, stop.value)
            return stop.value
        except BaseException as error:
            breaker.end(stamp, error)
            raise

    return guarded


def _async_generator(
    breaker: "CircuitBreaker",
    function: Callable[..., AsyncGenerator[Any, Any]],
    admit: Callable[[], Stamp] | None = None,
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Return an async generator function that does the same."""
    begin = admit or breaker.core.admit

    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        stamp = begin()
        items = None
        try:
            items = function(*args, **kwargs)
            item = await anext(items)
            breaker.core.answered(stamp)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - it is the generator's
                    item = await items.athrow(error)
                else:
                    item = await items.asend(sent)
        except StopAsyncIteration:
            breaker.end(stamp, None)
        except BaseException as error:
            breaker.end(stamp, error)
            raise
        finally:
            if items is not None:
                await items.aclose()

    return guarded


def _with_fallback(
    breaker: "CircuitBreaker", fallback: Fallback, made: Callable[..., Any], *, waits: bool
) -> Callable[..., Any]:
    async def served_async(result: Awaitable[Any], args: Any, kwargs: Any) -> Any:
        try:
            return await result
        except Exception as error:
            if not breaker.falls_back_on(error):
                raise
        return await fallback.serve_async(args, kwargs)

    if waits:

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return await served_async(made(*args, **kwargs), args, kwargs)

        return awaited
    fallback.check_plain(made)
    seen_to_wait = False  # what the function returns is known once it has returned

    def served(*args: Any, **kwargs: Any) -> Any:
        nonlocal seen_to_wait
        try:
            result = made(*args, **kwargs)
        except Exception as error:
            if not breaker.falls_back_on(error):
                raise
            serve = fallback.serve_async if seen_to_wait else fallback.serve
            return serve(args, kwargs)
        if type(result) not in _VALUES and inspect.isawaitable(result):
            seen_to_wait = True
            return served_async(result, args, kwargs)
        return result

    return served
