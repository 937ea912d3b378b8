"""What is known of a breaker at one moment."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from asgi_guard.breaker.children import Children
from asgi_guard.breaker.core import Core
from asgi_guard.breaker.fallback import Fallback
from asgi_guard.breaker.states import BreakerState


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """The state of a breaker at one moment, and what it and its children have counted so far.

    Attributes:
        name: The breaker's name.
        state: Its own state.
        retry_after: Seconds until a call may be admitted; 0 when one is now, None if unknown.
        window_calls: Calls in its own window.
        window_failures: Those that failed.
        window_slow: Those that were slow.
        last_failure: The type of the error of its own last failure; "" before one.
        success: Calls that succeeded.
        failure: Calls that failed.
        ignored: Calls that said nothing: cancelled, or ended by an error that is to be ignored.
        not_permitted: Calls that were refused.
        slow: Calls that were slow, however they ended.
        late: Calls that came back after the state had changed.
        leases_expired: Trials that were taken back.
        would_trip: How often it would have tripped, while it only told.
        open_seconds: Seconds it was open.
        fallbacks: How often the fallback stood in.
        fallbacks_failed: How often that failed.
        transitions: How often it changed from one state to another.
        children: How many children are in which state.
    """

    name: str
    state: BreakerState
    retry_after: float | None
    window_calls: int
    window_failures: int
    window_slow: int
    last_failure: str
    success: int
    failure: int
    ignored: int
    not_permitted: int
    slow: int
    late: int
    leases_expired: int
    would_trip: int
    open_seconds: float
    fallbacks: int
    fallbacks_failed: int
    transitions: Mapping[tuple[BreakerState, BreakerState], int]
    children: Mapping[BreakerState, int]


def snapshot_of(core: Core, fallback: Fallback | None, children: Children) -> BreakerSnapshot:
    """Return what is known of a breaker.

    Args:
        core: Its core.
        fallback: Its fallback, if it has one, which is that of its children as well.
        children: Its children.
    """
    total = _Total()
    with children.lock:  # or one that goes meanwhile would be counted twice
        for each in (*children.cores(), core):
            total.add(each)
    states = children.states()  # before, since whoever makes room takes the locks in this order
    with core.lock:
        now = core.clock()
        calls, failures, slow = core.machine.counts(now)
        return BreakerSnapshot(
            name=core.name,
            state=core.machine.state(now),
            retry_after=core.machine.retry_after(now),
            window_calls=calls,
            window_failures=failures,
            window_slow=slow,
            last_failure=core.last_failure,
            transitions=dict(total.transitions),
            children=states,
            open_seconds=total.open_seconds,
            fallbacks=0 if fallback is None else fallback.served,
            fallbacks_failed=0 if fallback is None else fallback.failed,
            **total.counts,
        )


class _Total:
    """Counts of a breaker and its children."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.transitions: Counter[tuple[BreakerState, BreakerState]] = Counter()
        self.open_seconds = 0.0

    def add(self, core: Core) -> None:
        """Add those of one breaker."""
        with core.lock:
            machine = core.machine
            self.transitions.update(machine.transitions)
            self.open_seconds += machine.open_seconds(core.clock())
            self.counts.update(
                success=core.success,
                failure=core.failure,
                ignored=core.ignored,
                not_permitted=core.not_permitted,
                slow=machine.slow_calls,
                late=machine.late,
                leases_expired=machine.leases_expired,
                would_trip=machine.would_trip,
            )
