"""Retries: another attempt for calls that failed, as long as they stay the exception."""

import threading
from collections.abc import Callable

_RESERVE = 3.0  # retries that a downstream with few calls may make
_MOST = 10.0  # retries that can be saved up, which come at once when it fails


class Budget:
    """What retries are paid from: every call pays in a share of one, every retry takes one out.

    So retries are no more than that share of the calls, but for a small reserve: when everything
    fails, they do not multiply the load.

    Args:
        share: Retries for each call, above 0 and up to 1.
    """

    __slots__ = ("_balance", "_lock", "_share")

    def __init__(self, share: float) -> None:
        self._share = share
        self._balance = _RESERVE
        self._lock = threading.Lock()

    def pay_in(self) -> None:
        """Pay in for a call."""
        with self._lock:
            self._balance = min(_MOST, self._balance + self._share)

    def take_out(self) -> bool:
        """Pay for a retry; return whether there was enough."""
        with self._lock:
            if self._balance < 1:
                return False
            self._balance -= 1
            return True


class Retries:
    """When a call that failed is made again.

    Args:
        most: Retries of one call, from 0 up.
        share: Retries for each call, altogether, above 0 and up to 1.
        shortest: Seconds that the first retry waits at most, above 0; each further one twice that.
        longest: The most seconds that any waits, above 0.
        luck: Returns random numbers from 0 up to 1: retries of many must not come at once.

    Attributes:
        most: Retries of one call.
        budget: What they are paid from.
    """

    __slots__ = ("_longest", "_luck", "_shortest", "budget", "most")

    def __init__(
        self, most: int, share: float, shortest: float, longest: float, luck: Callable[[], float]
    ) -> None:
        self.most: int = most
        self.budget: Budget = Budget(share)
        self._shortest = shortest
        self._longest = longest
        self._luck = luck

    def delay(self, made: int) -> float:
        """Return the seconds to wait before another retry, after so many."""
        # The exponent is held down: a float has an end.
        return self._luck() * min(self._longest, self._shortest * 2.0 ** min(made, 60))
