"""The settings of a downstream, checked."""

from dataclasses import dataclass
from typing import Any

from asgi_guard._checks import check_clock, check_count, check_name, check_seconds, check_share
from asgi_guard._clock import Clock
from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.fallback import FALLBACKS_ON, NO_FALLBACK, Fallback, FallbackOn
from asgi_guard.errors import ConfigurationError

_MOST_CLASSES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `Downstream` was made with; its fields and their checks are described there."""

    name: str
    breaker: CircuitBreaker | None
    max_concurrent: int
    min_interval: float
    max_queue: int
    timeout: float | None
    fallback: Any
    fallback_on: FallbackOn
    aging: float | None
    retries: int
    retry_budget: float
    back_off: float
    back_off_max: float
    keep_last: int
    keep_for: float | None
    clock: Clock

    def __post_init__(self) -> None:
        """Refuse what is out of its range."""
        check_name("Downstream.name", self.name)
        if self.breaker is not None and not isinstance(self.breaker, CircuitBreaker):
            raise ConfigurationError(
                "Downstream.breaker", self.breaker, "a CircuitBreaker, or None"
            )
        check_count("Downstream.max_concurrent", self.max_concurrent)
        for field in ("max_queue", "retries", "keep_last"):
            check_count(f"Downstream.{field}", getattr(self, field), least=0)
        check_seconds("Downstream.min_interval", self.min_interval, zero=True)
        for field in ("timeout", "aging", "keep_for"):
            if getattr(self, field) is not None:
                check_seconds(f"Downstream.{field}", getattr(self, field))
        check_share("Downstream.retry_budget", self.retry_budget)
        check_seconds("Downstream.back_off", self.back_off)
        check_seconds("Downstream.back_off_max", self.back_off_max)
        check_clock("Downstream.clock", self.clock)
        if self.fallback_on not in FALLBACKS_ON:
            raise ConfigurationError(
                "Downstream.fallback_on",
                self.fallback_on,
                f"one of {', '.join(map(repr, FALLBACKS_ON))}",
            )

    def made_fallback(self) -> Fallback | None:
        """Return the fallback; None where there is none."""
        if self.fallback is NO_FALLBACK:
            return None
        return Fallback(self.fallback, self.fallback_on)


def check_priority(priority: object) -> None:
    """Require a priority."""
    if (
        isinstance(priority, bool)
        or not isinstance(priority, int)
        or not -_MOST_CLASSES <= priority <= _MOST_CLASSES
    ):
        raise ConfigurationError(
            "Downstream.priority",
            priority,
            f"a Priority, or a whole number from -{_MOST_CLASSES} to {_MOST_CLASSES}",
        )
