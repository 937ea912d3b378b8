"""Functions with a fallback: what stands in for their results when they are refused, or fail."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from asgi_guard.breaker.awaited import is_awaited
from asgi_guard.breaker.fallback import Fallback

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
        if is_awaited(result):
            seen_to_wait = True
            return _served(breaker, fallback, result, args, kwargs)
        return result

    return served


async def _served(
    breaker: "CircuitBreaker", fallback: Fallback, result: Awaitable[Any], args: Any, kwargs: Any
) -> Any:
    try:
        return await result
    except Exception as error:
        if not breaker.falls_back_on(error):
            raise
    return await fallback.serve_async(args, kwargs)
