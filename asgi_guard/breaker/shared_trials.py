"""Trials where several processes share a breaker: one process at a time makes them.

Which one is settled elsewhere, and nobody waits for it: the first call that would be a trial asks,
and is refused; the answer is there for the next. Where nobody answers, a process tries by itself.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

from asgi_guard.breaker.trials import Trial, Trials

PATIENCE = 0.1
"""Seconds that trials wait for an answer."""

Wish: TypeAlias = Literal["ask", "trial"]
"""What a process says of its trials: it asks for the lease, or a trial has begun."""


class SharedTrials(Trials):
    """The trials under way in one era, and whether this process may make any.

    Args:
        most: Trials at once, from 1 up.
        lease: Seconds after which one that has not come back is taken back, above 0.
        say: Takes a wish, and must not block.

    Attributes:
        is_connected: Whether there is anybody to ask.
    """

    __slots__ = ("_asked", "_is_mine", "_say", "_taken_until", "is_connected")

    def __init__(self, most: int, lease: float, say: Callable[[Wish], None]) -> None:
        super().__init__(most, lease)
        self._say = say
        self._is_mine = False
        self._asked: float | None = None
        self._taken_until = 0.0
        self.is_connected: bool = False

    def begin(self, now: float) -> Trial | None:
        """Begin a trial, if this process makes them, and another may be made."""
        if self._others_try(now):
            return None
        if self._asked is None and not self._is_mine and self.is_connected:
            self._asked = now
            self._say("ask")
            return None
        if self._awaits_answer(now):
            return None
        trial = super().begin(now)
        if trial is not None and self.is_connected:
            self._say("trial")
        return trial

    def wait(self, now: float) -> float:
        """Return the seconds until another trial may be made; 0 when one may now."""
        if self._others_try(now):
            return self._taken_until - now
        if self._asked is not None and self._awaits_answer(now):
            return self._asked + PATIENCE - now
        return super().wait(now)

    def clear(self) -> None:
        """Forget them, and who makes them; what comes back is late."""
        super().clear()
        self._is_mine = False
        self._asked = None
        self._taken_until = 0.0

    def take(self) -> None:
        """Let this process make the trials, until another one says that it does."""
        self._is_mine = True
        self._asked = None
        self._taken_until = 0.0

    def leave(self, seconds: float, now: float) -> None:
        """Leave them to another process for so many seconds; then this one asks again."""
        self._is_mine = False
        self._asked = None
        self._taken_until = now + seconds

    def _others_try(self, now: float) -> bool:
        return self.is_connected and not self._is_mine and now < self._taken_until

    def _awaits_answer(self, now: float) -> bool:
        unanswered = self._asked is not None and now < self._asked + PATIENCE
        return unanswered and self.is_connected and not self._is_mine
