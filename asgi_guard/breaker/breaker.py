"""The circuit breaker, usable wherever something downstream is called."""

import functools
import inspect
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from asgi_guard._checks import (
    check_clock,
    check_count,
    check_name,
    check_seconds,
    check_share,
    is_async,
)
from asgi_guard._clock import Clock, monotonic
from asgi_guard.breaker.blocks import OpenBlocks
from asgi_guard.breaker.machine import (
    BreakerState,
    Machine,
    Outcome,
    Refused,
    Stamp,
    Thresholds,
    Transition,
)
from asgi_guard.breaker.outcome import Classifier, ErrorTypes
from asgi_guard.breaker.snapshot import BreakerSnapshot
from asgi_guard.errors import CircuitOpen, ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")
_log = logging.getLogger("asgi_guard.breaker")


class CircuitBreaker:
    """Refuses calls to a downstream that keeps failing, and lets a few try when it may be back.

    Closed, it counts outcomes; it trips on so many failures in a row, or on a share of failures
    within a window. Open, it refuses every call with `CircuitOpen`. When the open time is over it
    is half-open: at most `max_trials` calls at once are admitted on trial; `recover_after`
    successes close it, one failure opens it again. The pattern is Michael Nygard's ("Release It!",
    2007).

    A call has one of three outcomes. Cancelled calls, errors in `ignore`, errors outside `fail_on`
    and asgi_guard's own refusals are neither success nor failure, in every state. Outcomes that
    come in after the state has changed are counted, and change nothing.

    One object serves `async with`, `with`, decorated functions and `call()` / `acall()`, from
    threads and event loops alike.

    Args:
        name: What errors, log lines and metrics call it: printable ASCII, at most 100 characters.
        consecutive_failures: Failures in a row that trip it, from 1 up; default 5, None: off.
        failure_rate: Share of failures within the window that trips it, above 0 and up to 1;
            default 0.5, None: off.
        min_calls: Calls the window must hold before the share is looked at, from 1 up; default 10.
        window: Length of the window in seconds, above 0; default 10.
        open_for: Seconds it stays open, above 0; default 5.
        max_trials: Trials at once while half-open, from 1 up; default 1.
        recover_after: Successful trials that close it, from 1 up; default 2.
        trial_lease: Seconds after which a trial that has not come back no longer counts, above 0;
            default 30.
        fail_on: Error types that are failures; default `(Exception,)`.
        ignore: Error types that are not, though `fail_on` covers them; default none.
        clock: A callable returning seconds that never run backwards; default `time.monotonic`.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    def __init__(
        self,
        name: str,
        *,
        consecutive_failures: int | None = 5,
        failure_rate: float | None = 0.5,
        min_calls: int = 10,
        window: float = 10.0,
        open_for: float = 5.0,
        max_trials: int = 1,
        recover_after: int = 2,
        trial_lease: float = 30.0,
        fail_on: type[BaseException] | ErrorTypes = (Exception,),
        ignore: type[BaseException] | ErrorTypes = (),
        clock: Clock = monotonic,
    ) -> None:
        check_name("CircuitBreaker.name", name)
        if consecutive_failures is not None:
            check_count("CircuitBreaker.consecutive_failures", consecutive_failures)
        if failure_rate is not None:
            check_share("CircuitBreaker.failure_rate", failure_rate)
        if consecutive_failures is None and failure_rate is None:
            raise ConfigurationError(
                "CircuitBreaker.failure_rate",
                None,
                "a share, where consecutive_failures is None: one of them has to trip it",
            )
        check_count("CircuitBreaker.min_calls", min_calls)
        check_seconds("CircuitBreaker.window", window)
        check_seconds("CircuitBreaker.open_for", open_for)
        check_count("CircuitBreaker.max_trials", max_trials)
        check_count("CircuitBreaker.recover_after", recover_after)
        check_seconds("CircuitBreaker.trial_lease", trial_lease)
        check_clock("CircuitBreaker.clock", clock)
        self.name = name
        self._classifier = Classifier(fail_on, ignore)
        self._clock = clock
        # Held for integer updates only: never across the user's code, an await or a log line.
        self._lock = threading.Lock()
        self._machine = Machine(
            Thresholds(
                consecutive_failures=consecutive_failures,
                failure_rate=failure_rate,
                min_calls=min_calls,
                window=window,
                open_for=open_for,
                max_trials=max_trials,
                recover_after=recover_after,
                trial_lease=trial_lease,
            )
        )
        self._outcomes = dict.fromkeys(Outcome, 0)
        self._not_permitted = 0
        self._blocks = OpenBlocks()

    def __repr__(self) -> str:
        """Name the breaker and its state."""
        return f"CircuitBreaker({self.name!r}, state={self.state.value!r})"

    @property
    def state(self) -> BreakerState:
        """The state of this moment."""
        return self._machine.state(self._clock())

    def snapshot(self) -> BreakerSnapshot:
        """Return the state of this moment and the counts so far."""
        with self._lock:
            now = self._clock()
            return BreakerSnapshot(
                name=self.name,
                state=self._machine.state(now),
                retry_after=self._machine.retry_after(now),
                success=self._outcomes[Outcome.SUCCESS],
                failure=self._outcomes[Outcome.FAILURE],
                ignored=self._outcomes[Outcome.IGNORED],
                not_permitted=self._not_permitted,
                transitions=dict(self._machine.transitions),
            )

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Guard every call of a function, sync or async; its type stays what it was.

        Raises:
            ConfigurationError: It is a generator function, whose calls end before it has run.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                "CircuitBreaker.__call__",
                function,
                "a function, sync or async; put `with` or `async with` inside a generator",
            )
        if is_async(function):
            called = cast("Callable[P, Awaitable[Any]]", function)

            @functools.wraps(function)
            async def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
                return await self.acall(called, *args, **kwargs)

            return cast("Callable[P, R]", guarded)

        @functools.wraps(function)
        def guarded_sync(*args: P.args, **kwargs: P.kwargs) -> R:
            return self.call(function, *args, **kwargs)

        return guarded_sync

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function if the breaker admits it.

        Raises:
            CircuitOpen: The breaker refused; the function was not called.
        """
        stamp = self._admit()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            self._settle(stamp, self._classifier.outcome(error))
            raise
        if hasattr(type(result), "__await__"):  # the call is over when this is
            return cast("R", self._finish(stamp, cast("Awaitable[Any]", result)))
        self._settle(stamp, Outcome.SUCCESS)
        return result

    async def acall(
        self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call a function and await its result if the breaker admits it.

        Raises:
            CircuitOpen: The breaker refused; the function was not called.
        """
        stamp = self._admit()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            self._settle(stamp, self._classifier.outcome(error))
            raise
        self._settle(stamp, Outcome.SUCCESS)
        return result

    def __enter__(self) -> Self:
        """Admit the block, or raise `CircuitOpen`."""
        self._blocks.begin(self._admit(), id(sys._getframe(1)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle the block's outcome."""
        self._settle(self._blocks.end(id(sys._getframe(1))), self._classifier.outcome(error))

    async def __aenter__(self) -> Self:
        """Admit the block, or raise `CircuitOpen`."""
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle the block's outcome."""
        self.__exit__(kind, error, traceback)

    async def _finish(self, stamp: Stamp, result: Awaitable[R]) -> R:
        try:
            finished = await result
        except BaseException as error:
            self._settle(stamp, self._classifier.outcome(error))
            raise
        self._settle(stamp, Outcome.SUCCESS)
        return finished

    def _admit(self) -> Stamp:
        machine = self._machine
        # The generation first: were the state read first, a call could be stamped with a new era.
        generation = machine.generation
        if machine.is_closed:
            return generation
        with self._lock:
            admitted = machine.admit(self._clock())
            if not isinstance(admitted, Refused):
                return admitted
            self._not_permitted += 1
        raise CircuitOpen(
            f"circuit {self.name!r} is not closed", admitted.retry_after, breaker=self.name
        )

    def _settle(self, stamp: Stamp, outcome: Outcome) -> None:
        with self._lock:
            self._outcomes[outcome] += 1
            transition = self._machine.settle(stamp, outcome, self._clock())
        if transition is not None:
            self._tell(transition)

    def _tell(self, transition: Transition) -> None:
        level = logging.WARNING if transition.after is BreakerState.OPEN else logging.INFO
        _log.log(
            level,
            "circuit %r: %s -> %s: %s",
            self.name,
            transition.before.value,
            transition.after.value,
            transition.reason,
        )
