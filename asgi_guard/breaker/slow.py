"""Slow calls: known while they still run, since a downstream that hangs ends none."""

from typing import Protocol


class Timed(Protocol):
    """What has begun, and may have begun to answer.

    Attributes:
        began: When.
        answered: When it began to answer; None where that is when it ends.
    """

    began: float
    answered: float | None


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
        after: Seconds from which on a call is slow, above 0; infinity: none is.
        span: Seconds for which one that is slow counts while it is under way, so that calls which
            nobody ever ends do not add up. When it does end, it counts again.

    Attributes:
        ended: Slow calls that have ended, since the breaker was made.
    """

    __slots__ = ("_after", "_overdue", "_span", "_under_way", "ended")

    def __init__(self, after: float, span: float) -> None:
        self._after = after
        self._span = span
        self._under_way: dict[Call, None] = {}  # the oldest first, as below
        self._overdue: dict[Call, None] = {}
        self.ended: int = 0

    def begin(self, generation: int, now: float, *, is_watched: bool = True) -> Call:
        """Begin to measure a call.

        Args:
            generation: The era it is admitted in.
            now: The time.
            is_watched: Whether it is slow while it is under way; default True. One that nobody ever
                ends is then kept until `overdue()` has seen it, and otherwise not at all.
        """
        call = Call(generation, now)
        if is_watched:
            self._under_way[call] = None
        return call

    def end(self, call: Call, now: float) -> bool:
        """End a call; return whether it was slow."""
        self._under_way.pop(call, None)
        self._overdue.pop(call, None)
        return self.judge(call, now)

    def judge(self, timed: Timed, now: float) -> bool:
        """Return whether what has ended was slow, and count it."""
        answered = now if timed.answered is None else timed.answered
        slow = answered - timed.began >= self._after
        self.ended += slow
        return slow

    def answer(self, call: Call, now: float) -> None:
        """Note that a call has begun to answer: from here on it does not become slow."""
        if call.answered is None:
            call.answered = now
            self._under_way.pop(call, None)

    def overdue(self, now: float) -> int:
        """Return how many of the calls under way are slow; each is looked at once."""
        _move(self._under_way, now - self._after, self._overdue)
        _move(self._overdue, now - self._after - self._span)
        return len(self._overdue)

    def clear(self) -> None:
        """Forget them."""
        self._under_way = {}
        self._overdue = {}


def _move(calls: dict[Call, None], began: float, to: dict[Call, None] | None = None) -> None:
    """Move the calls that began at this time or before to somewhere else, or nowhere."""
    while calls:
        oldest = next(iter(calls))
        if oldest.began > began:
            break
        del calls[oldest]
        if to is not None:
            to[oldest] = None
