"""Machines for tests, and calls through them."""

from asgi_guard.breaker.machine import Machine, Refused, Stamp
from asgi_guard.breaker.states import BreakerState, Outcome
from asgi_guard.breaker.thresholds import Thresholds

OUTCOMES = {"F": Outcome.FAILURE, "S": Outcome.SUCCESS, "I": Outcome.IGNORED}


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


def admitted(it: Machine, now: float) -> Stamp:
    """Begin a call that must be admitted."""
    stamp = it.admit(now)
    assert not isinstance(stamp, Refused)
    return stamp


def call(it: Machine, outcome: Outcome, now: float, *, took: float = 0.0) -> BreakerState:
    """Make one call that ends now, and return the state after it."""
    it.settle(admitted(it, now - took), outcome, now)
    return it.state(now)


def calls(it: Machine, letters: str, now: float, *, took: float = 0.0) -> BreakerState:
    """Make a call for each letter."""
    for letter in letters:
        call(it, OUTCOMES[letter], now, took=took)
    return it.state(now)


def tripped(**more: object) -> Machine:
    """Return a machine that tripped at time 0."""
    it = machine(**more)
    assert calls(it, "FFF", 0.0) is BreakerState.OPEN
    return it
