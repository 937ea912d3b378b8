"""Futures that a plain function returns: its call is settled when they are done."""

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from asgi_guard.breaker.awaited import call_in_time
from asgi_guard.breaker.machine import Stamp
from asgi_guard.breaker.states import Outcome

if TYPE_CHECKING:
    from asgi_guard.breaker.breaker import CircuitBreaker

_Future: TypeAlias = "asyncio.Future[Any] | concurrent.futures.Future[Any]"


def settled_future(breaker: "CircuitBreaker", stamp: Stamp, result: "asyncio.Future[Any]") -> Any:
    """Let a call be settled when its future is done, and return the future itself.

    Where it has to be something else, since the breaker has a time for calls, or a fallback for
    failures, it is a task.
    """
    if breaker.call_timeout is not None or breaker.serves_failures:
        return _task(breaker, stamp, result)
    settle = _settles(breaker, stamp)
    if result.done():
        settle(result)
    elif _is_running(result.get_loop()):
        result.add_done_callback(settle)
    else:
        _settle_there(breaker, stamp, result, settle)
    return result


def settled_thread_future(
    breaker: "CircuitBreaker", stamp: Stamp, result: "concurrent.futures.Future[Any]"
) -> Any:
    """Do the same for a future of a pool of threads or processes; it cannot be interrupted."""
    settle = _settles(breaker, stamp)
    limit, clock = breaker.call_timeout, breaker.core.clock
    began = clock()

    def settle_in_time(done: _Future) -> None:
        if limit is not None and clock() - began > limit and not done.cancelled():
            breaker.settle(stamp, Outcome.FAILURE)
        else:
            settle(done)

    result.add_done_callback(settle_in_time)
    return result


def _settles(breaker: "CircuitBreaker", stamp: Stamp) -> Callable[[_Future], None]:
    def settle(done: _Future) -> None:
        if done.cancelled():
            breaker.settle(stamp, Outcome.IGNORED)
            return
        # Not `exception()`: who asks for it, silences that nobody else has.
        error = done._exception
        breaker.end(stamp, error, done.result() if error is None else None)

    return settle


def task_of(result: "asyncio.Future[Any]", waiting: Coroutine[Any, Any, Any]) -> Any:
    """Return a task that waits for a future: who cancels it cancels the future, at any time."""

    def is_over(task: "asyncio.Task[Any]") -> None:
        if task.cancelled():
            result.cancel()  # the task may not even have begun

    task = result.get_loop().create_task(waiting)
    task.add_done_callback(is_over)
    return task


def _task(breaker: "CircuitBreaker", stamp: Stamp, result: "asyncio.Future[Any]") -> Any:
    has_begun = False

    async def wait() -> Any:
        nonlocal has_begun
        has_begun = True
        return await call_in_time(breaker, stamp, lambda: result)

    def is_over(task: "asyncio.Task[Any]") -> None:
        if task.cancelled() and not has_begun:
            breaker.settle(stamp, Outcome.IGNORED)

    task = task_of(result, wait())
    task.add_done_callback(is_over)
    return task


def _settle_there(
    breaker: "CircuitBreaker",
    stamp: Stamp,
    result: "asyncio.Future[Any]",
    settle: Callable[[_Future], None],
) -> None:
    """Do it in the loop of a future that belongs to another thread."""
    try:
        result.get_loop().call_soon_threadsafe(result.add_done_callback, settle)
    except RuntimeError:  # it is closed, and the future will never be done
        breaker.settle(stamp, Outcome.IGNORED)


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
