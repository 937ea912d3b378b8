"""The state machine of a breaker: every transition lives here; no clock, no lock, no logging.

An era is the time between two transitions, and its number is the generation. A call is stamped when
it is admitted; when its outcome comes in after its era has ended, it changes nothing.
"""

from dataclasses import dataclass
from typing import TypeAlias

from asgi_guard.breaker.opening import Luck, OpenTimes
from asgi_guard.breaker.slow import Call, SlowCalls
from asgi_guard.breaker.states import BreakerState, Cause, Outcome, Transition
from asgi_guard.breaker.thresholds import Thresholds
from asgi_guard.breaker.trials import Trial, Trials
from asgi_guard.breaker.window import window_of

_NEVER = float("inf")
_REFUSES = frozenset({BreakerState.OPEN, BreakerState.FORCED_OPEN})
_COUNTS = frozenset({BreakerState.CLOSED, BreakerState.METRICS_ONLY})
_ADMITS_ALL = _COUNTS | {BreakerState.DISABLED}
_AFTER = {BreakerState.OPEN: BreakerState.HALF_OPEN, BreakerState.FORCED_OPEN: BreakerState.CLOSED}


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that was not admitted.

    Attributes:
        state: The state that it met.
        retry_after: Seconds until one may be; None where nobody knows.
    """

    state: BreakerState
    retry_after: float | None


Stamp: TypeAlias = int | Call | Trial
"""What an admitted call shows when it is over; the generation, where nothing else matters."""


class Machine:
    """States, and what leads from one to another.

    Time is an argument, in seconds on a clock that never runs back.

    Args:
        thresholds: When it trips and recovers.
        luck: Returns random numbers from 0 up to 1.
        state: The state to begin in; default closed.
        now: The time; default 0.

    Attributes:
        generation: The number of the era.
        admits_unasked: Whether a call may be admitted with the generation as its stamp, and nobody
            asked. The first call that asks finds out.
        news: Transitions that nobody has been told of yet.
        late: Calls that came back after their era.
        would_trip: How often it would have tripped, if it did more than tell.
        transitions: How often it went from one state to another.
    """

    __slots__ = (
        "_consecutive",
        "_counts",
        "_era_began",
        "_open_seconds",
        "_open_times",
        "_open_until",
        "_slow",
        "_state",
        "_successful_trials",
        "_thresholds",
        "_trials",
        "_window",
        "admits_unasked",
        "generation",
        "late",
        "news",
        "transitions",
        "would_trip",
    )

    def __init__(
        self,
        thresholds: Thresholds,
        luck: Luck,
        state: BreakerState = BreakerState.CLOSED,
        now: float = 0.0,
    ) -> None:
        limits = self._thresholds = thresholds
        self._state = state
        self._counts = state in _COUNTS
        self._window = window_of(limits.window, limits.window_calls)
        self._open_times = OpenTimes(
            limits.open_for, limits.open_multiplier, limits.open_max, limits.jitter, luck
        )
        self._trials = Trials(limits.max_trials, limits.trial_lease)
        self._slow = SlowCalls(limits.slow_call or _NEVER, limits.window)
        self._consecutive = 0
        self._successful_trials = 0
        self._open_until = _NEVER
        self._open_seconds = 0.0
        self._era_began = now
        self.generation: int = 0
        self.admits_unasked: bool = False
        self.news: list[Transition] = []
        self.late: int = 0
        self.would_trip: int = 0
        self.transitions: dict[tuple[BreakerState, BreakerState], int] = {}

    def state(self, now: float) -> BreakerState:
        """Return the state; once the open time is over it is half-open, trial or no trial."""
        is_over = now >= self._open_until
        return _AFTER.get(self._state, self._state) if is_over else self._state

    def retry_after(self, now: float) -> float | None:
        """Return the seconds until a call may be admitted, 0 when one is now; None if unknown."""
        if self._state in _REFUSES:
            return None if self._open_until == _NEVER else max(0.0, self._open_until - now)
        if self._state is BreakerState.HALF_OPEN:
            return min(self._trials.wait(now), self._thresholds.open_for)
        return 0.0

    def counts(self, now: float) -> tuple[int, int, int]:
        """Return the calls, the failures and the slow calls of the window."""
        self._window.advance(now)
        overdue = self._slow.overdue(now)
        return self._window.calls + overdue, self._window.failures, self._window.slow + overdue

    def open_seconds(self, now: float) -> float:
        """Return the seconds that it has been open altogether."""
        if self._state not in _REFUSES:
            return self._open_seconds
        return self._open_seconds + max(0.0, min(now, self._open_until) - self._era_began)

    @property
    def leases_expired(self) -> int:
        """Trials that were taken back."""
        return self._trials.expired

    @property
    def slow_calls(self) -> int:
        """Calls that have ended, and were slow."""
        return self._slow.ended

    def admit(self, now: float) -> Stamp | Refused:
        """Admit a call, or say when to come back."""
        if now >= self._open_until:
            if self._state is BreakerState.FORCED_OPEN:
                self._close(now, Cause.OPEN_TIME_OVER, "the forced time is over")
            elif self._state is BreakerState.OPEN:
                self._enter(BreakerState.HALF_OPEN, now, Cause.OPEN_TIME_OVER, "open time over")
        if self._counts and self._thresholds.slow_call is not None:
            self._trip_if_due(now)  # for calls that are still under way, and slow already
        if self._state in _ADMITS_ALL:
            if self._thresholds.slow_call is not None:
                return self._slow.begin(self.generation, now, is_watched=self._counts)
            self.admits_unasked = True
            return self.generation
        trial = self._trials.begin(now) if self._state is BreakerState.HALF_OPEN else None
        return Refused(self._state, self.retry_after(now)) if trial is None else trial

    def adopt(self, other: "Machine", now: float) -> None:
        """Take over what another has counted for good."""
        self.late += other.late
        self.would_trip += other.would_trip
        self._open_seconds += other.open_seconds(now)
        self._trials.expired += other._trials.expired
        self._slow.ended += other._slow.ended
        for change, times in other.transitions.items():
            self.transitions[change] = self.transitions.get(change, 0) + times

    def succeed(self, generation: int, now: float) -> None:
        """Take in that a call has succeeded: `settle`, for most calls there are."""
        if generation != self.generation:
            self.late += 1
        elif self._counts:
            window = self._window
            window.add(now)
            self._consecutive = 0
            if window.failures and window.calls >= self._thresholds.min_calls:
                self._trip_if_due(now)  # a success can complete the minimum of calls

    def settle(self, stamp: Stamp, outcome: Outcome, now: float) -> None:
        """Take in the outcome of an admitted call."""
        if isinstance(stamp, Trial):
            self._settle_trial(stamp, outcome, now)
            return
        if (stamp if isinstance(stamp, int) else stamp.generation) != self.generation:
            self.late += 1
            return
        slow = isinstance(stamp, Call) and self._slow.end(stamp, now)
        if self._counts and (slow or outcome is not Outcome.IGNORED):
            self._record(outcome, now, slow=slow)

    def answered(self, stamp: Call | Trial, now: float) -> None:
        """Take in that a call has begun to answer: what it does from here on is not slow."""
        if isinstance(stamp, Call):
            self._slow.answer(stamp, now)
        elif stamp.answered is None:
            stamp.answered = now

    def open_for(self, seconds: float, now: float, cause: Cause, detail: str) -> None:
        """Open for so long, at least: somebody who knows has said so."""
        until = now + seconds
        if self._state is BreakerState.OPEN:
            self._open_until = max(self._open_until, until)
        elif self._state in {BreakerState.CLOSED, BreakerState.HALF_OPEN}:
            self._open(until, now, cause, detail)

    def force(self, state: BreakerState, now: float, seconds: float | None = None) -> None:
        """Enter a state by hand; forced open for so many seconds, or until further notice."""
        if state is BreakerState.CLOSED:
            self._close(now, Cause.MANUAL, "by hand")
        else:
            self._open_until = _NEVER if seconds is None else now + seconds
            self._enter(state, now, Cause.MANUAL, "by hand")

    def _record(self, outcome: Outcome, now: float, *, slow: bool) -> None:
        failed = outcome is Outcome.FAILURE
        if outcome is not Outcome.IGNORED:
            self._consecutive = self._consecutive + 1 if failed else 0
        self._window.record(now, failed=failed, slow=slow)
        self._trip_if_due(now)

    def _settle_trial(self, trial: Trial, outcome: Outcome, now: float) -> None:
        if not self._trials.end(trial, now):
            self.late += 1
            return
        slow = self._slow.judge(trial, now)
        if outcome is Outcome.FAILURE or (slow and outcome is Outcome.SUCCESS):
            detail = "a trial failed" if outcome is Outcome.FAILURE else "a trial was slow"
            self._open(now + self._open_times.next(), now, Cause.TRIAL_FAILED, detail)
        elif outcome is Outcome.SUCCESS:
            self._successful_trials += 1
            if self._successful_trials >= self._thresholds.recover_after:
                self._close(now, Cause.RECOVERED, f"{self._successful_trials} trials succeeded")

    def _trip_if_due(self, now: float) -> None:
        found = self._reason_to_trip(now)
        if found is None:
            return
        if self._state is BreakerState.METRICS_ONLY:
            self.would_trip += 1
            self.news.append(Transition(self._state, self._state, *found))
            self._forget()
        else:
            self._open(now + self._open_times.next(), now, *found)

    def _reason_to_trip(self, now: float) -> tuple[Cause, str] | None:
        limits = self._thresholds
        in_a_row = limits.consecutive_failures
        if in_a_row is not None and self._consecutive >= in_a_row:
            return Cause.CONSECUTIVE_FAILURES, f"consecutive failures: {self._consecutive}"
        calls, failures, slow = self.counts(now)
        if calls < limits.min_calls:
            return None
        last = "" if limits.window_calls else f" within {limits.window:g} s"
        if limits.failure_rate is not None and failures and failures >= limits.failure_rate * calls:
            return Cause.FAILURE_RATE, f"{failures} of {calls} calls failed{last}"
        if slow and slow >= limits.slow_rate * calls:
            longer = f"{slow} of {calls} calls took {limits.slow_call:g} s or longer{last}"
            return Cause.SLOW_RATE, longer
        return None

    def _open(self, until: float, now: float, cause: Cause, detail: str) -> None:
        self._open_until = until
        self._enter(BreakerState.OPEN, now, cause, detail)

    def _close(self, now: float, cause: Cause, detail: str) -> None:
        self._open_times.reset()
        self._enter(BreakerState.CLOSED, now, cause, detail)

    def _enter(self, state: BreakerState, now: float, cause: Cause, detail: str) -> None:
        self._open_seconds = self.open_seconds(now)
        seconds = self._open_until - now if state in _REFUSES else 0.0
        change = (self._state, state)
        if state is not self._state:  # by hand, it may be told what it does already
            known = None if seconds == _NEVER else seconds
            self.news.append(Transition(*change, cause, detail, known))
            self.transitions[change] = self.transitions.get(change, 0) + 1
        self._state = state
        self._counts = state in _COUNTS
        self._era_began = now
        if state not in _REFUSES:
            self._open_until = _NEVER
        self.admits_unasked = False  # first, or a call unasked could be stamped with the new era
        self.generation += 1
        self._successful_trials = 0
        self._trials.clear()
        self._slow.clear()
        if self._counts:
            self._forget()

    def _forget(self) -> None:
        self._window.clear()
        self._slow.clear()
        self._consecutive = 0
