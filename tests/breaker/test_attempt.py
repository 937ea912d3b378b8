"""Attempts: calls in two steps."""

import threading
from typing import Any

import pytest

from asgi_guard import BreakerState, CircuitOpen, ConfigurationError, Outcome
from tests.breaker.breakers import DownError, breaker, counted, trip


def advance(it: Any, seconds: float) -> None:
    """Move the time of a breaker on."""
    it.core.clock.advance(seconds)


@pytest.mark.parametrize(
    ("settle", "expected"),
    [
        (lambda it: it.success(), (1, 0, 0, 0)),
        (lambda it: it.failure(), (0, 1, 0, 0)),
        (lambda it: it.failure(DownError()), (0, 1, 0, 0)),
        (lambda it: it.ignore(), (0, 0, 1, 0)),
        (lambda it: it.end(None), (1, 0, 0, 0)),
        (lambda it: it.end(None, "a result"), (1, 0, 0, 0)),
        (lambda it: it.end(DownError()), (0, 1, 0, 0)),
        (lambda it: it.end(KeyError()), (0, 0, 1, 0)),
    ],
)
def test_the_first_word_counts(settle: Any, expected: tuple[int, ...]) -> None:
    """What comes later changes nothing."""
    it = breaker(ignore=KeyError)
    attempt = it.attempt()
    settled = [attempt.is_settled]
    settle(attempt)
    assert [*settled, attempt.is_settled] == [False, True]
    for word in (attempt.success, attempt.failure, attempt.ignore):
        word()
    attempt.end(DownError())
    assert counted(it) == expected


async def test_an_attempt_is_a_block() -> None:
    """Settled by the error that ends it, if nobody has done so."""
    it = breaker()
    with it.attempt():
        pass
    async with it.attempt():
        pass
    with pytest.raises(DownError), it.attempt():
        raise DownError
    with pytest.raises(DownError):
        async with it.attempt():
            raise DownError
    with it.attempt() as attempt:
        attempt.ignore()
    assert counted(it) == (2, 2, 1, 0)


def test_attempts_are_refused() -> None:
    """With an error, or with None."""
    it = breaker()
    trip(it)
    with pytest.raises(CircuitOpen):
        it.attempt()
    assert it.try_acquire() is None
    advance(it, 5.0)
    assert it.try_acquire() is not None
    assert it.try_acquire() is None


def test_an_attempt_that_nobody_settles_is_taken_back() -> None:
    """After its lease; then what it says is late."""
    it = breaker(trial_lease=10.0, recover_after=1)
    trip(it)
    advance(it, 5.0)
    lost = it.attempt()
    advance(it, 10.0)
    with it.attempt():
        lost.failure()
    assert it.state is BreakerState.CLOSED
    now = it.snapshot()
    assert (now.leases_expired, now.late) == (1, 1)


@pytest.mark.parametrize(("seconds", "lease"), [(30.0, 30.0), (3.0, 10.0), (0, 10.0)])
def test_a_trial_may_take_longer_than_its_lease(seconds: float, lease: float) -> None:
    """As long as is said; never less."""
    it = breaker(trial_lease=10.0)
    trip(it)
    advance(it, 5.0)
    it.attempt().may_take(seconds)
    advance(it, lease - 0.5)
    assert it.try_acquire() is None
    advance(it, 0.5)
    assert it.try_acquire() is not None


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan"), 1e12, "60", True])
def test_a_trial_may_not_take_for_ever(seconds: Any) -> None:
    """Nothing would take it back, and the breaker would never close again."""
    it = breaker(trial_lease=10.0)
    trip(it)
    advance(it, 5.0)
    with pytest.raises(ConfigurationError, match=r"^Attempt\.may_take\.seconds"):
        it.attempt().may_take(seconds)
    advance(it, 10.0)
    assert it.try_acquire() is not None


def test_a_server_that_throttles_opens_and_is_in_good_health() -> None:
    """For as long as it asks, up to a limit."""
    it = breaker(retry_after_max=60.0)
    with it.attempt() as attempt:
        attempt.throttle(20.0)
        assert it.retry_after == 20.0
        attempt.throttle(1e6)
        assert it.retry_after == 60.0
    assert counted(it) == (1, 0, 0, 0)
    assert it.state is BreakerState.OPEN


def test_nothing_asked_for_is_nothing() -> None:
    """`Retry-After: 0` is no reason to open."""
    it = breaker()
    it.attempt().throttle(0.0)
    assert it.state is BreakerState.CLOSED


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "5", None])
def test_what_is_no_time_is_refused(seconds: Any) -> None:
    """By name."""
    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.throttle"):
        breaker().attempt().throttle(seconds)


def test_one_that_cannot_be_judged_is_settled_all_the_same() -> None:
    """Or a trial would be away until its lease ends."""

    def classify(error: BaseException | None, result: Any) -> Outcome | None:
        raise LookupError

    it = breaker(classify=classify, max_trials=1)
    it.throttle(5.0)
    advance(it, 5.0)
    for _ in range(3):
        with pytest.raises(LookupError), it.attempt():
            pass
    assert counted(it) == (0, 0, 3, 0)


def test_of_many_threads_one_settles() -> None:
    """Each attempt is counted once."""
    it = breaker(consecutive_failures=None, failure_rate=1.0, min_calls=10**6)
    together = threading.Barrier(4)
    attempts = [it.attempt() for _ in range(300)]

    def work() -> None:
        together.wait(timeout=10)
        for attempt in attempts:
            attempt.failure()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(it) == (0, 300, 0, 0)
