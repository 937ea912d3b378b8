"""Leases: units that a worker has taken from a shared store, to use them without asking again."""

from asyncio import Future
from collections.abc import Sequence
from typing import TypeAlias

from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.stores.store import Charge, Counter

_MOST = 10_000  # leases at once; who finds no room asks for each unit
_SWEEP = 1.0  # seconds between looking for leases that are used up
_LOW = 8  # a lease runs low when no more than one part in so many is left of it
_NEVER = -1

_Name = tuple[str, str]

Answer: TypeAlias = tuple[Decision, int]
"""A decision, and the units that were taken beside it."""

Waiting: TypeAlias = list[Future[None]]
"""Who waits for one answer: each is told when it is there."""


class Lease:
    """Units of one key that are this worker's.

    Args:
        counter: What they were taken from.
        units: How many there are.
        until: When they are worth nothing any more, on the worker's clock.
        left: What remained in the store when they were taken.
        reset_at: When more remains there, on the same clock.
        is_short: Whether more was asked for than came; default False.

    Attributes:
        low: It is to be filled up when no more units than that are left; -1 for never: where it has
            been asked for, came short, or is so small that it would be asked for all the time.
    """

    __slots__ = (
        "_last",
        "_last_until",
        "counter",
        "is_short",
        "left",
        "low",
        "reset_at",
        "units",
        "until",
    )

    def __init__(
        self,
        counter: Counter,
        units: int,
        until: float,
        left: int,
        reset_at: float,
        *,
        is_short: bool = False,
    ) -> None:
        self.counter: Counter = counter
        self.units: int = units
        self.until: float = until
        self.left: int = left
        self.reset_at: float = reset_at
        self.is_short: bool = is_short
        self.low: int = _NEVER if is_short else low_mark(counter)
        self._last = units  # which came last, and are used last
        self._last_until = until

    def add(self, more: "Lease") -> None:
        """Take in units that have come later; the worth of those that were here ends before."""
        if self.units <= self._last:  # all of them came last
            self.until = self._last_until
        self.until = min(more.until, self.until) if self.units else more.until
        self._last, self._last_until = more.units, more.until
        self.units += more.units
        self.counter, self.left, self.reset_at = more.counter, more.left, more.reset_at
        self.is_short, self.low = more.is_short, more.low

    def lasts(self, now: float) -> bool:
        """Tell whether it is worth something still, and drop the units of it that are not."""
        if now >= self.until:
            if now >= self._last_until:
                return False
            self.units, self.until = min(self.units, self._last), self._last_until
        return True

    def use(self, cost: int, now: float) -> bool:
        """Use units; return False where there are not enough, or none are asked for."""
        if now >= self.until and not self.lasts(now):
            return False
        if not 0 < cost <= self.units:
            return False
        self.units -= cost
        return True

    def decision(self, now: float) -> Decision:
        """Return what is said to whom these units have just admitted."""
        return Decision(True, self.left + self.units, max(0.0, self.reset_at - now), 0.0)


def low_mark(counter: Counter) -> int:
    """Return how few units are left of a whole lease when it runs low; -1 for a small one."""
    mark: int = counter.lease // _LOW
    return mark or _NEVER


class _Coming:
    """Units that have been asked for.

    Attributes:
        is_sure: Whether they will come as far as can be told, so that others may wait for them.
        free: How many of them nobody waits for.
        waiting: Who waits for the answer they come with; the last one, where several are under way.
        until: When that is too late.
    """

    __slots__ = ("free", "is_sure", "until", "waiting")

    def __init__(self, *, is_sure: bool) -> None:
        self.is_sure = is_sure
        self.free = 0
        self.waiting: Waiting | None = None
        self.until = 0.0


