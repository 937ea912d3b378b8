"""Leases: units that a worker has taken from a shared store, to use them without asking again."""

from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.store import Charge, Counter

_MOST = 10_000  # leases in each of two generations; units of those that are dropped are lost

_Name = tuple[str, str]


class Lease:
    """Units of one key that are this worker's.

    Args:
        counter: What they were taken from.
        units: How many there are.
        until: When they are worth nothing any more, on the worker's clock.
        left: What remained in the store when they were taken.
        reset_at: When more remains there, on the same clock.
    """

    __slots__ = ("counter", "left", "reset_at", "units", "until")

    def __init__(
        self, counter: Counter, units: int, until: float, left: int, reset_at: float
    ) -> None:
        self.counter: Counter = counter
        self.units: int = units
        self.until: float = until
        self.left: int = left
        self.reset_at: float = reset_at

    def decision(self, now: float) -> Decision:
        """Return what is said to whom these units have just admitted."""
        return Decision(True, self.left + self.units, max(0.0, self.reset_at - now), 0.0)


class Leases:
    """The leases of one worker, by counter and key: so many at most."""

    def __init__(self) -> None:
        self._recent: dict[_Name, Lease] = {}
        self._older: dict[_Name, Lease] = {}
        self._asked: set[_Name] = set()

    def use(self, counter: str, key: str, cost: int, now: float) -> Lease | None:
        """Take units from a lease; return it, or None where there are not enough."""
        name = counter, key
        lease = self._recent.get(name) or self._older.get(name)
        if lease is None or lease.units < cost or not cost or now >= lease.until:
            return None
        lease.units -= cost
        return lease

    def begin(self, counter: str, key: str) -> bool:
        """Tell whether to ask for a lease: not while another request does."""
        name = counter, key
        if name in self._asked:
            return False
        self._asked.add(name)
        return True

    def end(self, counter: str, key: str, lease: Lease | None) -> None:
        """Take note of the answer; None where there was none."""
        name = counter, key
        self._asked.discard(name)
        if lease is not None and lease.units:
            if len(self._recent) >= _MOST:
                self._older, self._recent = self._recent, {}
            self._recent[name] = lease

    def give_back(self, now: float) -> list[Charge]:
        """End all leases; return the charges that undo what is still worth something."""
        leases = {**self._older, **self._recent}
        self._older, self._recent = {}, {}
        return [
            (lease.counter, key, -lease.units)
            for (_, key), lease in leases.items()
            if lease.units and now < lease.until
        ]
