"""The in-process store: exact within one process, O(1) per hit, bounded, and never swept.

Each rule has 64 shards, and each shard two dictionaries: this window and the one before. A window
that is over is dropped whole, shard by shard and each at a time of its own, so no hit ever pays
for more than a sixty-fourth of the keys, and nothing runs in the background.
"""

from collections.abc import Sequence

from asgi_guard._checks import check_clock, check_count
from asgi_guard._clock import Clock, monotonic
from asgi_guard.rate_limit.algorithms import MARGIN, sliding_window
from asgi_guard.rate_limit.decision import Decided, Decision
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.store import Charge

_SHARDS = 64
_SHARD_BITS = 6
_SHARD = _SHARDS - 1
_SPILL_BUCKETS = 16


class MemoryStore:
    """Counters in this process.

    State is per process: with several workers each admits the whole quota. It belongs to one event
    loop at a time.

    Args:
        max_keys: The most entries a rule may keep, from 4,096 up; default 1,000,000. An entry
            takes about 100 bytes. Half of them are for this window and half for the one before,
            and each has a place for a sixty-fourth of the keys. When that is full, keys that are
            new share counters in groups until the window moves on, so plan for three times the
            keys you expect in a period; no key that is being counted is ever forgotten.
        clock: A callable returning seconds that never run backwards; default `time.monotonic`.

    Raises:
        ConfigurationError: `max_keys` is out of range.
    """

    def __init__(self, *, max_keys: int = 1_000_000, clock: Clock = monotonic) -> None:
        check_count("MemoryStore.max_keys", max_keys, least=4096)
        check_clock("MemoryStore.clock", clock)
        self._clock = clock
        self._capacity = max_keys // (2 * _SHARDS) - _SPILL_BUCKETS
        self._tables: dict[tuple[str, float], list[_Shard]] = {}

    def counter(self, rule: str, quota: Quota) -> "MemoryCounter":
        """Return the counter of a rule; those of one name and period share what was counted."""
        shards = self._tables.get((rule, quota.period))
        if shards is None:
            now, step = self._clock(), quota.period / _SHARDS
            shards = [_Shard(now - step * number, self._capacity) for number in range(_SHARDS)]
            self._tables[rule, quota.period] = shards
        return MemoryCounter(quota, shards, self._clock)

    async def hit(self, charges: Sequence[Charge]) -> Sequence[Decision]:
        """Charge all counters, or none of them if one refuses."""
        return [Decision(*decided) for decided in hit_all(charges)]

    def __len__(self) -> int:
        """Return the number of entries kept, in all rules and both windows."""
        return sum(len(shard) for shards in self._tables.values() for shard in shards)


class MemoryCounter:
    """The counter of one rule."""

    __slots__ = ("_clock", "_count", "_period", "_shards")

    def __init__(self, quota: Quota, shards: "list[_Shard]", clock: Clock) -> None:
        self._count = quota.count
        self._period = quota.period
        self._shards = shards
        self._clock = clock

    def hit(self, key: str, cost: int) -> Decided:
        """Decide, and charge what is admitted."""
        shard = self._shards[hash(key) & _SHARD]
        elapsed = self._clock() - shard.began
        if elapsed >= self._period:
            elapsed = shard.move_on(elapsed, self._period)
        counts = shard.current
        entry: str | int = key
        used = counts.get(key)
        if used is None:
            entry, used = shard.place(key)
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

    def look(self, key: str, cost: int) -> Decided:
        """Decide, and charge nothing."""
        shard = self._shards[hash(key) & _SHARD]
        elapsed = self._clock() - shard.began
        if elapsed >= self._period:
            elapsed = shard.move_on(elapsed, self._period)
        _, used = shard.place(key)
        before = shard.faded(key)
        return sliding_window(self._count, self._period, before, used, elapsed, cost)

    def take_back(self, key: str, cost: int) -> None:
        """Undo a charge, in the same step that made it."""
        shard = self._shards[hash(key) & _SHARD]
        entry, used = shard.place(key)
        shard.current[entry] = used - cost


def hit_all(charges: Sequence[Charge]) -> list[Decided]:
    """Charge counters of the in-process store, or none of them if one refuses."""
    decided: list[Decided] = []
    for counter, key, cost in charges:
        decision = counter.hit(key, cost)
        if not decision[0]:
            return _refuse_all(charges, len(decided))
        decided.append(decision)
    return decided


def _refuse_all(charges: Sequence[Charge], charged: int) -> list[Decided]:
    """Take back what was charged already, and decide again without charging."""
    for counter, key, cost in charges[:charged]:
        counter.take_back(key, cost)
    looks = [(counter.look(key, cost), counter, key) for counter, key, cost in charges]
    return [counter.look(key, 0) if look[0] else look for look, counter, key in looks]


class _Shard:
    """Counts of one sixty-fourth of a rule's keys, in windows that begin at a time of its own."""

    __slots__ = ("began", "capacity", "current", "previous")

    def __init__(self, began: float, capacity: int) -> None:
        self.began = began
        self.capacity = capacity
        # Strings are keys, numbers are the groups of keys that found no room.
        self.previous: dict[str | int, int] = {}
        self.current: dict[str | int, int] = {}

    def __len__(self) -> int:
        return len(self.previous) + len(self.current)

    def place(self, key: str) -> tuple[str | int, int]:
        """Return where a key is counted in this window, and what has been counted there."""
        counts = self.current
        entry: str | int = key
        if key not in counts and len(counts) >= self.capacity:
            entry = _group(key)
        return entry, counts.get(entry, 0)

    def faded(self, key: str) -> int:
        """Return what was counted for a key in the window before."""
        counts = self.previous
        before = counts.get(key, 0)
        if not before and len(counts) >= self.capacity:
            before = counts.get(_group(key), 0)
        return before

    def move_on(self, elapsed: float, period: float) -> float:
        """Begin the window of this moment, drop what no longer counts; return what has elapsed."""
        windows, elapsed = divmod(elapsed, period)
        self.began += windows * period
        self.previous = self.current if windows == 1 else {}
        self.current = {}
        return elapsed


def _group(key: str) -> int:
    return (hash(key) >> _SHARD_BITS) & (_SPILL_BUCKETS - 1)
