"""Tables of the in-process store, and the shards that they consist of.

Each rule has a table of 64 shards, or of 256 where many keys are expected, and each shard two
dictionaries: this window and the one before. A window that is over is dropped whole, shard by shard
and each at a time of its own, so no hit ever pays for more than that part of the keys, and nothing
runs in the background.
"""

from typing import Any, Generic, TypeVar
from weakref import WeakSet

N = TypeVar("N", int, float)
"""Units, or a time."""

_FEW_SHARDS = 64
_MANY_SHARDS = 256
_MANY_KEYS = 1 << 18  # from here on a shard of few would hold so many that to drop them takes long
_SHARD_BITS = 8  # of a hash, the most that tell the shard
_SPILL_BUCKETS = 16


class Shard(Generic[N]):
    """Numbers of some of a rule's keys, in windows that begin at a time of its own."""

    __slots__ = ("began", "capacity", "current", "previous")

    def __init__(self, began: float, capacity: int) -> None:
        self.began: float = began
        self.capacity: int = capacity
        # Strings are keys, numbers are the groups of keys that found no room.
        self.previous: dict[str | int, N] = {}
        self.current: dict[str | int, N] = {}

    def __len__(self) -> int:
        """Return the number of entries, in both windows."""
        return len(self.previous) + len(self.current)

    def place(self, key: str) -> str | int:
        """Return where a key is counted in this window: its own entry, or that of its group."""
        counts = self.current  # as `entry` does, without another call
        return _group(key) if key not in counts and len(counts) >= self.capacity else key

    def entry(self, counts: "dict[str | int, N]", key: str) -> str | int:
        """Return where a key is counted in one of the two windows."""
        return _group(key) if key not in counts and len(counts) >= self.capacity else key

    def lower(self, entry: str | int, by: N, least: N) -> None:
        """Lower a number of this window; forget it where it comes to the least, if there is room.

        Where there was none, keys are counted in groups already, and would leave theirs for a place
        that gets free.
        """
        counts = self.current
        left = counts[entry] - by
        if left > least or len(counts) >= self.capacity:
            counts[entry] = max(left, least)
        else:
            del counts[entry]

    def faded(self, key: str) -> N | int:
        """Return what there was for a key in the window before, or 0."""
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


def new_shards(now: float, period: float, most_keys: int) -> list[Shard[N]]:
    """Return empty shards, a power of two, whose windows begin one after the other."""
    shards = _FEW_SHARDS if most_keys < _MANY_KEYS else _MANY_SHARDS
    capacity = most_keys // (2 * shards) - _SPILL_BUCKETS
    return [Shard(now - period / shards * number, capacity) for number in range(shards)]


class Table(Generic[N]):
    """The keys of one rule.

    Args:
        now: This moment.
        window: The seconds after which an entry that nobody hits no longer matters.
        most_keys: The most entries in both windows.

    Attributes:
        shards: Where they are.
        window: The longest such time of all counters that use it.
        counters: Those counters.
    """

    __slots__ = ("counters", "shards", "window")

    def __init__(self, now: float, window: float, most_keys: int) -> None:
        self.shards: list[Shard[N]] = new_shards(now, window, most_keys)
        self.window: float = window
        self.counters: WeakSet[Any] = WeakSet()

    def is_spent(self, now: float) -> bool:
        """Tell whether nobody uses it, and nothing in it matters any more."""
        return not self.counters and all(
            not len(shard) or now - shard.began >= 2 * self.window for shard in self.shards
        )


def _group(key: str) -> int:
    return (hash(key) >> _SHARD_BITS) & (_SPILL_BUCKETS - 1)
