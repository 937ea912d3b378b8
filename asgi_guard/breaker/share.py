"""One breaker's part in what several processes know of it."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from asgi_guard.breaker.core import Core
from asgi_guard.breaker.shared_machine import SharedMachine
from asgi_guard.breaker.shared_trials import SharedTrials, Wish
from asgi_guard.breaker.states import BreakerState, Cause, Transition

_log = logging.getLogger("asgi_guard.breaker")

Word: TypeAlias = Literal["look", "ask", "trial", "open", "close"]
"""What a process wants to know or to say."""


@dataclass(frozen=True, slots=True)
class Note:
    """A word of one breaker to the other processes.

    Attributes:
        share: The breaker's part.
        word: The word.
        seconds: How long it holds: the open time, or the lease of trials; default 0.
        generation: The era that it belongs to; default 0.
        written: When it was written; default now.
    """

    share: "Share"
    word: Word
    seconds: float = 0.0
    generation: int = 0
    written: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds for which it still holds."""
        return self.seconds - (time.monotonic() - self.written)


class Share:
    """What joins one breaker to those of its name in other processes.

    Args:
        core: The core of the breaker.
        machine: Its machine, the same as the core's.
        most: Trials at once.
        lease: Seconds that a trial may take.
        post: Takes a note to send, and must not block.

    Attributes:
        name: The breaker's name.
    """

    def __init__(
        self,
        core: Core,
        machine: SharedMachine,
        most: int,
        lease: float,
        post: Callable[[Note], None],
    ) -> None:
        self.name: str = core.name
        self._core = core
        self._machine = machine
        self._lease = lease
        self._post = post
        self._trials = SharedTrials(most, lease, self._wish)
        machine.share(self._trials, self._prolonged)
        core.listeners += (self._heard,)

    def connect(self, *, is_connected: bool) -> None:
        """Ask others before trials, or nobody."""
        with self._core.lock:
            self._trials.is_connected = is_connected
        if is_connected:
            self._post(Note(self, "look"))

    def retell(self) -> None:
        """Say once more for how long it is open, to those who could not hear it."""
        with self._core.lock:
            now = self._core.clock()
            is_open = self._machine.state(now) is BreakerState.OPEN
            wait = self._machine.retry_after(now)
        if is_open and wait:
            self._post(Note(self, "open", wait))

    def learn_open(self, seconds: float) -> None:
        """Open for so long, as another process does; no longer than this one ever would."""
        seconds = min(seconds, max(self._machine.longest_open, self._core.retry_after_max))
        with self._in_vain():
            self._core.open_for(seconds, Cause.SHARED, "another process has opened it")

    def learn_closed(self) -> None:
        """Close, as another process did."""
        with self._core.lock:
            self._machine.recover(self._core.clock(), "another process has closed it")
        with self._in_vain():
            self._core.tell()

    def learn_trial(self, seconds: float) -> None:
        """Leave trials to another process for so long; no longer than this one keeps its own."""
        with self._core.lock:
            self._trials.leave(min(seconds, self._lease), self._core.clock())

    def learn_answer(self, note: Note, seconds: float) -> None:
        """Take in the answer to a wish: 0, or the seconds for which another process tries."""
        with self._core.lock:
            if note.generation != self._machine.generation:
                return
            if seconds:
                self._trials.leave(min(seconds, self._lease), self._core.clock())
            else:
                self._trials.take()

    @contextmanager
    def _in_vain(self) -> Iterator[None]:
        """Log what listeners would end the process with: this thread is not theirs to end."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - all others are logged already
            kind = type(error).__name__
            _log.error("circuit %r: a listener raised %s, which ends nothing", self.name, kind)

    def _wish(self, wish: Wish) -> None:
        self._post(Note(self, wish, self._lease, self._machine.generation))

    def _prolonged(self, seconds: float) -> None:
        self._post(Note(self, "open", seconds))

    def _heard(self, name: str, transition: Transition) -> None:
        if name != self.name or transition.cause is Cause.SHARED:
            return
        if transition.after is BreakerState.OPEN:
            self._post(Note(self, "open", transition.open_for or 0.0))
        elif transition.cause is Cause.RECOVERED:
            self._post(Note(self, "close"))