class Leases:
    """The leases of one worker, by counter and key: so many at most.

    Requests that find a lease used up while more has been asked for wait for that, as far as it
    goes round: a crowd asks once in so many requests, as those do that come one by one.
    """

    def __init__(self) -> None:
        self._leases: dict[str, dict[str, Lease]] = {}
        self._coming: dict[_Name, _Coming] = {}
        self._swept_at = 0.0

    def of(self, counter: str) -> dict[str, Lease]:
        """Return the leases of one counter by key, to look at them often; they stay the same."""
        return self._leases.setdefault(counter, {})

    def use(self, counter: str, key: str, cost: int, now: float) -> Lease | None:
        """Take units from a lease; return it, or None where there are not enough."""
        lease = self.of(counter).get(key)
        return lease if lease is not None and lease.use(cost, now) else None

    def put_back(self, counter: str, key: str, lease: Lease, cost: int) -> None:
        """Put back what was used from a lease, also where it has been cleared away since."""
        self.of(counter).setdefault(key, lease).units += cost

    def is_low(self, key: str, lease: Lease) -> bool:
        """Tell whether a lease runs low, and is still there."""
        return self.of(lease.counter.key).get(key) is lease and lease.units <= lease.low

    def begin(self, counter: str, key: str, wanted: int, now: float) -> int:
        """Return how many units to ask for: none without room, or while as many are coming."""
        name = counter, key
        held = self.of(counter).get(key)
        is_held = held is not None and held.lasts(now)
        if held is not None and is_held:
            wanted -= held.units
        coming = self._coming.get(name)
        if coming is not None:
            wanted = wanted - coming.free if coming.is_sure else 0
        if wanted <= 0 or not (held is not None or self._has_room(now)):
            return 0
        if coming is None:
            is_sure = held is not None and is_held and not held.is_short
            coming = self._coming[name] = _Coming(is_sure=is_sure)
        if coming.is_sure:
            coming.free += wanted
        return wanted

    def expect(
        self,
        asked: Sequence[Charge],
        extras: Sequence[int],
        waiting: Waiting,
        until: float,
    ) -> None:
        """Take note of who waits for the units that were begun with, and until when."""
        for (counter, key, _), extra in zip(asked, extras, strict=True):
            if extra:
                coming = self._coming[counter.key, key]
                coming.waiting, coming.until = waiting, until

    def book(self, charges: Sequence[Charge], until: float) -> Waiting | None:
        """Take units that are coming; return who waits for them, to wait with them.

        None where they do not suffice, come with several answers, or may come too late. Who waits
        may still find that less has come.
        """
        found: Waiting | None = None
        for counter, key, cost in charges:
            coming = self._coming.get((counter.key, key))
            if coming is None or not 0 < cost <= coming.free or coming.until > until:
                return None
            if found is None:
                found = coming.waiting
            elif coming.waiting is not found:
                return None
        for counter, key, cost in charges:
            coming = self._coming[counter.key, key]
            # Below zero only where one key is charged twice, which was looked at once.
            coming.free = max(0, coming.free - cost)
        return found

    def take(
        self,
        asked: Sequence[Charge],
        extras: Sequence[int],
        answers: Sequence[Answer] | None,
        now: float,
        waited: Waiting,
    ) -> None:
        """Keep what was taken, and let others ask for what was not; None where nobody answered."""
        for place, (counter, key, _) in enumerate(asked):
            if extras[place]:
                lease = None
                if answers is not None:
                    decision, taken = answers[place]
                    until = now + (decision.reset if counter.window is None else counter.window)
                    reset_at = now + decision.reset
                    is_short = taken < extras[place]
                    left = decision.remaining
                    lease = Lease(counter, taken, until, left, reset_at, is_short=is_short)
                self.end(counter.key, key, lease, now, waited)

    def end(
        self,
        counter: str,
        key: str,
        lease: Lease | None,
        now: float,
        waited: Waiting | None = None,
    ) -> None:
        """Take note of the answer; None where there was none."""
        name = counter, key
        coming = self._coming.get(name)
        if coming is not None and coming.waiting is waited:
            del self._coming[name]
        if lease is None:
            return
        held = self.of(counter).get(key)
        if held is not None and held.lasts(now):  # who uses it may still put units back into it
            held.add(lease)
        elif lease.units:
            self.of(counter)[key] = lease

    def give_back(self, now: float) -> list[Charge]:
        """End all leases; return the charges that undo what is still worth something."""
        back = [
            (lease.counter, key, -lease.units)
            for held in self._leases.values()
            for key, lease in held.items()
            if lease.units and lease.lasts(now)
        ]
        for held in self._leases.values():
            held.clear()
        return back

    def _has_room(self, now: float) -> bool:
        if self._count() >= _MOST and now >= self._swept_at + _SWEEP:
            self._swept_at = now
            for held in self._leases.values():
                for key, lease in list(held.items()):
                    if not (lease.units and lease.lasts(now)):
                        del held[key]
        return self._count() < _MOST

    def _count(self) -> int:
        return sum(map(len, self._leases.values()))
