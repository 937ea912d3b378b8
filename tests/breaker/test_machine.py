"""The window and the state machine, on a clock that is an argument."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.breaker.machine import Machine, Refused
from asgi_guard.breaker.states import BreakerState, Outcome
from asgi_guard.breaker.thresholds import Thresholds
from asgi_guard.breaker.trials import Trial
from asgi_guard.breaker.window import TimeWindow

OPEN, HALF_OPEN = BreakerState.OPEN, BreakerState.HALF_OPEN


def machine(**more: object) -> Machine:
    """Return a machine that trips on three in a row, and stays open for five seconds."""
    settings = {
        "consecutive_failures": 3,
        "failure_rate": None,
        "min_calls": 10,
        "window": 10.0,
        "open_for": 5.0,
        "max_trials": 1,
        "recover_after": 2,
        "trial_lease": 30.0,
    }
    return Machine(Thresholds(**{**settings, **more}), lambda: 0.0)  # type: ignore[arg-type]


def call(it: Machine, outcome: Outcome, now: float) -> BreakerState:
    """Make one call, and return the state after it."""
    stamp = it.admit(now)
    assert not isinstance(stamp, Refused)
    it.settle(stamp, outcome, now)
    return it.state(now)


def tripped(**more: object) -> Machine:
    """Return a machine that tripped at time 0."""
    it = machine(**more)
    for _ in range(3):
        call(it, Outcome.FAILURE, 0.0)
    assert it.state(0.0) is BreakerState.OPEN
    return it


@pytest.mark.parametrize(
    ("history", "opens"),
    [("FFF", True), ("FFSF", False), ("FFIF", True), ("IIIIII", False), ("FSFSFSF", False)],
)
def test_failures_in_a_row_trip(history: str, *, opens: bool) -> None:
    """A success begins the row anew; what is ignored does not."""
    it = machine()
    outcomes = {"F": Outcome.FAILURE, "S": Outcome.SUCCESS, "I": Outcome.IGNORED}
    for letter in history:
        call(it, outcomes[letter], 0.0)
    assert (it.state(0.0) is BreakerState.OPEN) is opens


def test_a_share_of_failures_trips_once_there_are_enough_calls() -> None:
    """A success may complete the number that is needed."""
    it = machine(consecutive_failures=None, failure_rate=0.5, min_calls=4)
    assert call(it, Outcome.FAILURE, 0.0) is BreakerState.CLOSED
    assert call(it, Outcome.SUCCESS, 0.0) is BreakerState.CLOSED
    assert call(it, Outcome.FAILURE, 0.0) is BreakerState.CLOSED
    assert call(it, Outcome.SUCCESS, 0.0) is BreakerState.OPEN


def test_what_has_left_the_window_does_not_count() -> None:
    """Nine failures long ago and one now are one."""
    it = machine(consecutive_failures=None, failure_rate=0.5, min_calls=10)
    for _ in range(9):
        call(it, Outcome.FAILURE, 0.0)
    assert call(it, Outcome.FAILURE, 11.0) is BreakerState.CLOSED


def test_open_refuses_until_its_time_is_over() -> None:
    """And says how long that is."""
    it = tripped()
    assert it.admit(0.0) == Refused(OPEN, 5.0)
    assert it.admit(4.0) == Refused(OPEN, 1.0)
    assert it.state(5.0) is BreakerState.HALF_OPEN
    assert isinstance(it.admit(5.0), Trial)


def test_trials_are_admitted_one_at_a_time() -> None:
    """The others are refused, with a wait that is no longer than the open time."""
    it = tripped(max_trials=2)
    assert [isinstance(it.admit(5.0), Trial) for _ in range(50)] == [True] * 2 + [False] * 48
    assert it.admit(5.0) == Refused(HALF_OPEN, 5.0)


def test_successful_trials_close() -> None:
    """As many as were asked for."""
    it = tripped()
    assert call(it, Outcome.SUCCESS, 5.0) is BreakerState.HALF_OPEN
    assert call(it, Outcome.SUCCESS, 5.0) is BreakerState.CLOSED
    assert call(it, Outcome.FAILURE, 5.0) is BreakerState.CLOSED  # what was before is forgotten


def test_a_failed_trial_opens_again() -> None:
    """For twice the time."""
    it = tripped()
    call(it, Outcome.SUCCESS, 5.0)
    assert call(it, Outcome.FAILURE, 6.0) is BreakerState.OPEN
    assert it.admit(6.0) == Refused(OPEN, 10.0)


def test_an_ignored_trial_gives_its_place_back() -> None:
    """It neither closes nor opens."""
    it = tripped()
    assert call(it, Outcome.IGNORED, 5.0) is BreakerState.HALF_OPEN
    assert isinstance(it.admit(5.0), Trial)


def test_a_trial_that_never_returns_is_taken_back() -> None:
    """After its lease; and when it does return, it changes nothing."""
    it = tripped(trial_lease=10.0)
    lost = it.admit(5.0)
    assert isinstance(lost, Trial)
    assert isinstance(it.admit(14.9), Refused)
    assert isinstance(it.admit(15.0), Trial)
    it.settle(lost, Outcome.FAILURE, 16.0)
    assert it.state(16.0) is BreakerState.HALF_OPEN


@pytest.mark.parametrize("outcome", list(Outcome))
def test_late_outcomes_change_nothing(outcome: Outcome) -> None:
    """A call admitted before the trip says nothing about the time after it."""
    it = machine()
    late = it.admit(0.0)
    assert late == it.generation
    for _ in range(3):
        call(it, Outcome.FAILURE, 0.0)
    it.settle(late, outcome, 3.0)
    assert it.admit(4.0) == Refused(OPEN, 1.0)  # the open time is not extended
    assert isinstance(it.admit(5.0), Trial)
    it.settle(late, outcome, 5.0)
    assert it.state(5.0) is BreakerState.HALF_OPEN


def test_transitions_are_counted() -> None:
    """A scrape that misses a short opening sees that there was one."""
    it = tripped()
    for _ in range(2):
        call(it, Outcome.SUCCESS, 5.0)
    closed, opened, half = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
    assert it.transitions == {(closed, opened): 1, (opened, half): 1, (half, closed): 1}


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans()), max_size=80))
def test_the_window_counts_what_a_list_would(steps: list[tuple[float, bool]]) -> None:
    """Ten slices with running sums against every call with its slice."""
    window, calls, now = TimeWindow(10.0), deque[tuple[int, bool]](), 100.0
    window.advance(now)
    for wait, failed in steps:
        now += wait
        window.record(now, failed=failed, slow=False)
        calls.append((int(now / 1.0), failed))
        recent = [failed for position, failed in calls if position > int(now / 1.0) - 10]
        assert (window.calls, window.failures) == (len(recent), sum(recent))


def test_a_clock_that_runs_backwards_drops_nothing() -> None:
    """Calls are counted in the slice that was the newest."""
    window = TimeWindow(10.0)
    window.record(50.0, failed=True, slow=False)
    window.record(40.0, failed=False, slow=False)
    assert (window.calls, window.failures) == (2, 1)
