"""The counters of the in-process store: one for each rule, over shards of its keys."""

from abc import ABC, abstractmethod
from typing import Any

from asgi_guard.rate_limit.algorithms import MARGIN, fixed_window, sliding_window, token_bucket
from asgi_guard.rate_limit.decision import Decided
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.stores.shards import Shard, Table


class MemoryCounter(ABC):
    """The counter of one rule.

    Args:
        quota: What is counted towards.
        table: Where.
    """

    def __init__(self, quota: Quota, table: Table[Any]) -> None:
        self._count = quota.count
        self._period = quota.period
        self._table = table
        self._shards = table.shards
        self._last_shard = len(table.shards) - 1  # as many bits of a hash tell the shard
        table.window = max(table.window, self.window(quota))
        table.counters.add(self)

    @staticmethod
    def window(quota: Quota) -> float:
        """Return the seconds after which an entry that nobody hits no longer matters."""
        return quota.period

    @abstractmethod
    def hit(self, key: str, cost: int, now: float) -> Decided:
        """Decide, and charge what is admitted.

        Args:
            key: Whom to charge.
            cost: Units, from 0 up.
            now: Seconds on a clock that never runs backwards.
        """

    @abstractmethod
    def look(self, key: str, cost: int, now: float) -> Decided:
        """Decide, and charge nothing; with a cost above 0, only for a hit that is refused."""

    @abstractmethod
    def take_back(self, key: str, cost: int, now: float) -> None:
        """Undo a charge of the same moment."""

    @abstractmethod
    def give_back(self, key: str, cost: int, age: float, now: float) -> None:
        """Undo a charge of some time ago: never to below zero, nothing if its window is gone.

        Args:
            key: Who was charged.
            cost: Units, from 0 up.
            age: Seconds since the charge, from 0 up.
            now: Seconds on a clock that never runs backwards.
        """

    def _shard(self, key: str, now: float) -> tuple[Shard[Any], float]:
        """Return the shard of a key in the window of this moment, and the seconds in there."""
        shard = self._shards[hash(key) & self._last_shard]
        elapsed = now - shard.began
        window = self._table.window
        if elapsed >= window:
            elapsed = shard.move_on(elapsed, window)
        return shard, elapsed


class SlidingCounter(MemoryCounter):
    """Units of this window and of the one before."""

    def hit(self, key: str, cost: int, now: float) -> Decided:
        """Decide, and charge what is admitted."""
        shard = self._shards[hash(key) & self._last_shard]  # as `_shard` does, without another call
        elapsed = now - shard.began
        if elapsed >= self._period:
            elapsed = shard.move_on(elapsed, self._period)
        counts = shard.current
        entry: str | int = key
        used = counts.get(key)
        if used is None:
            entry = shard.place(key)
            used = counts.get(entry, 0)
        before = shard.faded(key) if shard.previous else 0
        total = used + cost
        if not before and cost and total <= self._count:
            # What the algorithm comes to for who was quiet before: most hits, and the cheapest.
            counts[entry] = total
            return True, self._count - total, self._period - elapsed + MARGIN, 0.0
        decision = sliding_window(self._count, self._period, before, used, elapsed, cost)
        if decision[0] and cost:
            counts[entry] = total
        return decision

    def look(self, key: str, cost: int, now: float) -> Decided:
        """Decide, and charge nothing."""
        shard = self._shards[hash(key) & self._last_shard]
        elapsed = now - shard.began
        if elapsed >= self._period:
            elapsed = shard.move_on(elapsed, self._period)
        used = shard.current.get(key)
        if used is None:
            used = shard.current.get(shard.place(key), 0)
        before = shard.faded(key) if shard.previous else 0
        if not before and used and used + cost <= self._count:
            return True, self._count - used - cost, self._period - elapsed + MARGIN, 0.0
        return sliding_window(self._count, self._period, before, used, elapsed, cost)

    def take_back(self, key: str, cost: int, now: float) -> None:
        """Undo a charge of the same moment."""
        shard, _ = self._shard(key, now)
        shard.lower(shard.place(key), cost, 0)

    def give_back(self, key: str, cost: int, age: float, now: float) -> None:
        """Undo a charge of some time ago, in the window that it was made in."""
        shard, elapsed = self._shard(key, now)
        if age <= elapsed:
            counts = shard.current
        elif age <= elapsed + self._period:
            counts = shard.previous
        else:
            return
        entry = shard.entry(counts, key)
        if entry in counts:  # which stays, also at zero: keys must not change their places
            counts[entry] = max(0, counts[entry] - cost)


class FixedCounter(SlidingCounter):
    """Units of this window."""

    def hit(self, key: str, cost: int, now: float) -> Decided:
        """Decide, and charge what is admitted."""
        shard, elapsed = self._shard(key, now)
        entry = shard.place(key)
        used = shard.current.get(entry, 0)
        decision = fixed_window(self._count, self._period, used, elapsed, cost)
        if decision[0] and cost:
            shard.current[entry] = used + cost
        return decision

    def look(self, key: str, cost: int, now: float) -> Decided:
        """Decide, and charge nothing."""
        shard, elapsed = self._shard(key, now)
        used = shard.current.get(shard.place(key), 0)
        return fixed_window(self._count, self._period, used, elapsed, cost)


class BucketCounter(MemoryCounter):
    """When each bucket will be full, on the store's clock; where nothing is known, it is."""

    def __init__(self, quota: Quota, table: Table[Any]) -> None:
        super().__init__(quota, table)
        self._fills_in = self.window(quota)
        self._burst = quota.capacity
        self._interval = quota.period / quota.count

    @staticmethod
    def window(quota: Quota) -> float:
        """Return the seconds in which an empty bucket fills."""
        return quota.period * quota.capacity / quota.count

    def hit(self, key: str, cost: int, now: float) -> Decided:
        """Decide, and charge what is admitted."""
        decision, full_in, shard = self._decide(key, cost, now)
        if decision[0] and cost:
            shard.current[shard.place(key)] = now + full_in
        return decision

    def look(self, key: str, cost: int, now: float) -> Decided:
        """Decide, and charge nothing."""
        return self._decide(key, cost, now)[0]

    def take_back(self, key: str, cost: int, now: float) -> None:
        """Undo a charge of the same moment."""
        shard, _ = self._shard(key, now)
        shard.lower(shard.place(key), cost * self._interval, now)

    def give_back(self, key: str, cost: int, age: float, now: float) -> None:
        """Undo a charge of some time ago, if the bucket cannot have filled since."""
        shard, elapsed = self._shard(key, now)
        if age >= self._fills_in:
            return
        places: list[tuple[dict[str | int, float], str | int]] = [(shard.current, shard.place(key))]
        if age > elapsed:  # who was hit since as well has the charge in both windows
            before = shard.previous
            places = [(before, shard.entry(before, key)), (shard.current, key)]
        for times, entry in places:
            full_at = times.get(entry, now)
            if full_at > now:
                times[entry] = max(now, full_at - cost * self._interval)

    def _decide(self, key: str, cost: int, now: float) -> tuple[Decided, float, Shard[Any]]:
        shard, _ = self._shard(key, now)
        full_at = max(shard.current.get(shard.place(key), now), shard.faded(key))
        full_in = max(0.0, full_at - now)
        decision, full_in = token_bucket(self._count, self._period, self._burst, full_in, cost)
        return decision, full_in, shard
