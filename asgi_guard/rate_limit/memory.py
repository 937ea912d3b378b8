"""The in-process store: exact within one process, O(1) per hit, bounded, and never swept.

Each rule has 64 shards, and each shard two dictionaries: this window and the one before. A window
that is over is dropped whole, shard by shard and each at a time of its own, so no hit ever pays
for more than a sixty-fourth of the keys, and nothing runs in the background.
"""

from collections.abc import Sequence

from asgi_guard._checks import check_count
from asgi_guard._clock import Clock, monotonic
from asgi_guard.rate_limit.algorithms import sliding_window, window_at
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.store import Charge

_SHARDS = 64
_SHARD_BITS = 6
_SPILL_BUCKETS = 16


class MemoryStore:
    """Counters in this process.

    State is per process: with several workers each admits the whole quota. It belongs to one event
    loop at a time.

    Args:
        max_keys: The most entries a rule may keep, from 4,096 up; default 1,000,000. An entry
            takes about 100 bytes. When a rule has so many, keys that are new share counters in
            1,024 groups until the window moves on: no key that is being counted is ever forgotten
            to make room.
        clock: A callable returning seconds that never run backwards; default `time.monotonic`.

    Raises:
        ConfigurationError: `max_keys` is out of range.
    """

    def __init__(self, *, max_keys: int = 1_000_000, clock: Clock = monotonic) -> None:
        check_count("MemoryStore.max_keys", max_keys, least=4096)
        self._clock = clock
        self._capacity = max_keys // (2 * _SHARDS) - _SPILL_BUCKETS
        self._tables: dict[tuple[str, float], list[_Shard]] = {}

    async def hit(self, charges: Sequence[Charge]) -> list[Decision]:
        """Charge all quotas, or none of them if one refuses."""
        now = self._clock()
        if len(charges) == 1:
            charge = charges[0]
            return [self._shard(charge).hit(charge, now)]
        shards = [self._shard(charge) for charge in charges]
        looks = [
            shard.look(charge, now, charge.cost)
            for shard, charge in zip(shards, charges, strict=True)
        ]
        if all(look.admitted for look in looks):
            return [shard.hit(charge, now) for shard, charge in zip(shards, charges, strict=True)]
        return [
            shard.look(charge, now, 0)._replace(admitted=True) if look.admitted else look
            for shard, charge, look in zip(shards, charges, looks, strict=True)
        ]

    def __len__(self) -> int:
        """Return the number of entries kept, in all rules and both windows."""
        return sum(len(shard) for shards in self._tables.values() for shard in shards)

    def _shard(self, charge: Charge) -> "_Shard":
        table = self._tables.get((charge.rule, charge.quota.period))
        if table is None:
            period = charge.quota.period
            table = [_Shard(self._capacity, period * number / _SHARDS) for number in range(_SHARDS)]
            self._tables[charge.rule, period] = table
        return table[hash(charge.key) & (_SHARDS - 1)]


class _Shard:
    """Counts of one sixty-fourth of a rule's keys, in windows that begin at a time of its own."""

    __slots__ = ("_capacity", "_current", "_phase", "_previous", "_window")

    def __init__(self, capacity: int, phase: float) -> None:
        self._capacity = capacity
        self._phase = phase
        self._window = 0
        # Strings are keys, numbers are the groups of keys that found no room.
        self._previous: dict[str | int, int] = {}
        self._current: dict[str | int, int] = {}

    def __len__(self) -> int:
        return len(self._previous) + len(self._current)

    def hit(self, charge: Charge, now: float) -> Decision:
        """Decide, and charge what is admitted."""
        decision = self.look(charge, now, charge.cost)
        if decision.admitted and charge.cost:
            entry = self._entry(self._current, charge.key)
            self._current[entry] = self._current.get(entry, 0) + charge.cost
        return decision

    def look(self, charge: Charge, now: float, cost: int) -> Decision:
        """Decide, and charge nothing."""
        window, elapsed = window_at(now + self._phase, charge.quota.period)
        if window != self._window:
            self._move_to(window)
        previous = self._previous.get(self._entry(self._previous, charge.key), 0)
        current = self._current.get(self._entry(self._current, charge.key), 0)
        return sliding_window(charge.quota, previous, current, elapsed, cost)

    def _move_to(self, window: int) -> None:
        self._previous = self._current if window == self._window + 1 else {}
        self._current = {}
        self._window = window

    def _entry(self, counts: dict[str | int, int], key: str) -> str | int:
        if len(counts) < self._capacity or key in counts:
            return key
        return (hash(key) >> _SHARD_BITS) & (_SPILL_BUCKETS - 1)
