"""The downstream: what it is called through, so that it is not called too much."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar, cast

from asgi_guard._checks import check_seconds, is_async
from asgi_guard._clock import Clock, monotonic
from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.fallback import NO_FALLBACK, Fallback, FallbackOn
from asgi_guard.downstream.answer import Answer, LastResults
from asgi_guard.downstream.calls import Call, Calls
from asgi_guard.downstream.checks import check_key
from asgi_guard.downstream.counts import Counts
from asgi_guard.downstream.line import Line
from asgi_guard.downstream.lines import Lines
from asgi_guard.downstream.priority import Priority
from asgi_guard.downstream.retries import Retries
from asgi_guard.downstream.settings import Settings, check_priority
from asgi_guard.downstream.slot import Slot, Slots
from asgi_guard.downstream.snapshot import DownstreamSnapshot, snapshot_of
from asgi_guard.errors import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")

_OWN: Final[Any] = object()  # the time that the downstream gives every call
_log = logging.getLogger("asgi_guard.downstream")


class Downstream:
    """Calls one downstream: so many at once, so far apart, the important ones first.

    A call takes, in this order: a look at its time and at the breaker, and neither is there to be
    waited for; a slot, for which callers wait by priority; a start, `min_interval` after the last;
    and the breaker's permit, last of all, so that waits are neither in its leases nor in what it
    measures. When the breaker opens, all who wait are refused at once. While it is half-open, as
    many are admitted as there are trials.

    The numbers hold per event loop, and per process. With the default `min_interval` no more than
    10 calls start in a second, whatever `max_concurrent` is: the log says so, once.

    A call that is made from inside another to the same downstream holds two slots, and with few of
    them both can wait for ever: give it a `timeout`.

    Args:
        name: What errors, log lines and metrics call it: printable ASCII, at most 100 characters.
        breaker: The breaker that admits the calls, and is told how they end; default None: none.
            Its own fallback is not used.
        max_concurrent: Calls at once, from 1 up; default 5.
        min_interval: Seconds between the starts of two calls, from 0 up; default 0.1, which is 10
            calls in a second.
        max_queue: Callers that may wait, from 0 up; default 100. When one more comes, the newest of
            the lowest class is refused, be it the one that came or not.
        timeout: Seconds that a call may take, its wait included, above 0; default 30, None: any
            time. When it is over during the wait, the call is refused with `DownstreamBusy`, which
            says nothing to the breaker; during the call it ends with `CallTimeout`, a failure.
        fallback: What stands in for the result of a call that is refused: a value, or a function,
            plain or async, of the same arguments; default: nothing does.
        fallback_on: `"rejected"` (the default), or `"failure"` for calls that fail as well; it says
            when a kept result stands in, too.
        aging: Seconds of waiting that raise a caller by one class, above 0, so that nobody waits
            for ever; default 5, None: none do.
        retries: Further attempts of a call that failed, from 0 up, each with a place in the line
            and a permit of its own; default 0. What is not safe to repeat must not be retried.
        retry_budget: Retries for each call, over all calls, above 0 and up to 1; default 0.2.
        back_off: Seconds that the first retry waits at most, above 0, and each further one twice
            that; how long is left to chance; default 0.1.
        back_off_max: The most seconds that any retry waits, above 0; default 5.
        keep_last: Keys for which `fetch()` keeps the last good result, from 0 up; default 1024.
        keep_for: Seconds after which a kept result is too old, above 0; default None: it never is.
        clock: A callable returning seconds that never run backwards, for the age of kept results;
            default `time.monotonic`. Waits and starts are on the event loop's.

    Attributes:
        name: Its name.
        breaker: Its breaker.
        timeout: Seconds that a call may take.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    def __init__(
        self,
        name: str,
        *,
        breaker: CircuitBreaker | None = None,
        max_concurrent: int = 5,
        min_interval: float = 0.1,
        max_queue: int = 100,
        timeout: float | None = 30.0,
        fallback: Any = NO_FALLBACK,
        fallback_on: FallbackOn = "rejected",
        aging: float | None = 5.0,
        retries: int = 0,
        retry_budget: float = 0.2,
        back_off: float = 0.1,
        back_off_max: float = 5.0,
        keep_last: int = 1024,
        keep_for: float | None = None,
        clock: Clock = monotonic,
    ) -> None:
        given = {key: value for key, value in locals().items() if key != "self"}
        settings = Settings(**given)
        self.name: str = name
        self.breaker: CircuitBreaker | None = breaker
        self.timeout: float | None = timeout
        self._settings = settings
        self._counts = Counts()
        self._has_told = False
        self._lines = Lines(self._line, breaker)
        self._slots = Slots(name, self._lines, breaker, self._counts)
        self._fallback: Fallback | None = settings.made_fallback()
        self._calls = Calls(
            self._slots,
            Retries(retries, retry_budget, back_off, back_off_max, random.random),
            self._fallback,
            fallback_on,
            LastResults(keep_last, keep_for, clock) if keep_last else None,
        )

    def __repr__(self) -> str:
        """Name the downstream."""
        return f"Downstream({self.name!r})"

    async def call(
        self,
        function: Callable[..., Awaitable[R]],
        /,
        *args: Any,
        priority: int = Priority.NORMAL,
        timeout: float | None = _OWN,  # noqa: ASYNC109 - it covers the wait as well
        **kwargs: Any,
    ) -> R:
        """Call a function and await its result, when it is its turn.

        Args:
            function: An async function, or any that returns an awaitable.
            args: Its positional arguments.
            priority: How much the call matters; default `Priority.NORMAL`.
            timeout: Seconds it may take, its wait included; None for any time; default that of the
                downstream. With none left it is refused.
            kwargs: Its keyword arguments; a `priority` or `timeout` of the function's own needs
                `functools.partial`, or `at()`.

        Raises:
            CircuitOpen: The breaker refused, and there is no fallback.
            DownstreamBusy: Too many wait, or the wait was in vain, and there is no fallback.
            CallTimeout: The time was over during the call.
            TypeError: The function returned no awaitable, which the breaker ignores.
        """
        made = self._call(function, args, kwargs, priority, timeout)
        return cast("R", await self._calls.result(made))

    async def fetch(
        self,
        key: Hashable,
        function: Callable[..., Awaitable[R]],
        /,
        *args: Any,
        priority: int = Priority.NORMAL,
        timeout: float | None = _OWN,  # noqa: ASYNC109 - it covers the wait as well
        **kwargs: Any,
    ) -> Answer[R]:
        """Call as `call()` does; return the result with its age, the last good one if need be.

        Args:
            key: What the result is kept under, such as a customer's number.
            function: An async function, or any that returns an awaitable.
            args: Its positional arguments.
            priority: How much the call matters; default `Priority.NORMAL`.
            timeout: Seconds it may take, its wait included; None for any time; default that of the
                downstream.
            kwargs: Its keyword arguments.

        Raises:
            CircuitOpen: The breaker refused, no result is kept, and there is no fallback.
            DownstreamBusy: Too many wait, or the wait was in vain; and the same.
            CallTimeout: The time was over during the call.
            TypeError: The function returned no awaitable, which the breaker ignores.
            ConfigurationError: The key cannot be hashed; nothing was called.
        """
        check_key(key)
        made = self._call(function, args, kwargs, priority, timeout)
        return await self._calls.answer(key, made)

    def slot(self, priority: int = Priority.NORMAL, *, timeout: float | None = _OWN) -> Slot:
        """Return an `async with` block that is one call: never retried, and without a fallback.

        Args:
            priority: How much it matters; default `Priority.NORMAL`.
            timeout: Seconds it may take from now on, its wait included; None for any time; default
                that of the downstream.
        """
        check_priority(priority)
        return Slot(self._slots, priority, self._ends(timeout))

    def __call__(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """Let every call of an async function go through the downstream.

        Raises:
            ConfigurationError: It is no async function.
        """
        return self._decorated(function, Priority.NORMAL, _OWN)

    def at(
        self, priority: int, *, timeout: float | None = _OWN
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Coroutine[Any, Any, R]]]:
        """Return a decorator that does the same with a priority and a time.

        Args:
            priority: How much the calls matter.
            timeout: Seconds that each may take, its wait included; None for any time; default that
                of the downstream.
        """
        check_priority(priority)
        return lambda function: self._decorated(function, priority, timeout)

    def snapshot(self) -> DownstreamSnapshot:
        """Return the state of this moment and the counts so far."""
        settings = self._settings
        sizes = (settings.max_concurrent, settings.max_queue)
        return snapshot_of(self.name, sizes, self._lines, self._counts, self._fallback)

    def _decorated(
        self, function: Callable[P, Awaitable[R]], priority: int, timeout: float | None
    ) -> Callable[P, Coroutine[Any, Any, R]]:
        if isinstance(function, type) or not is_async(function):
            raise ConfigurationError("Downstream.__call__", function, "an async function")

        @wraps(function)
        async def queued(*args: P.args, **kwargs: P.kwargs) -> R:
            made = self._call(function, args, kwargs, priority, timeout)
            return cast("R", await self._calls.result(made))

        return queued

    def _call(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        priority: int,
        timeout: float | None,
    ) -> Call:
        check_priority(priority)
        return Call(function, args, kwargs, priority, self._ends(timeout))

    def _ends(self, timeout: float | None) -> float | None:
        """Return when the time of a call is over; whatever else bounds it belongs here."""
        seconds = self.timeout if timeout is _OWN else timeout
        if seconds is None:
            return None
        if not seconds > 0:  # not a number is no time either
            return float("-inf")
        check_seconds("Downstream.timeout", seconds)
        return asyncio.get_running_loop().time() + seconds

    def _line(self) -> Line:
        settings = self._settings
        if settings.min_interval and not self._has_told:
            self._has_told = True
            _log.info(
                "downstream %r: no more than %.3g calls start in a second, since min_interval is "
                "%g s, and %d run at once",
                self.name,
                1 / settings.min_interval,
                settings.min_interval,
                settings.max_concurrent,
            )
        return Line(
            self.name,
            settings.max_concurrent,
            settings.min_interval,
            settings.max_queue,
            settings.aging,
            self._counts,
        )
