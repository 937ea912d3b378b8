"""Trials: calls admitted in half-open, on a lease, so that none that is lost wedges a breaker."""


class Trial:
    """The stamp of a call admitted in half-open.

    Attributes:
        began: When it was admitted.
        lease_end: When it is taken back.
        answered: When it began to answer; None where that is when it ends.
    """

    __slots__ = ("answered", "began", "lease_end")

    def __init__(self, began: float, lease_end: float) -> None:
        self.began: float = began
        self.lease_end: float = lease_end
        self.answered: float | None = None


class Trials:
    """The trials under way in one era.

    Args:
        most: Trials at once, from 1 up.
        lease: Seconds after which one that has not come back is taken back, above 0.

    Attributes:
        expired: Trials that were taken back so, since the breaker was made.
    """

    __slots__ = ("_lease", "_most", "_under_way", "expired")

    def __init__(self, most: int, lease: float) -> None:
        self._most = most
        self._lease = lease
        self._under_way: set[Trial] = set()
        self.expired: int = 0

    def begin(self, now: float) -> Trial | None:
        """Begin a trial, if another may be made."""
        if len(self._under_way) >= self._most:
            lost = {trial for trial in self._under_way if trial.lease_end <= now}
            self.expired += len(lost)
            self._under_way -= lost
            if not lost:
                return None
        trial = Trial(now, now + self._lease)
        self._under_way.add(trial)
        return trial

    def end(self, trial: Trial, now: float) -> bool:
        """End a trial; return whether it is one of this era that has come back in time."""
        if trial not in self._under_way:
            return False
        self._under_way.remove(trial)
        if trial.lease_end <= now:
            self.expired += 1
            return False
        return True

    def wait(self, now: float) -> float:
        """Return the seconds until another trial may be made; 0 when one may now."""
        if len(self._under_way) < self._most:
            return 0.0
        return max(0.0, min(trial.lease_end for trial in self._under_way) - now)

    def clear(self) -> None:
        """Forget them; what comes back is late."""
        self._under_way = set()
