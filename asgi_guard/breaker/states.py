"""The words of a breaker: its states, the outcomes of calls, and why it changes."""

from dataclasses import dataclass
from enum import Enum


class BreakerState(Enum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    """Admits them, and counts how they end."""
    OPEN = "open"
    """Refuses them, for a while."""
    HALF_OPEN = "half-open"
    """Admits a few on trial."""
    FORCED_OPEN = "forced-open"
    """Refuses them until somebody says otherwise."""
    DISABLED = "disabled"
    """Admits them, and draws no conclusions."""
    METRICS_ONLY = "metrics-only"
    """Admits them, and only tells when it would have tripped."""


BY_HAND: frozenset[BreakerState] = frozenset(
    {BreakerState.FORCED_OPEN, BreakerState.DISABLED, BreakerState.METRICS_ONLY}
)
"""States that a breaker enters and leaves by hand."""


class Outcome(Enum):
    """How a call ended; an ignored one says nothing about the downstream."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"


class Cause(Enum):
    """Why a breaker changed its state."""

    CONSECUTIVE_FAILURES = "consecutive_failures"
    FAILURE_RATE = "failure_rate"
    SLOW_RATE = "slow_rate"
    TRIAL_FAILED = "trial_failed"
    RETRY_AFTER = "retry_after"
    SHARED = "shared"
    OPEN_TIME_OVER = "open_time_over"
    RECOVERED = "recovered"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state, and what caused it.

    Attributes:
        before: The state before.
        after: The state since; the same where a breaker only tells that it would have tripped.
        cause: Why.
        detail: The counts that caused it, for whoever reads a log.
        open_for: Seconds for which it is open; default 0: it is not; None where nobody knows.
    """

    before: BreakerState
    after: BreakerState
    cause: Cause
    detail: str
    open_for: float | None = 0.0
