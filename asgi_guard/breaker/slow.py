"""Slow calls: known while they still run, since a downstream that hangs ends none."""


class Call:
    """The stamp of a call whose time is measured.

    Attributes:
        generation: The era it was admitted in.
        began: When.
        answered: When it began to answer; None where that is when it ends.
    """

    __slots__ = ("answered", "began", "generation")

    def __init__(self, generation: int, began: float) -> None:
        self.generation: int = generation
        self.began: float = began
        self.answered: float | None = None


class SlowCalls:
    """The calls of one era that are under way, and which of them are slow already.

    Args:
        after: Seconds from which on a call is slow, above 0.
    """

    __slots__ = ("_after", "_overdue", "_under_way")

    def __init__(self, after: float) -> None:
        self._after = after
        self._under_way: dict[Call, None] = {}  # the oldest first
        self._overdue: set[Call] = set()

    def begin(self, generation: int, now: float) -> Call:
        """Begin to measure a call."""
        call = Call(generation, now)
        self._under_way[call] = None
        return call

    def end(self, call: Call, now: float) -> bool:
        """End a call; return whether it was slow."""
        self._under_way.pop(call, None)
        self._overdue.discard(call)
        return self.is_slow(call.began, now if call.answered is None else call.answered)

    def answer(self, call: Call, now: float) -> None:
        """Note that a call has begun to answer: from here on it does not become slow."""
        if call.answered is None:
            call.answered = now
            self._under_way.pop(call, None)

    def overdue(self, now: float) -> int:
        """Return how many of the calls under way are slow; each is looked at once."""
        while self._under_way:
            oldest = next(iter(self._under_way))
            if not self.is_slow(oldest.began, now):
                break
            del self._under_way[oldest]
            self._overdue.add(oldest)
        return len(self._overdue)

    def is_slow(self, began: float, now: float) -> bool:
        """Tell whether a call that began then is slow."""
        return now - began >= self._after

    def clear(self) -> None:
        """Forget them."""
        self._under_way = {}
        self._overdue = set()
