"""The state machine, on a clock that is an argument."""

from typing import Any, ClassVar

import pytest

from asgi_guard.breaker.machine import Machine, Refused
from asgi_guard.breaker.states import BreakerState, Cause, Outcome
from asgi_guard.breaker.thresholds import Thresholds
from asgi_guard.breaker.trials import Trial
from tests.breaker.machines import admitted, call, calls, machine, tripped

OPEN, HALF_OPEN = BreakerState.OPEN, BreakerState.HALF_OPEN


@pytest.mark.parametrize(
    ("history", "opens"),
    [("FFF", True), ("FFSF", False), ("FFIF", True), ("IIIIII", False), ("FSFSFSF", False)],
)
def test_failures_in_a_row_trip(history: str, *, opens: bool) -> None:
    """A success begins the row anew; what is ignored does not."""
    it = machine()
    assert (calls(it, history, 0.0) is BreakerState.OPEN) is opens


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


def test_a_share_of_failures_trips_in_a_window_of_calls() -> None:
    """Of the last four, whenever they were."""
    it = machine(consecutive_failures=None, failure_rate=0.5, min_calls=4, window_calls=4)
    assert calls(it, "FSSSSSF", 0.0) is BreakerState.CLOSED
    assert calls(it, "F", 1e6) is BreakerState.OPEN
    assert it.news[-1].detail == "2 of 4 calls failed"


def test_what_tripped_is_told_with_its_counts() -> None:
    """For whoever reads the log."""
    it = machine(consecutive_failures=None, failure_rate=0.5, min_calls=4)
    calls(it, "SSFF", 0.0)
    told = it.news[-1]
    assert (told.cause, told.detail) == (Cause.FAILURE_RATE, "2 of 4 calls failed within 10 s")
    assert told.open_for == 5.0


def test_the_generation_grows_with_every_change() -> None:
    """And with nothing else."""
    it = machine()
    seen = [it.generation]
    calls(it, "FFF", 0.0)
    seen.append(it.generation)
    it.admit(1.0)
    seen.append(it.generation)
    calls(it, "SS", 5.0)
    seen.append(it.generation)
    assert seen == [0, 1, 1, 3]


class Watched(Machine):
    """A machine that notes what a thread beside it could read."""

    seen: ClassVar[list[tuple[int, bool]]] = []

    def __setattr__(self, name: str, value: Any) -> None:
        """Set, and look."""
        super().__setattr__(name, value)
        if name in {"generation", "admits_unasked"} and hasattr(self, "admits_unasked"):
            self.seen.append((self.generation, self.admits_unasked))


def test_nobody_is_admitted_unasked_with_the_stamp_of_an_open_era() -> None:
    """A thread that reads the generation first, and then whether to ask, is never wrong."""
    Watched.seen.clear()
    it = Watched(Thresholds(consecutive_failures=3), lambda: 0.0)
    calls(it, "FFF", 0.0)
    assert (0, True) in Watched.seen
    assert (1, True) not in Watched.seen
    assert it.generation == 1


def test_a_lease_that_ends_is_counted() -> None:
    """Whether its place is wanted, or it comes back late."""
    it = tripped(trial_lease=10.0)
    admitted(it, 5.0)
    second = admitted(it, 15.0)
    it.settle(second, Outcome.SUCCESS, 25.0)
    assert (it.leases_expired, it.late) == (2, 1)
    assert it.state(25.0) is BreakerState.HALF_OPEN


def test_refused_in_half_open_hear_when_the_next_place_is_free_at_the_latest() -> None:
    """The end of the nearest lease, where that is sooner than an open time."""
    it = tripped(trial_lease=8.0, max_trials=2)
    admitted(it, 5.0)
    assert it.retry_after(6.0) == 0.0
    admitted(it, 9.0)
    assert [it.retry_after(now) for now in (9.0, 12.0, 13.0)] == [4.0, 1.0, 0.0]
    assert isinstance(it.admit(12.0), Refused)
    assert isinstance(it.admit(13.0), Trial)


def test_the_seconds_it_was_open_end_with_the_open_time() -> None:
    """However long it is until somebody calls."""
    it = tripped()
    assert [it.open_seconds(now) for now in (0.0, 3.0, 5.0, 500.0)] == [0.0, 3.0, 5.0, 5.0]
    calls(it, "SF", 500.0)
    assert it.open_seconds(502.0) == 7.0
