"""States that somebody puts a breaker in: forced open, disabled, metrics-only, closed."""

import pytest

from asgi_guard.breaker.machine import Machine, Refused
from asgi_guard.breaker.states import BreakerState, Cause, Outcome
from asgi_guard.breaker.thresholds import Thresholds
from tests.breaker.machines import admitted, call, calls, machine, tripped

CLOSED, OPEN = BreakerState.CLOSED, BreakerState.OPEN
FORCED_OPEN, DISABLED = BreakerState.FORCED_OPEN, BreakerState.DISABLED
METRICS_ONLY = BreakerState.METRICS_ONLY


def test_forced_open_refuses_until_further_notice() -> None:
    """Nobody knows how long that is."""
    it = machine()
    it.force(FORCED_OPEN, 0.0)
    assert it.admit(1e9) == Refused(FORCED_OPEN, None)
    assert it.news[-1].open_for is None
    it.force(CLOSED, 1e9)
    assert call(it, Outcome.SUCCESS, 1e9) is CLOSED


def test_forced_open_for_so_many_seconds_closes_by_itself() -> None:
    """With no trials: somebody has said when it is good again."""
    it = machine()
    it.force(FORCED_OPEN, 0.0, 60.0)
    assert it.admit(20.0) == Refused(FORCED_OPEN, 40.0)
    assert it.state(60.0) is CLOSED
    assert it.retry_after(60.0) == 0.0
    admitted(it, 60.0)
    assert it.news[-1].cause is Cause.OPEN_TIME_OVER
    assert it.open_seconds(100.0) == 60.0


def test_forced_open_again_takes_the_newer_time() -> None:
    """Longer or shorter, and without another change."""
    it = machine()
    it.force(FORCED_OPEN, 0.0, 60.0)
    it.force(FORCED_OPEN, 10.0, 5.0)
    assert it.retry_after(10.0) == 5.0
    it.force(FORCED_OPEN, 10.0)
    assert it.retry_after(10.0) is None
    assert it.transitions == {(CLOSED, FORCED_OPEN): 1}


def test_disabled_admits_all_and_draws_no_conclusions() -> None:
    """Nor does it remember what was before when it is closed again."""
    it = machine(slow_call=1.0)
    calls(it, "FF", 0.0)
    it.force(DISABLED, 0.0)
    assert calls(it, "FFFFFFFFFFFF", 5.0, took=3.0) is DISABLED
    it.force(CLOSED, 5.0)
    assert calls(it, "FF", 5.0) is CLOSED


def test_metrics_only_tells_when_it_would_trip() -> None:
    """Once for each time, with the counts, and refuses nobody."""
    it = machine()
    it.force(METRICS_ONLY, 0.0)
    assert calls(it, "FFFFFFSF", 0.0) is METRICS_ONLY
    assert it.would_trip == 2
    told = it.news[-1]
    assert (told.before, told.after, told.detail) == (
        METRICS_ONLY,
        METRICS_ONLY,
        "consecutive failures: 3",
    )
    assert (CLOSED, OPEN) not in it.transitions


def test_metrics_only_does_not_tell_of_what_was_before() -> None:
    """What tripped it once is no reason to say that it would trip now."""
    it = tripped()
    it.force(METRICS_ONLY, 1.0)
    assert calls(it, "FF", 1.0) is METRICS_ONLY
    assert it.would_trip == 0


@pytest.mark.parametrize("state", [CLOSED, DISABLED, METRICS_ONLY, FORCED_OPEN])
def test_the_state_that_it_is_in_already_is_no_news(state: BreakerState) -> None:
    """Nor a change; but calls from before are late, and what was counted is forgotten."""
    it = machine()
    it.force(state, 0.0)
    before, told = dict(it.transitions), list(it.news)
    it.force(state, 0.0)
    assert (it.transitions, it.news) == (before, told)


def test_closed_by_hand_forgets() -> None:
    """From open, and from closed."""
    it = tripped()
    it.force(CLOSED, 1.0)
    assert calls(it, "FF", 1.0) is CLOSED
    it.force(CLOSED, 1.0)
    assert calls(it, "FF", 1.0) is CLOSED
    assert calls(it, "F", 1.0) is OPEN
    assert it.retry_after(1.0) == 5.0


@pytest.mark.parametrize("state", [CLOSED, DISABLED, METRICS_ONLY, FORCED_OPEN])
def test_a_trial_that_a_hand_has_overtaken_is_late(state: BreakerState) -> None:
    """It neither closes nor opens what somebody has set."""
    it = tripped(recover_after=1)
    trial = admitted(it, 5.0)
    it.force(state, 6.0)
    it.settle(trial, Outcome.FAILURE, 7.0)
    assert it.state(7.0) is state
    assert it.late == 1


def test_open_from_the_beginning_counts_from_the_beginning() -> None:
    """And not from the zero of its clock."""
    it = Machine(Thresholds(), lambda: 0.0, FORCED_OPEN, 1000.0)
    assert it.open_seconds(1003.0) == 3.0
    assert it.admit(1003.0) == Refused(FORCED_OPEN, None)
