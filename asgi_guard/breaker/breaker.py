"""The circuit breaker, usable wherever something downstream is called."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from asgi_guard._checks import is_name
from asgi_guard._clock import Clock, monotonic
from asgi_guard.breaker.attempt import Attempt
from asgi_guard.breaker.awaited import call_in_time
from asgi_guard.breaker.blocks import Blocks, OpenBlocks
from asgi_guard.breaker.children import Children
from asgi_guard.breaker.core import Core
from asgi_guard.breaker.fallback import NO_FALLBACK, Fallback, FallbackOn
from asgi_guard.breaker.functions import call_plainly, guarded
from asgi_guard.breaker.machine import Machine
from asgi_guard.breaker.opening import Luck
from asgi_guard.breaker.outcome import Classify, ErrorTypes
from asgi_guard.breaker.registration import Registration
from asgi_guard.breaker.served import with_fallback
from asgi_guard.breaker.settings import Settings
from asgi_guard.breaker.shared import SharedBreakers
from asgi_guard.breaker.shared_machine import SharedMachine
from asgi_guard.breaker.snapshot import BreakerSnapshot, snapshot_of
from asgi_guard.breaker.states import BY_HAND, BreakerState
from asgi_guard.breaker.verdicts import Verdicts
from asgi_guard.errors import CircuitOpen, ConfigurationError
from asgi_guard.keys import digest

P = ParamSpec("P")
R = TypeVar("R")
_LONGEST_OF_CHILD = 60  # characters, beside which there is room for a hash


class CircuitBreaker(Verdicts, Blocks):
    """Refuses calls to a downstream that keeps failing, and lets a few try when it may be back.

    Closed, it counts outcomes; it trips on so many failures in a row, or on a share of failures or
    of slow calls within a window. Open, it refuses every call with `CircuitOpen`. When the open
    time is over it is half-open: at most `max_trials` calls at once are admitted on trial, each on
    a lease; `recover_after` successes close it, one failure opens it again, for longer. The
    pattern is Michael Nygard's ("Release It!", 2007).

    A call has one of three outcomes. Cancelled calls, errors in `ignore`, errors outside `fail_on`
    and asgi_guard's own refusals are neither success nor failure, in every state. An error that
    carries the status of an HTTP response counts as the status does: a 404 is an answer. Outcomes
    that come in after the state has changed are counted, and change nothing.

    One object serves `async with`, `with`, decorated functions and generators, `call()` and
    `acall()`, and attempts in two steps, from threads and event loops alike.

    Args:
        name: What errors, log lines and metrics call it: printable ASCII, at most 100 characters.
        consecutive_failures: Failures in a row that trip it, from 1 up; default 5, None: off.
        failure_rate: Share of failures within the window that trips it, above 0 and up to 1;
            default 0.5, None: off.
        min_calls: Calls the window must hold before a share is looked at, from 1 up; default 10.
        window: Length of the window in seconds, above 0; default 10.
        window_calls: Length of the window in calls, from `min_calls` up to 1,000,000, in place of
            seconds; default None.
        slow_call: Seconds from which on a call is slow, above 0; default None: none is. Calls count
            as slow while they still run, and when they are cancelled.
        slow_rate: Share of slow calls within the window that trips it, above 0 and up to 1; default
            0.5.
        open_for: Seconds it stays open at first, above 0; default 5.
        open_multiplier: How many times as long it stays open each time that a trial fails, from 1
            up; default 2.
        open_max: The most seconds it stays open so, before jitter, above 0; default 60.
        jitter: Share of that time by which it is longer, at random, from 0 to 1; default 0.2.
        max_trials: Trials at once while half-open, from 1 up; default 1.
        recover_after: Successful trials that close it, from 1 up; default 2.
        trial_lease: Seconds after which a trial that has not come back no longer counts, above 0;
            default 30, and never less than `call_timeout`.
        fail_on: Error types that are failures; default `(Exception,)`.
        ignore: Error types that are not, though `fail_on` covers them; default none.
        classify: A plain function of the error that ended a call (or None) and of its result that
            returns an `Outcome`, or None for the usual; default None. Cancellation and refusals are
            ignored whatever it says. An error of its own never hides that of a call, which counts
            as usual then; about a result it is raised, and the call is ignored.
        call_timeout: Seconds that an async call may take, above 0; then it ends with `CallTimeout`,
            which is a failure. A plain call cannot be interrupted, nor an async one that catches
            its cancellation: that it took longer is a failure. Generators, `with` blocks and
            attempts in two steps are not timed; default None: any time.
        retry_after_max: The most seconds that a downstream may ask for, above 0; default 300.
        fallback: What stands in for the result of a function that is refused: a value, or a
            function, plain or async, of the same arguments; default: nothing does.
        fallback_on: `"rejected"` (the default), or `"failure"` for calls that fail as well.
        critical: Whether the app is not ready while it is open, by itself or by hand; half-open it
            is, or no traffic would ever try; default False: it is always ready, and says that
            something is amiss.
        max_keys: Children that `for_key()` keeps, from 1 up; default 1024.
        initial_state: `BreakerState.CLOSED` (the default), `METRICS_ONLY` to tell when it would
            trip and refuse nothing, `DISABLED` or `FORCED_OPEN`.
        shared: The URL of a Redis or Valkey where breakers of this name in other processes meet, so
            that all open together and one makes the trials; or a `SharedBreakers`; default None.
        clock: A callable returning seconds that never run backwards; default `time.monotonic`.

    Attributes:
        name: Its name.
        critical: Whether the app needs it.
        call_timeout: Seconds that a call may take.
        fallback: What stands in for results.
        judges_results: Whether what a call returns can make it a failure.
        registration: Whether some guard shows it.

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
        window_calls: int | None = None,
        slow_call: float | None = None,
        slow_rate: float = 0.5,
        open_for: float = 5.0,
        open_multiplier: float = 2.0,
        open_max: float = 60.0,
        jitter: float = 0.2,
        max_trials: int = 1,
        recover_after: int = 2,
        trial_lease: float = 30.0,
        fail_on: type[BaseException] | ErrorTypes = (Exception,),
        ignore: type[BaseException] | ErrorTypes = (),
        classify: Classify | None = None,
        call_timeout: float | None = None,
        retry_after_max: float = 300.0,
        fallback: Any = NO_FALLBACK,
        fallback_on: FallbackOn = "rejected",
        critical: bool = False,
        max_keys: int = 1024,
        initial_state: BreakerState = BreakerState.CLOSED,
        shared: str | SharedBreakers | None = None,
        clock: Clock = monotonic,
    ) -> None:
        given = {key: value for key, value in locals().items() if key != "self"}
        self._begin(Settings(**given), random.random)
        self.registration: Registration = Registration(name)
        self.core.first_uses += (self.registration,)

    def _begin(self, settings: Settings, luck: Luck) -> None:
        self._settings = settings
        self._luck = luck
        self._is_child = False
        self._classifier = settings.classifier()
        self._open_blocks = OpenBlocks()
        self.name: str = settings.name
        self.critical: bool = settings.critical
        self.call_timeout: float | None = settings.call_timeout
        self.fallback: Fallback | None = settings.made_fallback()
        self.judges_results: bool = self._classifier.judges_results
        sharing, limits = settings.sharing(), settings.thresholds()
        kind = Machine if sharing is None else SharedMachine
        machine = kind(limits, luck, settings.initial_state, float(settings.clock()))
        self.core: Core = Core(settings.name, machine, settings.clock, settings.retry_after_max)
        if sharing is not None and isinstance(machine, SharedMachine):
            self._share = sharing.join(self.core, machine, limits.max_trials, limits.trial_lease)
        self._children: Children = Children(settings.max_keys, CircuitBreaker._child)

    def __repr__(self) -> str:
        """Name the breaker and its state."""
        return f"CircuitBreaker({self.name!r}, state={self.state.value!r})"

    def snapshot(self) -> BreakerSnapshot:
        """Return the state of this moment and the counts so far, with those of all children."""
        return snapshot_of(self.core, self.fallback, self._children)

    def for_key(self, key: str) -> "CircuitBreaker":
        """Return the breaker of one host, tenant or the like: its settings are this one's.

        At most `max_keys` are kept; the closed one that was asked for least recently makes room,
        and where all are open, further keys share this breaker. So do all keys while this breaker
        is in a state that it was brought to by hand. Errors and logs call it by this
        one's name and the key, metrics by the name alone, with the counts of all keys.

        Args:
            key: What it is for; printable ASCII, at most 100 characters with the name, or else it
                is called by a hash of it.

        Raises:
            ConfigurationError: This is the breaker of a key already.
        """
        if self._is_child:
            raise ConfigurationError(
                "CircuitBreaker.for_key", key, f"none: {self.name} is for one key already"
            )
        if self.state in BY_HAND:
            return self
        return self._children.of(self, key)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Guard every call of a function or generator function, sync or async.

        Raises:
            ConfigurationError: It is no function, or has a fallback that it cannot have.
        """
        return guarded(self, function)

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a plain function if the breaker admits it.

        Raises:
            CircuitOpen: The breaker refused and has no fallback; the function was not called.
        """
        call: Callable[..., Any] = partial(call_plainly, self, function)
        if self.fallback is not None:
            self.fallback.check_plain(function)
            call = with_fallback(self, self.fallback, call, waits=False)
        return cast("R", call(*args, **kwargs))

    async def acall(
        self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call a function and await its result if the breaker admits it.

        Raises:
            CircuitOpen: The breaker refused and has no fallback; the function was not called.
            CallTimeout: It took longer than `call_timeout`.
            TypeError: The function returned no awaitable, which is ignored.
        """
        try:
            return await call_in_time(self, self.core.admit(), function, *args, **kwargs)
        except Exception as error:
            if self.fallback is None or not self.falls_back_on(error):
                raise
        return cast("R", await self.fallback.serve_async(args, kwargs))

    def attempt(self) -> Attempt:
        """Admit a call whose outcome somebody will tell later.

        Raises:
            CircuitOpen: The breaker refused.
        """
        return Attempt(self, self.core.admit())

    def try_acquire(self) -> Attempt | None:
        """Admit a call as `attempt()` does; return None where that raises."""
        try:
            return self.attempt()
        except CircuitOpen:
            return None

    def _child(self, key: str) -> "CircuitBreaker":
        name = f"{self.name}[{key}]"
        if not is_name(name):
            name = (
                f"{self.name[:_LONGEST_OF_CHILD]}[{digest(key.encode('utf-8', 'surrogatepass'))}]"
            )
        child = object.__new__(CircuitBreaker)
        child._begin(replace(self._settings, name=name), self._luck)
        child._is_child = True
        child._classifier = self._classifier  # so that its function's mistake is logged once
        child.fallback = self.fallback
        child.core.listeners += self.core.listeners
        child.registration = self.registration
        child.core.first_uses += (self.registration,)
        return child
