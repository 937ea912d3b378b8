"""The state machine of a breaker: every transition lives here; no clock, no lock, no logging.

An era is the time between two transitions, and its number is the generation. A call is stamped when
it is admitted; when its outcome comes in after its era has ended, it changes nothing.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from asgi_guard.breaker.window import Window


class BreakerState(Enum):
    """What a breaker does with calls: admit, refuse, or admit a few on trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Outcome(Enum):
    """How a call ended; an ignored one says nothing about the downstream."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a breaker trips and recovers; the settings of `CircuitBreaker` of the same names."""

    consecutive_failures: int | None
    failure_rate: float | None
    min_calls: int
    window: float
    open_for: float
    max_trials: int
    recover_after: int
    trial_lease: float


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state, and the counts that caused it."""

    before: BreakerState
    after: BreakerState
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that was not admitted; seconds until one may be."""

    retry_after: float


class Trial:
    """The stamp of a call admitted in half-open; taken back when its lease ends."""

    __slots__ = ("lease_end",)

    def __init__(self, lease_end: float) -> None:
        self.lease_end: float = lease_end


Stamp: TypeAlias = int | Trial


class Machine:
    """Closed, open, half-open. Time is an argument, in seconds on a clock that never runs back."""

    __slots__ = (
        "_consecutive",
        "_open_until",
        "_settled_trials",
        "_state",
        "_thresholds",
        "_trials",
        "_window",
        "generation",
        "transitions",
    )

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._state = BreakerState.CLOSED
        self._window = Window(thresholds.window)
        self._consecutive = 0
        self._open_until = 0.0
        self._trials: set[Trial] = set()
        self._settled_trials = 0
        self.generation: int = 0
        self.transitions: dict[tuple[BreakerState, BreakerState], int] = {}

    @property
    def is_closed(self) -> bool:
        """Whether calls pass without being asked about."""
        return self._state is BreakerState.CLOSED

    def state(self, now: float) -> BreakerState:
        """Return the state; once the open time is over it is half-open, trial or no trial."""
        if self._state is BreakerState.OPEN and now >= self._open_until:
            return BreakerState.HALF_OPEN
        return self._state

    def retry_after(self, now: float) -> float:
        """Return the seconds until a call may be admitted; 0 when one is now."""
        if self._state is BreakerState.OPEN:
            return max(0.0, self._open_until - now)
        if (
            self._state is BreakerState.HALF_OPEN
            and len(self._trials) >= self._thresholds.max_trials
        ):
            lease = min(trial.lease_end for trial in self._trials) - now
            return max(0.0, min(lease, self._thresholds.open_for))
        return 0.0

    def admit(self, now: float) -> Stamp | Refused:
        """Admit a call, or say when to come back."""
        if self._state is BreakerState.CLOSED:
            return self.generation
        wait = self.retry_after(now)
        if wait > 0.0:
            return Refused(wait)
        if self._state is BreakerState.OPEN:
            self._enter(BreakerState.HALF_OPEN)
        self._trials = {trial for trial in self._trials if trial.lease_end > now}
        trial = Trial(now + self._thresholds.trial_lease)
        self._trials.add(trial)
        return trial

    def settle(self, stamp: Stamp, outcome: Outcome, now: float) -> Transition | None:
        """Take in the outcome of an admitted call; return the transition it caused, if any."""
        if isinstance(stamp, Trial):
            return self._settle_trial(stamp, outcome, now)
        if stamp != self.generation or outcome is Outcome.IGNORED:
            return None
        failed = outcome is Outcome.FAILURE
        self._consecutive = self._consecutive + 1 if failed else 0
        self._window.record(now, failed=failed)
        reason = self._reason_to_trip()
        return None if reason is None else self._trip(now, reason)

    def _settle_trial(self, trial: Trial, outcome: Outcome, now: float) -> Transition | None:
        if trial not in self._trials:
            return None
        self._trials.remove(trial)
        if trial.lease_end <= now or outcome is Outcome.IGNORED:
            return None
        if outcome is Outcome.FAILURE:
            return self._trip(now, "a trial failed")
        self._settled_trials += 1
        if self._settled_trials < self._thresholds.recover_after:
            return None
        self._window.clear()
        self._consecutive = 0
        return self._enter(BreakerState.CLOSED, f"{self._settled_trials} trials succeeded")

    def _reason_to_trip(self) -> str | None:
        limits, window = self._thresholds, self._window
        in_a_row, rate = limits.consecutive_failures, limits.failure_rate
        if in_a_row is not None and self._consecutive >= in_a_row:
            return f"consecutive failures: {self._consecutive}"
        if rate is None or window.calls < limits.min_calls or window.failures < rate * window.calls:
            return None
        return f"{window.failures} of {window.calls} calls failed within {limits.window:g} s"

    def _trip(self, now: float, reason: str) -> Transition:
        self._open_until = now + self._thresholds.open_for
        return self._enter(BreakerState.OPEN, reason)

    def _enter(self, state: BreakerState, reason: str = "the open time is over") -> Transition:
        transition = Transition(self._state, state, reason)
        counted = (self._state, state)
        self.transitions[counted] = self.transitions.get(counted, 0) + 1
        self._state = state
        self.generation += 1
        self._trials = set()
        self._settled_trials = 0
        return transition
