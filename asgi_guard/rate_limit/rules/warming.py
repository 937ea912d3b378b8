"""Warming: what a store has admitted is counted in this process as well, for when it will be out.

Nothing depends on it before then, so requests only note what they owe, and all of it is charged
together, some time later: by a loop whose code and data the processor has at hand, which takes less
than half as long as if every request did its part.
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

_TOGETHER = 64  # notes; a few dozen microseconds of work


class Warms(Protocol):
    """Rules that are charged alike by every request."""

    def warm(self, keys: Sequence[str], now: float) -> None:
        """Charge the counters of this process that stand in for those of the store."""
        ...


_Note: TypeAlias = tuple[Warms, Sequence[str], float]


class Warming:
    """What counters of this process still have to be charged: at most 64 requests."""

    def __init__(self) -> None:
        self._noted: list[_Note] = []

    def note(self, rules: Warms, keys: Sequence[str], now: float) -> None:
        """Take note of a request that the store has admitted.

        Args:
            rules: The rules that were charged.
            keys: A key for each of them.
            now: Seconds on the clock of the counters.
        """
        noted = self._noted
        noted.append((rules, keys, now))
        if len(noted) >= _TOGETHER:
            self.catch_up()

    def catch_up(self) -> None:
        """Charge what was noted, each at its own time; to be called before they decide."""
        noted, self._noted = self._noted, []
        for rules, keys, now in noted:
            rules.warm(keys, now)
