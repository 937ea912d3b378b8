"""The fixed window and the token bucket: what they decide, and what they promise."""

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from asgi_guard.rate_limit.algorithms import fixed_window, token_bucket
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.testing import FakeClock

PERIOD = 10.0
COUNTS = st.integers(1, 50)
BUCKETS = st.tuples(COUNTS, COUNTS, st.floats(0.0, 1.0))


def take(
    count: int, burst: int, full_in: float, cost: int, later: float = 0.0
) -> tuple[Decision, float]:
    """Decide one hit on a bucket, some seconds later."""
    decided, full_in = token_bucket(count, PERIOD, burst, max(0.0, full_in - later), cost)
    return Decision(*decided), full_in


@given(COUNTS, st.lists(st.floats(0.01, 12.0), min_size=1, max_size=60))
def test_a_fixed_window_decides_as_limits_does(count: int, waits: list[float]) -> None:
    """The same history of single hits on the same clock gives the same answers."""
    clock = FakeClock(1000.0)
    began, used = clock(), 0
    item = RateLimitItemPerSecond(count, int(PERIOD))
    with patch("time.time", clock):  # all the time: it sweeps in a thread
        theirs = FixedWindowRateLimiter(MemoryStorage())
        for wait in waits:
            clock.advance(wait)
            if not used or clock() - began >= PERIOD:  # theirs begins with the first hit
                began, used = clock(), 0
            decision = Decision(*fixed_window(count, PERIOD, used, clock() - began, 1))
            used += decision.admitted
            assert decision.admitted == theirs.hit(item, "key")


@given(COUNTS, st.integers(0, 50), st.floats(0, PERIOD, exclude_max=True), st.integers(0, 60))
def test_a_fixed_window_tells_when_it_ends(
    count: int, used: int, elapsed: float, cost: int
) -> None:
    """Then everything is there again; a cost above the quota never fits."""
    used = min(used, count)
    decision = Decision(*fixed_window(count, PERIOD, used, elapsed, cost))
    assert decision.admitted == (used + cost <= count)
    assert decision.remaining == count - used - cost * decision.admitted
    if decision.remaining < count:
        assert elapsed + decision.reset >= PERIOD
    if not decision.admitted:
        assert (decision.retry_after is None) == (cost > count)


@given(COUNTS, COUNTS)
def test_a_full_bucket_gives_all_it_holds_and_then_one_at_a_time(count: int, burst: int) -> None:
    """At once, and at the rate of the quota from there on."""
    full_in, interval = 0.0, PERIOD / count
    for left in range(burst - 1, -1, -1):
        decision, full_in = take(count, burst, full_in, 1)
        assert (decision.admitted, decision.remaining) == (True, left)
    assert not take(count, burst, full_in, 1)[0].admitted
    assert not take(count, burst, full_in, 1, interval * 0.99)[0].admitted
    assert take(count, burst, full_in, 1, interval + 1e-5)[0].admitted


@given(BUCKETS, st.integers(1, 50))
def test_a_promised_wait_for_tokens_is_long_enough_and_no_step_too_long(
    bucket: tuple[int, int, float], cost: int
) -> None:
    """After `retry_after` the hit is admitted; a hundredth of an interval earlier it is not."""
    count, burst, share = bucket
    interval = PERIOD / count
    full_in = share * burst * interval
    decision, _ = take(count, burst, full_in, cost)
    if decision.admitted:
        assert decision.retry_after == 0.0
    elif cost > burst:
        assert decision.retry_after is None
    else:
        assert decision.retry_after is not None
        assert take(count, burst, full_in, cost, decision.retry_after)[0].admitted
        early = decision.retry_after - interval / 100
        assert early <= 0 or not take(count, burst, full_in, cost, early)[0].admitted


@given(BUCKETS, st.integers(0, 50))
def test_tokens_come_when_reset_says(bucket: tuple[int, int, float], cost: int) -> None:
    """Then, and not before, if nobody takes any; refused hits and looks take none."""
    count, burst, share = bucket
    interval = PERIOD / count
    before = share * burst * interval
    decision, full_in = take(count, burst, before, cost)
    if not decision.admitted or not cost:
        assert full_in == before
    if decision.remaining == burst:
        assert decision.reset == 0.0
        return
    assert take(count, burst, full_in, 0, decision.reset)[0].remaining > decision.remaining
    early = decision.reset - interval / 100
    assert early <= 0 or take(count, burst, full_in, 0, early)[0].remaining == decision.remaining


@given(COUNTS, COUNTS, st.lists(st.floats(0.0, 3.0), min_size=1, max_size=200))
def test_a_bucket_admits_no_more_than_burst_and_rate(
    count: int, burst: int, waits: list[float]
) -> None:
    """In any stretch of time: the bucket, and what came since."""
    now, full_in, admitted = 0.0, 0.0, []
    for wait in waits:
        now += wait
        decision, full_in = take(count, burst, full_in, 1, wait)
        if decision.admitted:
            admitted.append(now)
    for first, start in enumerate(admitted):
        for last, end in enumerate(admitted[first:], 1):
            assert last <= burst + (end - start) * count / PERIOD + 1e-3
