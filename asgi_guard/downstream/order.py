"""The order of those who wait; no clock, no loop.

Whoever has waited `aging` seconds counts as one class higher. At the time t, a waiter of priority p
that joined at j has the effective priority p + (t - j) / aging, and the highest is served first.
Multiplied by `aging`, which is the same for all, that is t - (j - p * aging): t is the same for all
as well, so that the order of two waiters never changes. A place is therefore worked out once,
from j - p * aging, and nothing is sorted again as time goes by. Who joins more than
(q - p) * aging seconds after a waiter cannot overtake it with the priority q: nobody starves.
"""

from bisect import bisect_left, insort
from collections.abc import Collection
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")

Place: TypeAlias = tuple[float, int]
"""A place in the order; the greatest is the first in line."""


class Order(Generic[T]):
    """Those who wait, by effective priority, and as they came where that is equal.

    It is a sorted list and no heap: the last in line is looked for as well as the first, and
    anybody may leave. The first in line stands at its end, where it leaves at no cost.

    Args:
        aging: Seconds of waiting that make up for one class, above 0; None: none ever do.
    """

    __slots__ = ("_aging", "_joined", "_places", "_waiting")

    def __init__(self, aging: float | None) -> None:
        self._aging = aging
        self._joined = 0
        self._places: list[Place] = []
        self._waiting: dict[Place, T] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._places)

    def join(self, waiter: T, priority: int, now: float) -> Place:
        """Add a waiter; return the place it has."""
        self._joined += 1
        rank = float(priority) if self._aging is None else priority * self._aging - now
        place = (rank, -self._joined)
        insort(self._places, place)
        self._waiting[place] = waiter
        return place

    def leave(self, place: Place) -> None:
        """Remove the waiter of a place, if it is still there."""
        if self._waiting.pop(place, None) is not None:
            del self._places[bisect_left(self._places, place)]

    def first(self) -> T:
        """Return the first in line, who stays."""
        return self._waiting[self._places[-1]]

    def pop_first(self) -> T:
        """Remove and return the first in line."""
        return self._waiting.pop(self._places.pop())

    def pop_last(self) -> T:
        """Remove and return the last in line: the newest of the lowest class."""
        return self._waiting.pop(self._places.pop(0))

    def all(self) -> Collection[T]:
        """Return all who wait, in no order."""
        return list(self._waiting.values())
