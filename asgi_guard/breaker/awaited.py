"""What is awaited under a breaker: within the time that a call may take, and settled at its end."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from types import NoneType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from asgi_guard.breaker.awaiting import to_await
from asgi_guard.breaker.machine import Stamp
from asgi_guard.breaker.states import Outcome
from asgi_guard.errors import CallTimeout

if TYPE_CHECKING:
    from asgi_guard.breaker.breaker import CircuitBreaker

P = ParamSpec("P")
R = TypeVar("R")

VALUES: frozenset[type] = frozenset(
    {NoneType, bool, int, float, str, bytes, dict, list, tuple, set}
)
"""What is certainly neither awaited nor iterated to its end by whoever called."""


def is_awaited(result: object) -> bool:
    """Tell whether whoever called has to await what a function returned."""
    return type(result) not in VALUES and inspect.isawaitable(result)


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
    in_time = True
    try:
        if breaker.call_timeout is None:
            result = await to_await(function, function(*args, **kwargs))
        else:
            made = to_await(function, function(*args, **kwargs))
            result, in_time = await within(breaker, made)
    except BaseException as error:
        breaker.end(stamp, error)
        raise
    if in_time:
        return breaker.returned(stamp, result)
    breaker.settle(stamp, Outcome.FAILURE)
    return result


async def within(breaker: "CircuitBreaker", result: Awaitable[R]) -> tuple[R, bool]:
    """Return the result, and whether it came in the time that a call may take.

    Raises:
        CallTimeout: It did not, and was cancelled.
    """
    seconds = breaker.call_timeout
    try:
        async with asyncio.timeout(seconds) as limit:
            finished = await result
    except TimeoutError as error:
        if seconds is not None and limit.expired():
            raise CallTimeout(f"{breaker.name} gave no answer within {seconds:g} s") from error
        raise
    return finished, not limit.expired()
