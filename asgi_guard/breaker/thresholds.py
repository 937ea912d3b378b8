"""Thresholds: when a breaker trips and recovers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a breaker trips and recovers; the settings of `CircuitBreaker` of the same names."""

    consecutive_failures: int | None = 5
    failure_rate: float | None = 0.5
    min_calls: int = 10
    window: float = 10.0
    window_calls: int | None = None
    slow_call: float | None = None
    slow_rate: float = 0.5
    open_for: float = 5.0
    open_multiplier: float = 2.0
    open_max: float = 60.0
    jitter: float = 0.2
    max_trials: int = 1
    recover_after: int = 2
    trial_lease: float = 30.0
