"""The core of a breaker: its machine, the lock round it, and what it counts.

The lock is held for arithmetic only: never across the user's code, an await or a log line. It is
not taken to admit a call while nothing but closed is known.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeAlias

from asgi_guard._clock import Clock
from asgi_guard.breaker.machine import Machine, Refused, Stamp
from asgi_guard.breaker.states import BreakerState, Cause, Outcome, Transition
from asgi_guard.breaker.trials import Trial
from asgi_guard.errors import CircuitOpen, shown

Listener: TypeAlias = Callable[[str, Transition], object]
"""A plain function of the breaker's name and a transition."""

_log = logging.getLogger("asgi_guard.breaker")


class Core:
    """What all calls through one breaker share.

    Args:
        name: The breaker's name.
        machine: Its states.
        clock: Returns seconds that never run backwards.
        retry_after_max: The most seconds that a downstream may ask for.

    Attributes:
        name: The breaker's name.
        machine: Its states; to be touched with the lock only, but for `admits_unasked`.
        lock: The lock.
        clock: The clock.
        success: Calls that succeeded so far.
        failure: Calls that failed so far.
        ignored: Calls so far that said nothing.
        not_permitted: Calls that were refused so far.
        listeners: Who is told of transitions.
        last_failure: The type of the error that the last failed call ended with; "" before one has.
        first_uses: What to call before the first call is admitted.
        retry_after_max: That number of seconds.
    """

    __slots__ = (
        "clock",
        "failure",
        "first_uses",
        "ignored",
        "last_failure",
        "listeners",
        "lock",
        "machine",
        "name",
        "not_permitted",
        "retry_after_max",
        "success",
    )

    def __init__(self, name: str, machine: Machine, clock: Clock, retry_after_max: float) -> None:
        self.name: str = name
        self.machine: Machine = machine
        self.clock: Clock = clock
        # A thread may come by again while it holds it: a signal, or a generator that is collected.
        self.lock: threading.RLock = threading.RLock()
        self.success: int = 0
        self.failure: int = 0
        self.ignored: int = 0
        self.not_permitted: int = 0
        self.listeners: tuple[Listener, ...] = ()
        self.last_failure: str = ""
        self.first_uses: tuple[Callable[[], None], ...] = ()
        self.retry_after_max: float = retry_after_max

    def admit(self) -> Stamp:
        """Admit a call.

        Raises:
            CircuitOpen: It is refused.
        """
        machine = self.machine
        # The generation first: were the state read first, a call could be stamped with a new era.
        generation = machine.generation
        if machine.admits_unasked:
            return generation
        first_uses = self.first_uses
        if first_uses:
            self.first_uses = ()
            for first_use in first_uses:
                first_use()
        with self.lock:
            admitted = machine.admit(self.clock())
            if isinstance(admitted, Refused):
                self.not_permitted += 1
        if machine.news:
            try:
                self.tell()
            except BaseException:  # the call will not be made
                if not isinstance(admitted, Refused):
                    self.settle(admitted, Outcome.IGNORED)
                raise
        if isinstance(admitted, Refused):
            raise self.refusal(admitted)
        return admitted

    def refused_now(self) -> CircuitOpen | None:
        """Return what a call would be refused with now; None where it would be admitted.

        It takes nothing, and counts what it refuses.
        """
        machine = self.machine
        if machine.admits_unasked:
            return None
        with self.lock:
            now = self.clock()
            wait = machine.retry_after(now)
            if wait == 0:
                return None
            self.not_permitted += 1
            refused = Refused(machine.state(now), wait)
        return self.refusal(refused)

    def settle(self, stamp: Stamp, outcome: Outcome, error: BaseException | None = None) -> None:
        """Settle a call.

        Args:
            stamp: What it was admitted with.
            outcome: How it ended.
            error: What it failed with, if that is known.
        """
        with self.lock:
            if outcome is Outcome.SUCCESS:
                self.success += 1
            elif outcome is Outcome.FAILURE:
                self.failure += 1
                self.last_failure = "" if error is None else type(error).__name__
            else:
                self.ignored += 1
            self.machine.settle(stamp, outcome, self.clock())
        if self.machine.news:
            self.tell()

    def succeed(self, stamp: Stamp) -> None:
        """Settle a call that has succeeded: `settle`, for most calls there are."""
        if not isinstance(stamp, int):
            self.settle(stamp, Outcome.SUCCESS)
            return
        with self.lock:
            self.success += 1
            self.machine.succeed(stamp, self.clock())
        if self.machine.news:
            self.tell()

    def answered(self, stamp: Stamp) -> None:
        """Note that a call has begun to answer: how long the rest takes does not make it slow."""
        if not isinstance(stamp, int):
            with self.lock:
                self.machine.answered(stamp, self.clock())

    def extend(self, stamp: Stamp, seconds: float) -> None:
        """Do not take a trial back before so many seconds from now; other calls have no lease."""
        if isinstance(stamp, Trial):
            with self.lock:
                stamp.lease_end = max(stamp.lease_end, self.clock() + seconds)

    def open_for(self, seconds: float, cause: Cause, detail: str) -> None:
        """Open for so many seconds, at least."""
        with self.lock:
            self.machine.open_for(seconds, self.clock(), cause, detail)
        self.tell()

    def force(self, state: BreakerState, seconds: float | None = None) -> None:
        """Enter a state by hand."""
        with self.lock:
            self.machine.force(state, self.clock(), seconds)
        self.tell()

    def adopt(self, other: "Core") -> None:
        """Take over the counts of a child that is forgotten: counters must not run backwards."""
        with self.lock:
            self.success += other.success
            self.failure += other.failure
            self.ignored += other.ignored
            self.not_permitted += other.not_permitted
            self.machine.adopt(other.machine, self.clock())

    def refusal(self, refused: Refused) -> CircuitOpen:
        """Return what a refused call raises."""
        wait = refused.retry_after
        words = [f"circuit {self.name!r} is {refused.state.value}"]
        if self.last_failure:
            words.append(f"its last failure was {self.last_failure}")
        if wait is not None:
            words.append(f"retry in {wait:.3g} s")
        return CircuitOpen("; ".join(words), wait, breaker=self.name, state=refused.state.value)

    def tell(self) -> None:
        """Log and report the transitions that nobody has been told of yet.

        An error of a listener is logged. What ends the process is raised when all have been told.
        """
        with self.lock:
            news, self.machine.news = self.machine.news, []
        end: BaseException | None = None
        for transition in news:
            _log_transition(self.name, transition)
            for listener in self.listeners:
                try:
                    listener(self.name, transition)
                except Exception:  # noqa: BLE001 - it is anybody's code
                    _log.exception("circuit %r: a listener failed: %s", self.name, shown(listener))
                except BaseException as error:  # noqa: BLE001 - raised below
                    end = end or error
        try:
            if end is not None:
                raise end
        finally:
            end = None  # or it would hold this frame, and the frame it


def _log_transition(name: str, transition: Transition) -> None:
    if transition.before is transition.after is BreakerState.METRICS_ONLY:
        _log.warning("circuit %r would have opened: %s", name, transition.detail)
        return
    opens = transition.after in {BreakerState.OPEN, BreakerState.FORCED_OPEN}
    _log.log(
        logging.WARNING if opens else logging.INFO,
        "circuit %r: %s -> %s: %s",
        name,
        transition.before.value,
        transition.after.value,
        transition.detail,
    )
