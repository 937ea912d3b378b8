"""Windows of time and of calls, against lists that keep everything."""

from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.breaker.window import CountWindow, TimeWindow, Window

STEPS = st.lists(
    st.tuples(st.floats(0.0, 3.0) | st.floats(0.0, 50.0), st.booleans(), st.booleans()),
    max_size=80,
)


def numbers(window: Window) -> tuple[int, int, int]:
    """Return what a window holds."""
    return window.calls, window.failures, window.slow


@given(STEPS)
def test_a_window_of_time_counts_what_a_list_would(steps: list[tuple[float, bool, bool]]) -> None:
    """Ten slices with running sums against every call with its slice."""
    window, calls, now = TimeWindow(10.0), deque[tuple[int, bool, bool]](), 100.0
    for wait, failed, slow in steps:
        now += wait
        if failed or slow:
            window.record(now, failed=failed, slow=slow)
        else:
            window.add(now)
        calls.append((int(now // 1.0), failed, slow))
        recent = [each for each in calls if each[0] > int(now // 1.0) - 10]
        expected = len(recent), sum(each[1] for each in recent), sum(each[2] for each in recent)
        assert numbers(window) == expected


@given(STEPS, st.floats(0.0, 30.0))
def test_reading_later_drops_what_is_old(
    steps: list[tuple[float, bool, bool]], later: float
) -> None:
    """A gauge of a breaker that nobody calls any more must not stay where it was."""
    window, now, times = TimeWindow(10.0), 0.0, []
    for wait, failed, slow in steps:
        now += wait
        window.record(now, failed=failed, slow=slow)
        times.append(now)
    now += later
    window.advance(now)
    assert window.calls == sum(int(each // 1.0) > int(now // 1.0) - 10 for each in times)


@given(STEPS, st.integers(1, 20))
def test_a_window_of_calls_counts_what_a_list_would(
    steps: list[tuple[float, bool, bool]], size: int
) -> None:
    """A ring with running sums against the last so many."""
    window, calls = CountWindow(size), deque[tuple[bool, bool]](maxlen=size)
    for _, failed, slow in steps:
        if failed or slow:
            window.record(0.0, failed=failed, slow=slow)
        else:
            window.add(0.0)
        window.advance(1e9)
        calls.append((failed, slow))
        expected = len(calls), sum(each[0] for each in calls), sum(each[1] for each in calls)
        assert numbers(window) == expected


@pytest.mark.parametrize("window", [TimeWindow(10.0), CountWindow(5)])
def test_a_window_forgets(window: Window) -> None:
    """And counts anew."""
    for _ in range(7):
        window.record(50.0, failed=True, slow=True)
    window.clear()
    assert numbers(window) == (0, 0, 0)
    window.add(51.0)
    assert numbers(window) == (1, 0, 0)


def test_a_clock_that_runs_backwards_drops_nothing() -> None:
    """Calls are counted in the slice that was the newest."""
    window = TimeWindow(10.0)
    window.record(50.0, failed=True, slow=False)
    window.record(40.0, failed=False, slow=False)
    assert (window.calls, window.failures) == (2, 1)


def test_calls_leave_a_tenth_at_a_time() -> None:
    """Not all at once, as with one bucket."""
    window = TimeWindow(10.0)
    for second in range(10):
        window.add(float(second))
    left = []
    for second in range(10, 20):
        window.advance(float(second))
        left.append(window.calls)
    assert left == list(range(9, -1, -1))
    assert all(before - after == 1 for before, after in pairwise(left))
