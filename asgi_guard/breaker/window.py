"""The last so many seconds of outcomes, in ten slices; no clock, no lock."""

_SLICES = 10


class Window:
    """Calls and failures of the last `span` seconds, with running sums: O(1) to record and to read.

    Args:
        span: Seconds, above 0. What is counted leaves in slices of a tenth of it.
    """

    __slots__ = ("_calls", "_failures", "_position", "_slice", "calls", "failures")

    def __init__(self, span: float) -> None:
        self._slice = span / _SLICES
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._calls = [0] * _SLICES
        self._failures = [0] * _SLICES
        self._position = 0
        self.calls: int = 0
        self.failures: int = 0

    def record(self, now: float, *, failed: bool) -> None:
        """Count one call."""
        self.advance(now)
        slot = self._position % _SLICES
        self._calls[slot] += 1
        self.calls += 1
        if failed:
            self._failures[slot] += 1
            self.failures += 1

    def advance(self, now: float) -> None:
        """Drop what is older than the span; a clock that ran backwards drops nothing."""
        position = int(now / self._slice)
        steps = position - self._position
        if steps <= 0:
            return
        if steps >= _SLICES:
            self.clear()
        else:
            for passed in range(self._position + 1, position + 1):
                slot = passed % _SLICES
                self.calls -= self._calls[slot]
                self.failures -= self._failures[slot]
                self._calls[slot] = self._failures[slot] = 0
        self._position = position
