"""Retries: as long as they are the exception."""

import asyncio
from itertools import chain, pairwise, repeat
from typing import Any

import pytest

from asgi_guard import CallTimeout, CircuitBreaker, CircuitOpen, Downstream, Outcome
from asgi_guard.downstream.retries import Budget, Retries
from tests.downstream.queue.skipping import now, turns


class Flaky:
    """Fails so often, and then no more."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or ConnectionError("down")
        self.began: list[float] = []

    async def __call__(self) -> str:
        """Fail or succeed."""
        self.began.append(now())
        if len(self.began) <= self.failures:
            raise self.error
        return "fine"


async def give(value: str) -> str:
    """Return it."""
    return value


def retrying(breaker: CircuitBreaker | None = None, **more: Any) -> Downstream:
    """Return a downstream that retries."""
    settings: dict[str, Any] = {"retries": 3, "min_interval": 0.0} | more
    return Downstream("d", breaker=breaker, **settings)


async def test_a_failed_call_is_made_again() -> None:
    """Every attempt has a permit of its own, and is spaced as all are."""
    breaker = CircuitBreaker("b")
    downstream, flaky = retrying(breaker, min_interval=7.0), Flaky(2)
    assert await downstream.call(flaky) == "fine"
    assert [after - before for before, after in pairwise(flaky.began)] == pytest.approx(
        [7.0, 7.0], abs=0.01
    )
    assert (breaker.snapshot().failure, breaker.snapshot().success) == (2, 1)
    assert (downstream.snapshot().retries, downstream.snapshot().starts) == (2, 3)


async def test_the_last_error_is_the_answer() -> None:
    """After so many retries."""
    downstream, flaky = retrying(), Flaky(99)
    with pytest.raises(ConnectionError):
        await downstream.call(flaky)
    assert len(flaky.began) == 4


async def test_nothing_is_retried_unless_asked_for() -> None:
    """The default is not to."""
    flaky = Flaky(1)
    with pytest.raises(ConnectionError):
        await Downstream("d").call(flaky)
    assert len(flaky.began) == 1


async def test_only_what_the_breaker_calls_a_failure_is_retried() -> None:
    """An ignored error is nobody's failure, and a result can be one."""
    breaker = CircuitBreaker(
        "b",
        ignore=PermissionError,
        classify=lambda error, result: Outcome.FAILURE if result == "bad" else None,
    )
    downstream, flaky = retrying(breaker), Flaky(1, PermissionError())
    with pytest.raises(PermissionError):
        await downstream.call(flaky)
    assert len(flaky.began) == 1
    results = chain(["bad", "bad"], repeat("good"))

    async def result() -> str:
        return next(results)

    assert await downstream.call(result) == "good"
    assert await retrying(breaker, retries=1).call(give, "bad") == "bad"


async def test_an_open_breaker_ends_it() -> None:
    """The call gets the error that has tripped it."""
    breaker = CircuitBreaker("b", consecutive_failures=2)
    downstream, flaky = retrying(breaker), Flaky(99)
    with pytest.raises(ConnectionError):
        await downstream.call(flaky)
    assert len(flaky.began) == 2
    assert downstream.snapshot().retries == 1  # the one that was not made has cost nothing
    with pytest.raises(CircuitOpen):
        await downstream.call(flaky)


async def test_a_breaker_that_opens_meanwhile_ends_it_too() -> None:
    """In the line, or while it waits for its next attempt."""
    breaker = CircuitBreaker("b", consecutive_failures=None)
    downstream, flaky = retrying(breaker, min_interval=50.0, timeout=None), Flaky(99)
    task = asyncio.create_task(downstream.call(flaky))
    await asyncio.sleep(20.0)
    breaker.force_open()
    with pytest.raises(ConnectionError):
        await task
    assert len(flaky.began) == 1


async def test_no_slot_is_held_between_attempts() -> None:
    """Others may call meanwhile."""
    downstream = retrying(max_concurrent=1, back_off=50.0, back_off_max=50.0, timeout=None)
    task = asyncio.create_task(downstream.call(Flaky(1)))
    await turns()
    assert downstream.snapshot().in_flight == 0
    assert await downstream.call(give, "other") == "other"
    assert await task == "fine"


async def test_all_attempts_have_one_time() -> None:
    """None is begun that could only begin after it."""
    downstream, began = retrying(timeout=1.0, back_off=3.0), now()
    calls = 0

    async def slow() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.99)
        raise ConnectionError

    with pytest.raises((ConnectionError, CallTimeout)):
        await downstream.call(slow)
    assert now() - began <= 1.01
    assert calls <= 2


async def test_retries_stay_a_share_of_the_calls() -> None:
    """When everything fails, they do not multiply the load."""
    downstream = retrying(retry_budget=0.1, retries=3)
    for _ in range(1000):
        with pytest.raises(ConnectionError):
            await downstream.call(Flaky(99))
    snapshot = downstream.snapshot()
    assert 100 <= snapshot.retries <= 103
    assert snapshot.starts == 1000 + snapshot.retries
    assert snapshot.retries_denied > 800


def test_a_budget_saves_up_for_so_long_only() -> None:
    """After a good day, the bad minute does not get a day's worth of retries."""
    budget = Budget(0.5)
    for _ in range(1000):
        budget.pay_in()
    assert [budget.take_out() for _ in range(11)] == [True] * 10 + [False]
    budget.pay_in()
    assert not budget.take_out()
    budget.pay_in()
    assert budget.take_out()


def test_the_back_off_grows_and_is_left_to_chance() -> None:
    """Between nothing and twice as much each time, up to the longest."""
    retries = Retries(9, 0.2, 0.1, 1.0, lambda: 1.0)
    assert [retries.delay(made) for made in (0, 1, 2, 3, 4, 10_000)] == [0.1, 0.2, 0.4, 0.8, 1, 1]
    assert Retries(9, 0.2, 0.1, 1.0, lambda: 0.25).delay(1) == 0.05
