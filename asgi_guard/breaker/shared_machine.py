"""The machine of a breaker that several processes share."""

from asgi_guard.breaker.machine import Machine
from asgi_guard.breaker.shared_trials import SharedTrials
from asgi_guard.breaker.states import BreakerState, Cause


class SharedMachine(Machine):
    """States that other processes may change as well, and trials that one of them makes."""

    __slots__ = ()

    def share(self, trials: SharedTrials) -> None:
        """Make these trials from now on; before the first call."""
        self._trials = trials

    def recover(self, now: float, detail: str) -> None:
        """Close, where it is open or half-open: another process has found out."""
        if self._state in {BreakerState.OPEN, BreakerState.HALF_OPEN}:
            self._close(now, Cause.SHARED, detail)
