"""Listeners: told after the fact, outside the lock, and able to hurt nobody."""

import logging
import pickle
from typing import Any

import pytest

from asgi_guard import (
    BreakerState,
    CallTimeout,
    CircuitBreaker,
    CircuitOpen,
    ConfigurationError,
    Transition,
)
from tests.breaker.breakers import DownError, breaker, fail, trip

OPEN, CLOSED = BreakerState.OPEN, BreakerState.CLOSED


def test_a_listener_may_use_the_breaker() -> None:
    """No lock is held: it asks, calls, and changes it."""
    it = breaker()
    heard: list[tuple[str, BreakerState, int]] = []

    def listen(name: str, change: Transition) -> None:
        heard.append((name, change.after, it.snapshot().failure))
        if change.after is OPEN:
            it.close()
            it.call(lambda: None)

    it.add_listener(listen)
    trip(it)
    assert heard == [("payments", OPEN, 3), ("payments", CLOSED, 3)]
    assert it.state is CLOSED


def test_a_longer_open_time_is_no_transition() -> None:
    """Nobody is told; who asks is."""
    it = breaker()
    heard: list[Transition] = []
    it.add_listener(lambda name, change: heard.append(change))
    trip(it)
    it.throttle(60.0)
    assert [(each.after, each.open_for) for each in heard] == [(OPEN, 5.0)]
    assert it.retry_after == it.snapshot().retry_after == 60.0


def test_one_that_fails_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The others hear, the call keeps its error, and the log tells."""
    it = breaker()
    heard: list[BreakerState] = []

    def broken(name: str, change: Transition) -> None:
        raise LookupError

    it.add_listener(broken)
    it.add_listener(lambda name, change: heard.append(change.after))
    trip(it)
    assert heard == [OPEN]
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "a listener failed" in errors[0].getMessage()


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_one_that_ends_the_process_leaves_nothing_half_done(end: type[BaseException]) -> None:
    """It leaves where the change was caused, when the others have heard and the call is settled."""
    it = breaker(consecutive_failures=1, recover_after=1)
    heard: list[BreakerState] = []

    def ends(name: str, change: Transition) -> None:
        raise end

    it.add_listener(ends)
    it.add_listener(lambda name, change: heard.append(change.after))
    with pytest.raises(end) as raised:
        it.call(fail)
    assert isinstance(raised.value.__context__, DownError)
    assert (it.state, it.snapshot().failure) == (OPEN, 1)
    it.core.clock.advance(5.0)  # type: ignore[attr-defined]
    with pytest.raises(end):
        it.call(heard.clear)
    assert it.retry_after == 0.0  # the place of the trial, which was not made, is free
    with pytest.raises(end):
        it.call(lambda: None)
    assert it.state is CLOSED
    with pytest.raises(end):
        it.throttle(5.0)
    assert heard == [OPEN, BreakerState.HALF_OPEN, CLOSED, OPEN]


def test_one_that_is_removed_hears_no_more() -> None:
    """And may be removed twice."""
    it = breaker()
    heard: list[Any] = []
    remove = it.add_listener(lambda *told: heard.append(told))
    remove()
    remove()
    trip(it)
    assert heard == []


async def alisten(name: str, change: Transition) -> None:
    """Be async, which nobody would await."""


@pytest.mark.parametrize("listener", [None, 1, lambda: None, alisten, print.__class__])
def test_what_cannot_listen_is_refused(listener: Any) -> None:
    """By name."""
    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.add_listener"):
        breaker().add_listener(listener)


def test_what_is_told_has_the_open_time() -> None:
    """For whoever waits."""
    it = breaker()
    heard: list[float | None] = []
    it.add_listener(lambda name, change: heard.append(change.open_for))
    trip(it)
    it.close()
    it.force_open()
    assert heard == [5.0, 0.0, None]


def test_refusals_and_timeouts_survive_a_process_boundary() -> None:
    """With all their fields."""
    it: CircuitBreaker = breaker()
    it.force_open(7.0)
    with pytest.raises(CircuitOpen) as raised:
        it.attempt()
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (type(copy), vars(copy), str(copy)) == (
        CircuitOpen,
        {"retry_after": 7.0, "breaker": "payments", "state": "forced-open"},
        "circuit 'payments' is forced-open; retry in 7 s",
    )
    late = pickle.loads(pickle.dumps(CallTimeout("payments gave no answer within 1 s")))
    assert (type(late), str(late)) == (CallTimeout, "payments gave no answer within 1 s")
