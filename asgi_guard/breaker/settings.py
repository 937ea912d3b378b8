"""The settings of a breaker, checked."""

from dataclasses import dataclass, fields
from typing import Any

from asgi_guard._checks import (
    check_clock,
    check_count,
    check_flag,
    check_name,
    check_seconds,
    check_share,
)
from asgi_guard._clock import Clock
from asgi_guard.breaker.fallback import FALLBACKS_ON, NO_FALLBACK, Fallback, FallbackOn
from asgi_guard.breaker.outcome import Classifier, Classify, ErrorTypes
from asgi_guard.breaker.shared import SharedBreakers
from asgi_guard.breaker.states import BreakerState
from asgi_guard.breaker.thresholds import Thresholds
from asgi_guard.errors import ConfigurationError

_STARTS = (
    BreakerState.CLOSED,
    BreakerState.METRICS_ONLY,
    BreakerState.DISABLED,
    BreakerState.FORCED_OPEN,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `CircuitBreaker` was made with; its fields and their checks are described there."""

    name: str
    consecutive_failures: int | None
    failure_rate: float | None
    min_calls: int
    window: float
    window_calls: int | None
    slow_call: float | None
    slow_rate: float
    open_for: float
    open_multiplier: float
    open_max: float
    jitter: float
    max_trials: int
    recover_after: int
    trial_lease: float
    fail_on: type[BaseException] | ErrorTypes
    ignore: type[BaseException] | ErrorTypes
    classify: Classify | None
    call_timeout: float | None
    retry_after_max: float
    fallback: Any
    fallback_on: FallbackOn
    critical: bool
    max_keys: int
    initial_state: BreakerState
    shared: str | SharedBreakers | None
    clock: Clock

    def __post_init__(self) -> None:
        """Refuse what is out of its range."""
        check_name("CircuitBreaker.name", self.name)
        self._check_tripping()
        self._check_opening()
        for field in ("max_trials", "recover_after", "max_keys"):
            check_count(f"CircuitBreaker.{field}", getattr(self, field))
        check_seconds("CircuitBreaker.trial_lease", self.trial_lease)
        check_seconds("CircuitBreaker.retry_after_max", self.retry_after_max)
        if self.call_timeout is not None:
            check_seconds("CircuitBreaker.call_timeout", self.call_timeout)
        check_flag("CircuitBreaker.critical", self.critical)
        check_clock("CircuitBreaker.clock", self.clock)
        if self.initial_state not in _STARTS:
            allowed = ", ".join(f"BreakerState.{state.name}" for state in _STARTS)
            raise ConfigurationError(
                "CircuitBreaker.initial_state", self.initial_state, f"one of {allowed}"
            )
        if self.fallback_on not in FALLBACKS_ON:
            raise ConfigurationError(
                "CircuitBreaker.fallback_on",
                self.fallback_on,
                f"one of {', '.join(map(repr, FALLBACKS_ON))}",
            )
        self.classifier()
        self.sharing()

    def _check_tripping(self) -> None:
        if self.consecutive_failures is not None:
            check_count("CircuitBreaker.consecutive_failures", self.consecutive_failures)
        if self.failure_rate is not None:
            check_share("CircuitBreaker.failure_rate", self.failure_rate)
        if self.slow_call is not None:
            check_seconds("CircuitBreaker.slow_call", self.slow_call)
        check_share("CircuitBreaker.slow_rate", self.slow_rate)
        if self.consecutive_failures is self.failure_rate is self.slow_call is None:
            raise ConfigurationError(
                "CircuitBreaker.failure_rate",
                None,
                "a share, where consecutive_failures and slow_call are None: one of them has to "
                "trip it",
            )
        check_count("CircuitBreaker.min_calls", self.min_calls)
        check_seconds("CircuitBreaker.window", self.window)
        if self.window_calls is not None:
            check_count("CircuitBreaker.window_calls", self.window_calls, most=_MOST_CALLS)
            if self.window_calls < self.min_calls:
                raise ConfigurationError(
                    "CircuitBreaker.window_calls",
                    self.window_calls,
                    f"at least min_calls ({self.min_calls}), or the window would never hold them",
                )

    def _check_opening(self) -> None:
        check_seconds("CircuitBreaker.open_for", self.open_for)
        multiplier = self.open_multiplier
        if (
            isinstance(multiplier, bool)
            or not isinstance(multiplier, int | float)
            or (not 1 <= multiplier < float("inf"))
        ):
            raise ConfigurationError(
                "CircuitBreaker.open_multiplier", multiplier, "a number from 1 up"
            )
        check_seconds("CircuitBreaker.open_max", self.open_max)
        check_share("CircuitBreaker.jitter", self.jitter, zero=True)

    def classifier(self) -> Classifier:
        """Return what tells outcomes."""
        return Classifier(self.fail_on, self.ignore, self.classify)

    def sharing(self) -> SharedBreakers | None:
        """Return what joins it to other processes; None where nothing does."""
        if self.shared is None or isinstance(self.shared, SharedBreakers):
            return self.shared
        if not isinstance(self.shared, str):
            raise ConfigurationError(
                "CircuitBreaker.shared", self.shared, "a URL such as 'redis://localhost', or None"
            )
        return SharedBreakers.at(self.shared)

    def thresholds(self) -> Thresholds:
        """Return when it trips and recovers."""
        named = {each.name: getattr(self, each.name) for each in fields(Thresholds)}
        # A trial may take as long as a call; and what was asked to open for long may do so.
        named["trial_lease"] = max(self.trial_lease, self.call_timeout or 0.0)
        named["open_max"] = max(self.open_max, self.open_for)
        return Thresholds(**named)

    def made_fallback(self) -> Fallback | None:
        """Return the fallback; None where there is none."""
        if self.fallback is NO_FALLBACK:
            return None
        return Fallback(self.fallback, self.fallback_on)


_MOST_CALLS = 1_000_000
