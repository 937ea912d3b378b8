"""What a downstream has counted, over all event loops and threads."""

import threading
from collections import Counter


class Counts:
    """Counts that survive the loops they come from, and are exact with several of them.

    Attributes:
        lock: Held while they change, and to read several of one moment.
        numbers: The counts, by their names in `DownstreamSnapshot`.
        waited_seconds: Seconds that callers have waited, together.
        longest_wait: The most seconds that one has.
    """

    __slots__ = ("lock", "longest_wait", "numbers", "waited_seconds")

    def __init__(self) -> None:
        self.lock: threading.Lock = threading.Lock()
        self.numbers: Counter[str] = Counter()
        self.waited_seconds: float = 0.0
        self.longest_wait: float = 0.0

    def add(self, name: str) -> None:
        """Count one."""
        with self.lock:
            self.numbers[name] += 1

    def add_wait(self, seconds: float) -> None:
        """Count a wait, whatever it led to."""
        with self.lock:
            self.numbers["waits"] += 1
            self.waited_seconds += seconds
            self.longest_wait = max(self.longest_wait, seconds)
