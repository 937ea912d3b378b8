"""How long a breaker is open: longer each time that it was in vain to try."""

from collections.abc import Callable
from typing import TypeAlias

Luck: TypeAlias = Callable[[], float]
"""Returns random numbers from 0 up to 1."""


class OpenTimes:
    """Lengths of open times.

    Args:
        first: Seconds of the first, above 0.
        multiplier: How many times as long each next one is, from 1 up.
        longest: The most seconds, from `first` up.
        jitter: The share of a length by which it may be longer, from 0 to 1, so that many processes
            do not try at once.
        luck: Returns random numbers from 0 up to 1.
    """

    __slots__ = ("_first", "_jitter", "_longest", "_luck", "_multiplier", "_next")

    def __init__(
        self, first: float, multiplier: float, longest: float, jitter: float, luck: Luck
    ) -> None:
        self._first = first
        self._multiplier = multiplier
        self._longest = longest
        self._jitter = jitter
        self._luck = luck
        self._next = first

    def next(self) -> float:
        """Return the seconds of the next open time."""
        seconds, self._next = self._next, min(self._longest, self._next * self._multiplier)
        return seconds * (1 + self._jitter * self._luck())

    def reset(self) -> None:
        """Begin anew: the downstream has recovered."""
        self._next = self._first
