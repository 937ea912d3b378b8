"""Breakers of many packages, set to the same: three failures trip, one success recovers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import aiobreaker
import circuitbreaker
import interlock
import pybreaker
from hyx.circuitbreaker import consecutive_breaker
from hyx.circuitbreaker.exceptions import BreakerFailing
from purgatory import AsyncCircuitBreakerFactory, SyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from asgi_guard import CircuitBreaker, CircuitOpen
from asgi_guard.testing import FakeClock

OPEN_FOR = 0.25
Decorate: TypeAlias = Callable[[Any], Any]


class DownError(Exception):
    """A failure."""


class CallerError(Exception):
    """What is to be ignored."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One breaker in one situation.

    Attributes:
        guard: Puts a function, async or an async generator, under it.
        refusal: What it raises when it refuses.
        sleep: Lets time pass, in seconds.
    """

    guard: Decorate
    refusal: type[BaseException]
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


def of_asgi_guard() -> Subject:
    """Return ours, on a clock that is moved."""
    clock = FakeClock()
    it = CircuitBreaker(
        "matrix",
        consecutive_failures=3,
        open_for=OPEN_FOR,
        jitter=0.0,
        recover_after=1,
        trial_lease=2 * OPEN_FOR,
        ignore=CallerError,
        clock=clock,
    )

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)
        await asyncio.sleep(0)

    return Subject(it, CircuitOpen, sleep)


def of_pybreaker() -> Subject:
    """Return a breaker for plain calls; round async ones it takes a block."""
    it = pybreaker.CircuitBreaker(fail_max=3, reset_timeout=OPEN_FOR, exclude=[CallerError])

    def guard(function: Any) -> Any:
        if not asyncio.iscoroutinefunction(function):
            return it(function)

        async def guarded() -> Any:
            with it.calling():
                return await function()

        return guarded

    return Subject(guard, pybreaker.CircuitBreakerError)


def of_aiobreaker() -> Subject:
    """Return a port of it."""
    it = aiobreaker.CircuitBreaker(3, timedelta(seconds=OPEN_FOR), exclude=[CallerError])
    return Subject(it, aiobreaker.CircuitBreakerError)


def of_circuitbreaker() -> Subject:
    """Return the decorator."""
    it = circuitbreaker.CircuitBreaker(3, OPEN_FOR, DownError)
    return Subject(it, circuitbreaker.CircuitBreakerError)


def of_purgatory() -> Subject:
    """Return the one with a store."""
    it = AsyncCircuitBreakerFactory(3, OPEN_FOR, [CallerError])
    return Subject(it("matrix"), OpenedState)


def of_hyx() -> Subject:
    """Return the one for asyncio only."""
    it = consecutive_breaker(DownError, 3, OPEN_FOR, 1)
    return Subject(it, BreakerFailing)


class Failures:
    """What interlock asks."""

    def is_failure(self, *, result: object, exception: Exception | None) -> bool:
        """Tell a failure."""
        return isinstance(exception, DownError)


def of_interlock() -> Subject:
    """Return the one with windows: three failures in a window of three."""
    config = interlock.Config(
        failure_rate_threshold=1.0,
        minimum_number_of_calls=3,
        window_size=3,
        permitted_calls_in_half_open=1,
        wait_duration_in_open=OPEN_FOR,
    )
    it = interlock.CircuitBreaker(name="matrix", config=config, classifier=Failures())
    return Subject(it, interlock.CircuitOpenError)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "asgi_guard": of_asgi_guard,
    "pybreaker": of_pybreaker,
    "aiobreaker": of_aiobreaker,
    "circuitbreaker": of_circuitbreaker,
    "purgatory": of_purgatory,
    "hyx": of_hyx,
    "interlock-cb": of_interlock,
}


SYNC: dict[str, Callable[[], Decorate]] = {
    "asgi_guard": lambda: CircuitBreaker("costs"),
    "pybreaker": pybreaker.CircuitBreaker,
    "aiobreaker": aiobreaker.CircuitBreaker,
    "circuitbreaker": circuitbreaker.CircuitBreaker,
    "purgatory": lambda: SyncCircuitBreakerFactory()("costs"),
    "interlock-cb": lambda: interlock.CircuitBreaker(name="costs"),
}
ASYNC: dict[str, Callable[[], Decorate]] = {
    "asgi_guard": SYNC["asgi_guard"],
    "aiobreaker": SYNC["aiobreaker"],
    "circuitbreaker": SYNC["circuitbreaker"],
    "purgatory": lambda: AsyncCircuitBreakerFactory()("costs"),
    "hyx": consecutive_breaker,
    "interlock-cb": SYNC["interlock-cb"],
}
"""What stands round a call that succeeds, each with its defaults."""
