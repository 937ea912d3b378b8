"""The machine of a breaker that several processes share."""

from collections.abc import Callable

from asgi_guard.breaker.machine import Machine
from asgi_guard.breaker.shared_trials import SharedTrials
from asgi_guard.breaker.states import BreakerState, Cause


class SharedMachine(Machine):
    """States that other processes may change as well, and trials that one of them makes."""

    __slots__ = ("_prolonged",)

    def share(self, trials: SharedTrials, prolonged: Callable[[float], None]) -> None:
        """Make these trials from now on; before the first call.

        Args:
            trials: The trials.
            prolonged: Takes the seconds for which it stays open when those have become more, which
                is no transition; it must not block.
        """
        self._trials = trials
        self._prolonged = prolonged

    @property
    def longest_open(self) -> float:
        """The most seconds that it opens for by itself."""
        limits = self._thresholds
        return limits.open_max * (1 + limits.jitter)

    def open_for(self, seconds: float, now: float, cause: Cause, detail: str) -> None:
        """Open for so long, at least: somebody who knows has said so."""
        was_open, until = self._state is BreakerState.OPEN, self._open_until
        super().open_for(seconds, now, cause, detail)
        if was_open and self._open_until > until and cause is not Cause.SHARED:
            self._prolonged(seconds)

    def recover(self, now: float, detail: str) -> None:
        """Close, where it is open or half-open: another process has found out."""
        if self._state in {BreakerState.OPEN, BreakerState.HALF_OPEN}:
            self._close(now, Cause.SHARED, detail)
