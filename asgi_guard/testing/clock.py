"""Time for tests: it moves when it is told to."""


class FakeClock:
    """A clock that stands still until it is moved; give it to what takes `clock=`.

    Args:
        now: The time it starts at, in seconds; default 1,000.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now: float = now

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the time on.

        Args:
            seconds: How far.
        """
        self.now += seconds
