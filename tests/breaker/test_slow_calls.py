"""Slow calls: those that have ended, those under way, and those that nobody ever ends."""

import tracemalloc

import pytest

from asgi_guard.breaker.machine import Machine, Refused
from asgi_guard.breaker.slow import Call
from asgi_guard.breaker.states import BreakerState, Cause, Outcome
from asgi_guard.breaker.trials import Trial
from tests.breaker.machines import admitted, call, calls, machine

OPEN, HALF_OPEN, CLOSED = BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED


def slow_machine(**more: object) -> Machine:
    """Return a machine that trips when half of four calls take a second."""
    return machine(**{"slow_call": 1.0, "slow_rate": 0.5, "min_calls": 4, **more})


def begun(it: Machine, now: float) -> Call:
    """Begin a call that is measured."""
    stamp = admitted(it, now)
    assert isinstance(stamp, Call)
    return stamp


def test_a_share_of_slow_calls_trips() -> None:
    """Though none of them failed."""
    it = slow_machine()
    calls(it, "SS", 10.0)
    assert calls(it, "S", 10.0, took=1.0) is CLOSED
    assert calls(it, "S", 10.0, took=1.0) is OPEN
    told = it.news[-1]
    assert (told.cause, told.detail) == (
        Cause.SLOW_RATE,
        "2 of 4 calls took 1 s or longer within 10 s",
    )
    assert it.slow_calls == 2


def test_calls_under_way_are_slow_before_they_end() -> None:
    """A downstream that hangs ends none: the next caller finds out."""
    it = slow_machine()
    hanging = [begun(it, 0.0) for _ in range(4)]
    assert it.counts(0.9) == (0, 0, 0)
    assert it.counts(1.0) == (4, 0, 4)
    assert it.admit(1.0) == Refused(OPEN, 5.0)
    for stamp in hanging:
        it.settle(stamp, Outcome.FAILURE, 2.0)
    assert it.late == 4


def test_a_slow_call_that_ends_is_counted_once() -> None:
    """Under way until then, and in the window after that."""
    it = slow_machine(min_calls=10)
    stamp = begun(it, 0.0)
    assert it.counts(5.0) == (1, 0, 1)
    it.settle(stamp, Outcome.SUCCESS, 5.0)
    assert it.counts(5.0) == (1, 0, 1)


def test_a_cancelled_call_that_was_slow_was_slow() -> None:
    """Callers' own time limits end calls to a downstream that hangs: nothing else would show it."""
    it = slow_machine()
    assert calls(it, "III", 10.0) is CLOSED
    assert it.counts(10.0) == (0, 0, 0)
    assert calls(it, "IIII", 10.0, took=1.5) is OPEN


def test_calls_that_nobody_ends_do_not_add_up() -> None:
    """They count for the length of a window; a lost one must not count for ever."""
    it = slow_machine(min_calls=1000)
    lost = [begun(it, float(second)) for second in range(100)]
    assert it.counts(100.0)[2] == 10
    assert it.counts(200.0) == (0, 0, 0)
    assert len(it._slow._under_way) == len(it._slow._overdue) == 0
    it.settle(lost[0], Outcome.SUCCESS, 200.0)
    assert it.counts(200.0) == (1, 0, 1)


def test_how_long_the_rest_of_an_answer_takes_is_not_slow() -> None:
    """A stream of an hour whose first item came at once is quick."""
    it = slow_machine(min_calls=1, window=7200.0, slow_rate=1.0)
    quick, slow = begun(it, 0.0), begun(it, 0.0)
    it.answered(quick, 0.5)
    assert it.counts(5.0) == (1, 0, 1)
    it.settle(quick, Outcome.SUCCESS, 3600.0)
    assert it.counts(3600.0) == (2, 0, 1)
    it.answered(slow, 3600.5)
    it.settle(slow, Outcome.SUCCESS, 3600.6)
    assert it.counts(3600.6) == (2, 0, 1)


@pytest.mark.parametrize(
    ("outcome", "answered", "after"),
    [
        (Outcome.SUCCESS, None, OPEN),
        (Outcome.SUCCESS, 6.0, HALF_OPEN),
        (Outcome.IGNORED, None, HALF_OPEN),
        (Outcome.FAILURE, 6.0, OPEN),
    ],
)
def test_a_slow_trial_opens_again(
    outcome: Outcome, answered: float | None, after: BreakerState
) -> None:
    """Unless it was ignored, or had begun to answer in time."""
    it = slow_machine(min_calls=10)
    calls(it, "FFF", 0.0)
    trial = it.admit(5.5)
    assert isinstance(trial, Trial)
    if answered is not None:
        it.answered(trial, answered)
    it.settle(trial, outcome, 8.0)
    assert it.state(8.0) is after


def test_metrics_only_tells_once_of_calls_that_hang() -> None:
    """Not with every call that comes while they do."""
    it = slow_machine()
    it.force(BreakerState.METRICS_ONLY, 0.0)
    for _ in range(10):
        begun(it, 0.0)
    for _ in range(50):
        call(it, Outcome.SUCCESS, 2.0)
    assert it.would_trip == 1


@pytest.mark.parametrize("state", [*BreakerState])
def test_calls_that_nobody_ends_are_forgotten_in_every_state(state: BreakerState) -> None:
    """In no state: 100,000 of them leave no more behind than a window holds."""
    it = slow_machine(window=10.0, min_calls=1_000_000, consecutive_failures=None)
    it.force(state, 0.0)
    tracemalloc.start()
    for second in range(1_000):
        for _ in range(100):
            it.admit(float(second))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1_000_000


def test_a_slow_call_is_counted_while_nothing_is_concluded() -> None:
    """Its length is a fact."""
    it = slow_machine()
    it.force(BreakerState.DISABLED, 0.0)
    stamp = begun(it, 0.0)
    assert it.counts(5.0) == (0, 0, 0)
    it.settle(stamp, Outcome.SUCCESS, 5.0)
    assert it.slow_calls == 1
