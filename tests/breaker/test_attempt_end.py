"""The beginning of an answer, and ends that cannot be judged."""

from typing import Any

import pytest

from asgi_guard import BreakerState, CircuitBreaker
from asgi_guard.testing import FakeClock


@pytest.mark.parametrize("state", [BreakerState.CLOSED, BreakerState.HALF_OPEN])
def test_what_comes_after_the_answer_is_not_slow(state: BreakerState) -> None:
    """An attempt that has been answered may take as long as it likes, as a trial as well."""
    clock = FakeClock()
    breaker = CircuitBreaker(
        "shop", slow_call=1.0, min_calls=1, recover_after=1, jitter=0.0, clock=clock
    )
    if state is BreakerState.HALF_OPEN:
        breaker.attempt().throttle(5.0)
        clock.advance(5.0)
    attempt = breaker.attempt()
    attempt.answered()
    clock.advance(20.0)
    attempt.success()
    assert breaker.state.value == "closed"
    late = breaker.attempt()
    clock.advance(20.0)
    late.answered()
    late.success()
    assert breaker.state.value == "open"


def test_an_end_that_cannot_be_judged_says_nothing() -> None:
    """The mistake of a classify function is raised, and holds no place."""

    def wrong(error: BaseException | None, result: object) -> Any:
        return "well"

    clock = FakeClock()
    breaker = CircuitBreaker("shop", classify=wrong, jitter=0.0, clock=clock)
    breaker.throttle(5.0)
    clock.advance(5.0)
    attempt = breaker.attempt()
    with pytest.raises(TypeError):
        attempt.end(None)
    assert attempt.is_settled
    assert breaker.snapshot().ignored == 1
    assert breaker.retry_after == 0.0
