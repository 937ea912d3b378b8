"""Leases: units that a worker has taken from a shared store, to use them without asking again."""

from collections.abc import Sequence
from typing import TypeAlias

from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.stores.store import Charge, Counter

_MOST = 10_000  # leases at once; who finds no room asks for each unit
_SWEEP = 1.0  # seconds between looking for leases that are used up

_Name = tuple[str, str]

Answer: TypeAlias = tuple[Decision, int]
"""A decision, and the units that were taken beside it."""


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
        self._leases: dict[_Name, Lease] = {}
        self._asked: set[_Name] = set()
        self._swept_at = 0.0

    def use(self, counter: str, key: str, cost: int, now: float) -> Lease | None:
        """Take units from a lease; return it, or None where there are not enough."""
        lease = self._leases.get((counter, key))
        if lease is None or lease.units < cost or not cost or now >= lease.until:
            return None
        lease.units -= cost
        return lease

    def put_back(self, counter: str, key: str, lease: Lease, cost: int) -> None:
        """Put back what was used from a lease, also where it has been cleared away since."""
        self._leases.setdefault((counter, key), lease).units += cost

    def begin(self, counter: str, key: str, wanted: int, now: float) -> int:
        """Return how many units to ask for: none while another request asks, or without room."""
        name = counter, key
        held = self._leases.get(name)
        if held is not None and now < held.until:
            wanted -= held.units
        if wanted <= 0 or name in self._asked or not (held is not None or self._has_room(now)):
            return 0
        self._asked.add(name)
        return wanted

    def take(
        self,
        asked: Sequence[Charge],
        extras: Sequence[int],
        answers: Sequence[Answer] | None,
        now: float,
    ) -> None:
        """Keep what was taken, and let others ask for what was not; None where nobody answered."""
        for place, (counter, key, _) in enumerate(asked):
            if extras[place]:
                lease = None
                if answers is not None:
                    decision, taken = answers[place]
                    until = now + (decision.reset if counter.window is None else counter.window)
                    reset_at = now + decision.reset
                    lease = Lease(counter, taken, until, decision.remaining, reset_at)
                self.end(counter.key, key, lease, now)

    def end(self, counter: str, key: str, lease: Lease | None, now: float) -> None:
        """Take note of the answer; None where there was none."""
        name = counter, key
        self._asked.discard(name)
        if lease is None:
            return
        held = self._leases.get(name)
        if held is not None and now < held.until:  # who uses it may still put units back into it
            held.until = min(lease.until, held.until) if held.units else lease.until
            held.units += lease.units
            held.counter, held.left, held.reset_at = lease.counter, lease.left, lease.reset_at
        elif lease.units:
            self._leases[name] = lease

    def give_back(self, now: float) -> list[Charge]:
        """End all leases; return the charges that undo what is still worth something."""
        leases, self._leases = self._leases, {}
        return [
            (lease.counter, key, -lease.units)
            for (_, key), lease in leases.items()
            if lease.units and now < lease.until
        ]

    def _has_room(self, now: float) -> bool:
        if len(self._leases) >= _MOST and now >= self._swept_at + _SWEEP:
            self._swept_at = now
            self._leases = {
                name: lease
                for name, lease in self._leases.items()
                if lease.units and now < lease.until
            }
        return len(self._leases) < _MOST
