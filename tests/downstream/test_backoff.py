"""How long to wait, as arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.downstream.backoff import wait_before

LUCK = st.floats(0, 1, exclude_max=True)
SECONDS = st.floats(0.001, 1e6)
FAILURES = st.integers(0, 10**9)


@given(failures=FAILURES, first=SECONDS, more=st.floats(0, 1e6), luck=LUCK)
def test_a_wait_is_below_its_ceiling(failures: int, first: float, more: float, luck: float) -> None:
    """It is any share of it, and never more than the longest."""
    longest = first + more
    wait = wait_before(failures, first=first, longest=longest, deadline=0.0, luck=luck)
    assert 0 <= wait <= longest
    assert wait <= first * 2.0 ** min(max(0, failures - 1), 900)
    assert wait_before(failures, first=first, longest=longest, deadline=0.0, luck=0.0) == 0


@given(failures=FAILURES, first=SECONDS, deadline=st.floats(0.001, 1e6), luck=LUCK)
def test_no_dial_is_made_before_the_deadline(
    failures: int, first: float, deadline: float, luck: float
) -> None:
    """And those who wait for the same one do not dial together."""

    def wait(luck: float) -> float:
        return wait_before(failures, first=first, longest=60 + first, deadline=deadline, luck=luck)

    assert wait(luck) >= deadline
    assert wait(luck) >= wait_before(
        failures, first=first, longest=60 + first, deadline=0.0, luck=luck
    )
    assert wait(0.75) > wait(0.25)


def test_the_ceiling_doubles_with_each_failure() -> None:
    """From the first up to the longest."""
    waits = [
        wait_before(failures, first=1.0, longest=60.0, deadline=0.0, luck=0.5)
        for failures in range(1, 10)
    ]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
