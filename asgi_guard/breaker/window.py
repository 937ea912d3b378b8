"""Windows: what the last calls came to; no clock, no lock.

Both kinds keep running sums, so that recording and reading take the same time however long they
are. Calls are first counted in the slice of this moment, which most calls leave as it is.
"""

from typing import Protocol

_SLICES = 10


class Window(Protocol):
    """The last calls.

    Attributes:
        calls: How many there were.
        failures: How many of them failed.
        slow: How many of them were slow.
    """

    calls: int
    failures: int
    slow: int

    def add(self, now: float) -> None:
        """Count one call that neither failed nor was slow."""
        ...

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """Count one call."""
        ...

    def advance(self, now: float) -> None:
        """Drop what is older than the window."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class TimeWindow:
    """The calls of the last `span` seconds, in ten slices.

    Args:
        span: Seconds, above 0. What is counted leaves in slices of a tenth of it.

    Attributes:
        calls: Calls in the window.
        failures: Those that failed.
        slow: Those that were slow.
        until: When the slice of this moment ends; whoever counts later advances first.
        slice: Calls, failures and slow calls of the slice of this moment.
    """

    __slots__ = ("_position", "_slices", "_span", "calls", "failures", "slice", "slow", "until")

    def __init__(self, span: float) -> None:
        self._span = span / _SLICES
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._slices = [[0, 0, 0] for _ in range(_SLICES)]
        self._position: int | None = None
        self.slice: list[int] = self._slices[0]
        self.until: float = float("-inf")
        self.calls: int = 0
        self.failures: int = 0
        self.slow: int = 0

    def add(self, now: float) -> None:
        """Count one call that neither failed nor was slow."""
        if now >= self.until:
            self.advance(now)
        self.slice[0] += 1
        self.calls += 1

    def record(self, now: float, *, failed: bool, slow: bool) -> None:
        """Count one call."""
        self.add(now)
        counts = self.slice
        if failed:
            counts[1] += 1
            self.failures += 1
        if slow:
            counts[2] += 1
            self.slow += 1

    def advance(self, now: float) -> None:
        """Drop what is older than the span; a clock that ran backwards drops nothing."""
        position = int(now // self._span)
        if self._position is None:
            self._position = position
        for passed in range(max(self._position, position - _SLICES) + 1, position + 1):
            self._drop(self._slices[passed % _SLICES])
        self._position = max(self._position, position)
        self.slice = self._slices[self._position % _SLICES]
        self.until = (self._position + 1) * self._span

    def _drop(self, counts: list[int]) -> None:
        self.calls -= counts[0]
        self.failures -= counts[1]
        self.slow -= counts[2]
        counts[:] = 0, 0, 0


class CountWindow:
    """The last so many calls, whenever they were.

    Args:
        size: How many, from 1 up.

    Attributes:
        calls: Calls in the window.
        failures: Those that failed.
        slow: Those that were slow.
    """

    __slots__ = ("_marks", "_place", "_size", "calls", "failures", "slow")

    def __init__(self, size: int) -> None:
        self._size = size
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._marks = bytearray(self._size)  # of each call: 1 if it failed, and 2 if it was slow
        self._place = 0
        self.calls: int = 0
        self.failures: int = 0
        self.slow: int = 0

    def add(self, now: float) -> None:
        """Count one call that neither failed nor was slow."""
        self.record(now, failed=False, slow=False)

    def record(self, now: float, *, failed: bool, slow: bool) -> None:  # noqa: ARG002 - as the other
        """Count one call."""
        place = self._place
        if self.calls == self._size:
            mark = self._marks[place]
            self.failures -= mark & 1
            self.slow -= mark >> 1
        else:
            self.calls += 1
        self._marks[place] = failed + 2 * slow
        self.failures += failed
        self.slow += slow
        self._place = (place + 1) % self._size

    def advance(self, now: float) -> None:
        """Drop nothing: no call is too old."""


def window_of(span: float, calls: int | None) -> TimeWindow | CountWindow:
    """Return a window of so many calls, or else of so many seconds."""
    return TimeWindow(span) if calls is None else CountWindow(calls)
