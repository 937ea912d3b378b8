"""How long it is open: longer each time, never beyond the most, and not all at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.breaker.machine import Machine, Refused
from asgi_guard.breaker.opening import OpenTimes
from asgi_guard.breaker.states import BreakerState, Cause
from asgi_guard.breaker.thresholds import Thresholds
from tests.breaker.machines import calls, machine, tripped

OPEN, HALF_OPEN, CLOSED = BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED


def test_each_failed_trial_doubles_the_time_up_to_the_most() -> None:
    """5, 10, 20, 40, 60, 60."""
    it, now, waits = tripped(), 0.0, []
    for _ in range(6):
        wait = it.retry_after(now)
        assert wait is not None
        waits.append(wait)
        now += wait
        calls(it, "F", now)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_recovery_begins_anew() -> None:
    """The next trip is a first one."""
    it = tripped()
    calls(it, "F", 5.0)
    assert calls(it, "SS", 15.0) is CLOSED
    calls(it, "FFF", 20.0)
    assert it.retry_after(20.0) == 5.0


@given(
    st.floats(0.001, 1e6),
    st.floats(1.0, 1e3),
    st.floats(1.0, 1e3),
    st.floats(0.0, 1.0),
    st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=50),
)
def test_times_stay_in_their_range(
    first: float, multiplier: float, more: float, jitter: float, luck: list[float]
) -> None:
    """Jitter makes them longer, never shorter, and by its share at most."""
    longest = first * more
    lucks = iter(luck)
    times = OpenTimes(first, multiplier, longest, jitter, lambda: next(lucks))
    for number in range(len(luck)):
        base = min(longest, first * min(multiplier**number, 1e300))
        time = times.next()
        assert base * 0.999 <= time <= base * (1 + jitter) * 1.001


def test_jitter_spreads_processes() -> None:
    """Half of luck makes it longer by a tenth."""
    thresholds = Thresholds(consecutive_failures=1, open_for=10.0, jitter=0.2)
    it = Machine(thresholds, lambda: 0.5)
    calls(it, "F", 0.0)
    assert it.retry_after(0.0) == 11.0


@pytest.mark.parametrize(("asked", "wait"), [(60.0, 60.0), (1.0, 4.0)])
def test_what_the_downstream_asks_for_extends_and_never_shortens(asked: float, wait: float) -> None:
    """It is open already."""
    it = tripped()
    it.open_for(asked, 1.0, Cause.RETRY_AFTER, "asked")
    assert it.admit(1.0) == Refused(OPEN, wait)


def test_what_the_downstream_asks_for_opens_at_once() -> None:
    """Without a failure, and without making later times longer."""
    it = machine()
    it.open_for(30.0, 0.0, Cause.RETRY_AFTER, "asked")
    assert it.admit(0.0) == Refused(OPEN, 30.0)
    assert it.state(30.0) is HALF_OPEN
    assert calls(it, "SS", 30.0) is CLOSED
    calls(it, "FFF", 30.0)
    assert it.retry_after(30.0) == 5.0


def test_a_trial_that_is_asked_to_wait_ends_the_trials() -> None:
    """And what comes back of them is late."""
    it = tripped(max_trials=2)
    other = it.admit(5.0)
    it.open_for(30.0, 5.0, Cause.RETRY_AFTER, "asked")
    assert it.admit(6.0) == Refused(OPEN, 29.0)
    assert not isinstance(other, Refused)
    assert it.news[-1].cause is Cause.RETRY_AFTER


@pytest.mark.parametrize(
    "state", [BreakerState.DISABLED, BreakerState.METRICS_ONLY, BreakerState.FORCED_OPEN]
)
def test_whoever_has_taken_it_in_hand_is_not_overruled(state: BreakerState) -> None:
    """By what the downstream asks for."""
    it = machine()
    it.force(state, 0.0)
    it.open_for(30.0, 0.0, Cause.RETRY_AFTER, "asked")
    assert it.state(0.0) is state
