"""The sliding-window counter: what it decides, and what it promises."""

from itertools import pairwise
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from asgi_guard import Quota
from asgi_guard.rate_limit.algorithms import sliding_window
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.testing import FakeClock

PERIOD = 10.0
states = st.tuples(
    st.integers(1, 50),
    st.integers(0, 50),
    st.integers(0, 50),
    st.floats(0, PERIOD, exclude_max=True),
)


def decide(count: int, previous: int, current: int, elapsed: float, cost: int) -> Decision:
    """Decide one hit, with names for what comes out."""
    return Decision(*sliding_window(count, PERIOD, previous, current, elapsed, cost))


class Key:
    """One key's counter, moved along a clock."""

    def __init__(
        self, quota: Quota, window: float = 0, previous: int = 0, current: int = 0
    ) -> None:
        self.quota = quota
        self.window, self.previous, self.current = window, previous, current

    def hit(self, now: float, cost: int) -> tuple[bool, int, float, float | None]:
        """Charge the key at a time."""
        window, elapsed = divmod(now, self.quota.period)
        if window != self.window:
            self.previous = self.current if window == self.window + 1 else 0
            self.window, self.current = window, 0
        decision = decide(self.quota.count, self.previous, self.current, elapsed, cost)
        if decision.admitted:
            self.current += cost
        return decision


def test_it_admits_the_count_and_no_more() -> None:
    """From rest, within one period."""
    key = Key(Quota(3, PERIOD))
    assert [key.hit(float(second), 1)[0] for second in range(5)] == [True] * 3 + [False] * 2
    assert key.hit(0.0, 0)[1] == 0


def test_the_window_before_fades() -> None:
    """Half-way through a window, half of the one before still counts."""
    decision = decide(10, 10, 0, PERIOD / 2, 1)
    assert decision.admitted
    assert decision.remaining == 4


@given(states, st.integers(1, 50))
def test_a_promised_wait_is_long_enough_and_no_step_too_long(
    state: tuple[int, int, int, float], cost: int
) -> None:
    """After `retry_after` the hit is admitted; a thousandth of a period earlier it is not."""
    count, previous, current, now = state
    quota = Quota(count, PERIOD)
    decision = decide(count, previous, current, now, cost)
    if decision.admitted:
        assert decision.retry_after == 0.0
    elif cost > count:
        assert decision.retry_after is None
    else:
        wait = decision.retry_after
        assert wait is not None
        assert wait > 0
        assert Key(quota, 0, previous, current).hit(now + wait, cost)[0]
        early = now + wait - PERIOD / 1000
        if early > now:
            assert not Key(quota, 0, previous, current).hit(early, cost)[0]


@given(states, st.integers(0, 50))
def test_reset_is_when_more_remains(state: tuple[int, int, int, float], cost: int) -> None:
    """Then, and not before, if nobody takes anything."""
    count, previous, current, now = state
    quota = Quota(count, PERIOD)
    decision = decide(count, previous, current, now, cost)
    if decision.admitted:
        current += cost
    if decision.reset == 0.0:
        assert decision.remaining == count
        return
    after = Key(quota, 0, previous, current).hit(now + decision.reset, 0)
    assert after[1] > decision.remaining
    before = Key(quota, 0, previous, current).hit(now + decision.reset * 0.99 - 1e-5, 0)
    assert before[1] == decision.remaining or now + decision.reset * 0.99 - 1e-5 < now


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0.01, 12.0), st.integers(1, 3)), min_size=1, max_size=60),
)
def test_it_decides_as_limits_does(count: int, steps: list[tuple[float, int]]) -> None:
    """The same history on the same clock gives the same answers."""
    clock = FakeClock(1000.0)
    key = Key(Quota(count, PERIOD))
    item = RateLimitItemPerSecond(count, int(PERIOD))
    with patch("time.time", clock):  # all the time: it sweeps in a thread
        theirs = SlidingWindowCounterRateLimiter(MemoryStorage())
        for wait, cost in steps:
            clock.advance(wait)
            assert key.hit(clock(), cost)[0] == theirs.hit(item, "key", cost=cost)


@given(st.integers(1, 30), st.lists(st.floats(0.0, 3.0), min_size=1, max_size=200))
def test_no_window_ever_admits_twice_the_count(count: int, waits: list[float]) -> None:
    """The approximation errs, but never so far as a fixed window does."""
    key = Key(Quota(count, PERIOD))
    now, admitted = 0.0, []
    for wait in waits:
        now += wait
        if key.hit(now, 1)[0]:
            admitted.append(now)
    for start in admitted:
        assert sum(start <= each < start + PERIOD for each in admitted) <= 2 * count
    assert all(a <= b for a, b in pairwise(admitted))
