"""Spacing: how far apart calls start; no clock, no loop."""

from typing import NamedTuple


class Start(NamedTuple):
    """A start that was taken.

    Attributes:
        before: When it could be taken, at the earliest.
        after: When the next one can.
    """

    before: float
    after: float


class Spacing:
    """Starts, of which each is at least so far from the one before.

    Args:
        interval: Seconds, from 0 up.

    Attributes:
        next: When the next start can be taken, at the earliest.
    """

    __slots__ = ("_interval", "next")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self.next: float = float("-inf")

    def take(self, now: float) -> Start:
        """Take a start; it is time for one."""
        start = Start(self.next, now + self._interval)
        self.next = start.after
        return start

    def give_back(self, start: Start) -> None:
        """Give back a start that came to nothing; after another one it can no longer be had."""
        if self.next == start.after:
            self.next = start.before
