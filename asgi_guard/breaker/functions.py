"""Functions under a breaker: plain and async ones, and generators of both kinds."""

import asyncio
import concurrent.futures
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from asgi_guard._checks import is_async
from asgi_guard.breaker.awaited import VALUES, call_in_time
from asgi_guard.breaker.futures import settled_future, settled_thread_future
from asgi_guard.breaker.generators import async_generator, generator
from asgi_guard.breaker.later import later
from asgi_guard.breaker.machine import Stamp
from asgi_guard.breaker.served import with_fallback
from asgi_guard.breaker.states import Outcome
from asgi_guard.errors import ConfigurationError

if TYPE_CHECKING:
    from asgi_guard.breaker.breaker import CircuitBreaker

P = ParamSpec("P")
R = TypeVar("R")

_FUNCTIONS = "a function or a callable object: plain, async, or a generator of either kind"


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
        (inspect.isasyncgenfunction, async_generator),
        (inspect.isgeneratorfunction, generator),
        (is_async, _coroutine),
    )
    make = next((make for is_kind, make in kinds if is_kind(function) or is_kind(call)), _plain)
    made = make(breaker, any_function)
    if breaker.fallback is not None:
        if make in {async_generator, generator}:
            raise ConfigurationError(
                "CircuitBreaker.fallback",
                function,
                "a function that returns one value: items that were yielded cannot be taken back",
            )
        if make is not _coroutine:
            breaker.fallback.check_plain(function)
        made = with_fallback(breaker, breaker.fallback, made, waits=make is _coroutine)
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
        if type(stamp) is not int or type(result) not in VALUES:
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
    if type(result) not in VALUES:
        if isinstance(result, asyncio.Future):
            return settled_future(breaker, stamp, result)
        if isinstance(result, concurrent.futures.Future):
            return settled_thread_future(breaker, stamp, result)
        if inspect.isawaitable(result):
            return _awaited(breaker, stamp, result)
        if inspect.isgenerator(result):
            return generator(breaker, lambda: result, lambda: stamp)()
        if inspect.isasyncgen(result):
            return async_generator(breaker, lambda: result, lambda: stamp)()
    return breaker.returned(stamp, result)


def _awaited(breaker: "CircuitBreaker", stamp: Stamp, result: Awaitable[Any]) -> Awaitable[Any]:
    is_coroutine = inspect.iscoroutine(result) or inspect.isgenerator(result)
    if is_coroutine or (isinstance(result, Coroutine) and not hasattr(result, "__aenter__")):
        return call_in_time(breaker, stamp, lambda: result)
    return later(breaker, stamp, result)


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
            return breaker.returned(stamp, result)
        with lock:  # as `settle` does, without further calls
            core.success += 1
            machine.succeed(stamp, clock())
        if machine.news:
            core.tell()
        return result

    return guarded
