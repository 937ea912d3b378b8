"""Functions with a fallback: what stands in for their results when they are refused, or fail."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from asgi_guard.breaker.awaited import is_awaited
from asgi_guard.breaker.fallback import Fallback
from asgi_guard.breaker.futures import task_of

if TYPE_CHECKING:
    from asgi_guard.breaker.breaker import CircuitBreaker


def with_fallback(
    breaker: "CircuitBreaker", fallback: Fallback, made: Callable[..., Any], *, waits: bool
) -> Callable[..., Any]:
    """Return a function that serves the fallback where the breaker says so.

    Args:
        breaker: The breaker.
        fallback: Its fallback.
        made: A function that goes through the breaker.
        waits: Whether it is an async one.
    """
    if waits:

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return await _served(breaker, fallback, made(*args, **kwargs), args, kwargs)

        return awaited
    serve = fallback.serve  # what the function returns is known once it has returned

    def served(*args: Any, **kwargs: Any) -> Any:
        nonlocal serve
        try:
            result = made(*args, **kwargs)
        except Exception as error:
            if not breaker.falls_back_on(error):
                raise
            return serve(args, kwargs)
        if not is_awaited(result):
            return result
        is_future = isinstance(result, asyncio.Future)
        serve = partial(_serve_task, fallback) if is_future else fallback.serve_async
        if fallback.on == "rejected" and not inspect.iscoroutine(result):
            return result  # it was admitted
        waiting = _served(breaker, fallback, result, args, kwargs)
        return task_of(result, waiting) if is_future else waiting

    return served


def _serve_task(fallback: Fallback, args: Any, kwargs: Any) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(fallback.serve_async(args, kwargs))


async def _served(
    breaker: "CircuitBreaker", fallback: Fallback, result: Awaitable[Any], args: Any, kwargs: Any
) -> Any:
    try:
        return await result
    except Exception as error:
        if not breaker.falls_back_on(error):
            raise
    return await fallback.serve_async(args, kwargs)
